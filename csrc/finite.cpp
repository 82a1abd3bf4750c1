// The check for values that are not finite, on any device.
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>

#include <vector>

#include "guard.h"

int densenet_find_non_finite(densenet_tensors tensors, at::Tensor* found, char** error) {
  return densenet::guard(error, -1, [&] {
    if (tensors.count == 0) return 0;
    c10::AutoGradMode no_grad(false);
    std::vector<at::Tensor> list;
    for (size_t i = 0; i < tensors.count; ++i) list.push_back(tensors.first[i]->detach());
    // It also divides by a scale, which is 1 here and changes nothing.
    at::_amp_foreach_non_finite_check_and_unscale_(list, *found, at::ones({1}, found->options()));
    return 0;
  });
}
