// Autocast, which tch has for CUDA only.
#include <ATen/autocast_mode.h>

#include "guard.h"

namespace {

at::DeviceType device(bool is_cuda) { return is_cuda ? at::kCUDA : at::kCPU; }

}  // namespace

int densenet_begin_autocast(bool is_cuda, bool is_enabled, densenet_autocast* before, char** error) {
  return densenet::guard(error, -1, [&] {
    const auto kind = at::autocast::get_autocast_dtype(device(is_cuda));
    *before = {is_cuda, at::autocast::is_autocast_enabled(device(is_cuda)), static_cast<int8_t>(kind)};
    at::autocast::set_autocast_enabled(device(is_cuda), is_enabled);
    at::autocast::set_autocast_dtype(device(is_cuda), at::kBFloat16);
    at::autocast::increment_nesting();
    return 0;
  });
}

int densenet_end_autocast(densenet_autocast before, char** error) {
  return densenet::guard(error, -1, [&] {
    at::autocast::set_autocast_enabled(device(before.is_cuda), before.is_enabled);
    at::autocast::set_autocast_dtype(device(before.is_cuda), static_cast<at::ScalarType>(before.kind));
    // Cached copies of weights belong to the outermost region.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    return 0;
  });
}
