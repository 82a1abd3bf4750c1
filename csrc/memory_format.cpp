// Memory formats, which tch does not expose.
#include <ATen/core/Tensor.h>

#include "guard.h"

at::Tensor* densenet_to_channels_last(const at::Tensor* tensor, char** error) {
  return densenet::guard(error, static_cast<at::Tensor*>(nullptr), [&] {
    // Not contiguous(): it considers both formats of a tensor with one channel equal and does not change the strides,
    // from which convolutions choose the format of their output. But is_contiguous(), too: a narrowed tensor has gaps.
    bool is_already = tensor->suggest_memory_format() == at::MemoryFormat::ChannelsLast &&
                      tensor->is_contiguous(at::MemoryFormat::ChannelsLast);
    return new at::Tensor(is_already ? *tensor : tensor->clone(at::MemoryFormat::ChannelsLast));
  });
}

int densenet_is_channels_last(const at::Tensor* tensor, char** error) {
  return densenet::guard(error, -1, [&] {
    return tensor->dim() == 4 && tensor->is_contiguous(at::MemoryFormat::ChannelsLast) ? 1 : 0;
  });
}

int densenet_is_sole_owner(const at::Tensor* tensor, char** error) {
  return densenet::guard(error, -1, [&] { return tensor->use_count() == 1 && tensor->storage().use_count() == 1 ? 1 : 0; });
}
