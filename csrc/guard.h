// Turns exceptions into messages: nothing may unwind into Rust.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>

#include "bridge.h"

namespace densenet {

// Runs `body`; if it throws, stores the message in *error and returns `failed`.
template <typename Result, typename Body>
Result guard(char** error, Result failed, Body body) noexcept {
  *error = nullptr;
  try {
    return body();
  } catch (const std::exception& exception) {
    *error = strdup(exception.what());
  } catch (...) {
    *error = strdup("an exception of an unknown type");
  }
  return failed;
}

}  // namespace densenet
