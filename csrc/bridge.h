// The C ABI over what tch does not expose of libtorch.
//
// Every entry catches all exceptions. On failure it returns null (or -1) and, in *error, a message that the caller frees
// with densenet_free_message.
#pragma once

#include <cstdint>

// torch-sys's handle: a tensor on the heap, owned by whoever holds the pointer.
namespace at {
class Tensor;
}

extern "C" {

void densenet_free_message(char* message);

// --- runtime.cpp ---

// The version of libtorch that this was compiled against, such as "2.13.0". Static.
const char* densenet_libtorch_version();

// The instruction set that ATen's kernels use here, such as "AVX512". Caller frees.
char* densenet_cpu_capability(char** error);

// Opens libtorch's CUDA library if it lies beside the loaded libtorch_cpu. 1: opened, 0: there is none, -1: error.
int densenet_open_cuda(char** error);

// --- memory_format.cpp ---

// A copy of a four-dimensional tensor in channels-last order, or the tensor itself if it has that order.
at::Tensor* densenet_to_channels_last(const at::Tensor* tensor, char** error);
}
