// Memory formats, which tch has no argument for.
#include <ATen/core/Tensor.h>

#include "guard.h"

at::Tensor* densenet_to_channels_last(const at::Tensor* tensor, char** error) {
  return densenet::guard(error, static_cast<at::Tensor*>(nullptr),
                         [&] { return new at::Tensor(tensor->contiguous(at::MemoryFormat::ChannelsLast)); });
}
