// Information about the loaded libtorch.
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <stdexcept>
#include <string>

#include "guard.h"

void densenet_free_message(char* message) { std::free(message); }

const char* densenet_libtorch_version() { return TORCH_VERSION; }

char* densenet_cpu_capability(char** error) {
  return densenet::guard(error, static_cast<char*>(nullptr), [] { return strdup(at::get_cpu_capability().c_str()); });
}

int densenet_open_cuda(char** error) {
  return densenet::guard(error, -1, [] {
    // libtorch_cpu is the library that holds this function of ATen's.
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&at::get_cpu_capability), &info) == 0) {
      throw std::runtime_error("the loaded libtorch_cpu has no file name");
    }
    std::string path = info.dli_fname;
    path = path.substr(0, path.rfind('/') + 1) + "libtorch_cuda.so";
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return 1;
    const char* reason = dlerror();
    // A missing library is no error, but one that cannot be loaded is.
    if (FILE* file = std::fopen(path.c_str(), "rb")) {
      std::fclose(file);
      throw std::runtime_error(reason == nullptr ? path + " does not load" : reason);
    }
    return 0;
  });
}
