// Random numbers from a separate generator: libtorch's default generator, which the process shares, is not changed.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>

#include "guard.h"

int densenet_fill_random(at::Tensor* tensor, bool is_normal, double first, double second, uint64_t seed, char** error) {
  return densenet::guard(error, -1, [&] {
    const at::Generator generator = at::detail::createCPUGenerator(seed);
    if (is_normal) {
      tensor->normal_(first, second, generator);
    } else {
      tensor->uniform_(first, second, generator);
    }
    return 0;
  });
}
