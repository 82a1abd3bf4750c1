// The gradients of a convolution, which tch does not expose.
#include <ATen/ops/convolution_backward.h>

#include "guard.h"

int densenet_convolution_backward(const at::Tensor* gradient, const at::Tensor* input, const at::Tensor* weight,
                                  int64_t padding, bool needs_input, bool needs_weight, at::Tensor** gradients,
                                  char** error) {
  return densenet::guard(error, -1, [&] {
    auto [of_input, of_weight, of_bias] = at::convolution_backward(
        *gradient, *input, *weight, /*bias_sizes=*/{}, /*stride=*/{1, 1}, {padding, padding}, /*dilation=*/{1, 1},
        /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1, {needs_input, needs_weight, false});
    if (needs_input) gradients[0] = new at::Tensor(std::move(of_input));
    if (needs_weight) gradients[1] = new at::Tensor(std::move(of_weight));
    return 0;
  });
}
