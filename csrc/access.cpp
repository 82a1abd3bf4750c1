// How the values of a tensor can be reached: in memory, or by libtorch's operations alone.
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/jit/frontend/tracer.h>

#include "guard.h"

namespace {

// Whether this thread records, or replaces, the operations that it calls: work on memory would be missing from it.
bool operations_are_intercepted() {
  using c10::DispatchKey;
  return torch::jit::tracer::isTracing() ||
         c10::impl::tls_is_dispatch_key_included(DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         c10::impl::tls_is_dispatch_key_included(DispatchKey::Functionalize);
}

// Whether the memory of a strided tensor is not what its operations read: wrappers, lazy negatives, zeros without memory,
// and forward-mode tangents beside the values.
bool is_more_than_memory(const at::Tensor& tensor) {
  return at::isTensorSubclassLike(tensor) || !tensor.has_storage() || tensor.is_conj() || tensor.is_neg() ||
         tensor._is_zerotensor() || tensor._fw_grad(/*level=*/0).defined();
}

}  // namespace

int densenet_access(const at::Tensor* tensor, char** error) {
  return densenet::guard(error, -1, [&] {
    if (!tensor->defined() || tensor->layout() != at::kStrided || tensor->is_quantized()) return 0;
    return operations_are_intercepted() || is_more_than_memory(*tensor) ? 1 : 2;
  });
}

int densenet_is_tracing(char** error) {
  return densenet::guard(error, -1, [] { return torch::jit::tracer::isTracing() ? 1 : 0; });
}

int densenet_is_autocast(bool is_cuda, char** error) {
  return densenet::guard(
      error, -1, [&] { return at::autocast::is_autocast_enabled(is_cuda ? at::kCUDA : at::kCPU) ? 1 : 0; });
}
