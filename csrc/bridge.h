// The C ABI for functions of libtorch that tch does not expose.
//
// Every entry catches all exceptions. On failure it returns null (or -1) and, in *error, a message that the caller
// frees with densenet_free_message.
#pragma once

#include <cstddef>
#include <cstdint>

// torch-sys's handle: a tensor on the heap, owned by whoever holds the pointer.
namespace at {
class Tensor;
}

extern "C" {

// An array of handles.
struct densenet_tensors {
  at::Tensor** first;
  size_t count;
};

// Learning rate and weight decay of one parameter.
struct densenet_rate {
  double learning_rate;
  double weight_decay;
};

void densenet_free_message(char* message);

// --- runtime.cpp ---

// The version of libtorch that this was compiled against, such as "2.13.0". Static.
const char* densenet_libtorch_version();

// The instruction set that ATen's kernels use here, such as "AVX512". The caller frees it.
char* densenet_cpu_capability(char** error);

// Opens libtorch's CUDA library if it lies beside the loaded libtorch_cpu. 1: opened, 0: there is none, -1: error.
int densenet_open_cuda(char** error);

// --- access.cpp ---

// How the values of a tensor can be reached. 2: in memory, 1: by libtorch's operations alone, because this thread records
// them or the tensor stands for another one, 0: neither, as for a sparse tensor, -1: error.
int densenet_access(const at::Tensor* tensor, char** error);

// Whether libtorch traces this thread's operations. 1: yes, 0: no, -1: error.
int densenet_is_tracing(char** error);

// Whether this thread's operations on a device choose their dtype. 1: yes, 0: no, -1: error.
int densenet_is_autocast(bool is_cuda, char** error);

// --- allocator.cpp ---

// Makes the C library keep freed memory for the next allocation instead of returning it to the system, and libtorch ask
// for large pages. 0: done, also before, -1: error.
int densenet_tune_allocator(char** error);

// Returns memory that the process holds but does not use to the system.
void densenet_release_free_memory(void);

// --- memory_format.cpp ---

// A copy of a four-dimensional tensor in channels-last memory format, or the tensor itself if it has that format.
at::Tensor* densenet_to_channels_last(const at::Tensor* tensor, char** error);

// Whether the tensor's four dimensions lie in channels-last memory format without gaps. 1: yes, 0: no, -1: error.
int densenet_is_channels_last(const at::Tensor* tensor, char** error);

// Whether nothing else refers to the tensor or shares its memory, so that it may be modified in place. 1: yes, 0: no,
// -1: error.
int densenet_is_sole_owner(const at::Tensor* tensor, char** error);

// --- convolution.cpp ---

// Those gradients of a convolution with stride 1 that are needed, of its input and of its weight, into `gradients`,
// which come as null. 0: done, -1: error.
int densenet_convolution_backward(const at::Tensor* gradient, const at::Tensor* input, const at::Tensor* weight,
                                  int64_t padding, bool needs_input, bool needs_weight, at::Tensor** gradients,
                                  char** error);

// --- parallel.cpp ---

// Calls `body` with ranges that cover 0 to `length`, on libtorch's threads. `body` does not throw. 0: done, -1: error.
int densenet_parallel_for(int64_t length, int64_t grain, void (*body)(void*, int64_t, int64_t), void* data,
                          char** error);

// --- random.cpp ---

// Fills a tensor on the CPU with random numbers that follow from `seed`: normal ones of mean `first` and standard
// deviation `second`, or uniform ones from `first` to `second`. 0: done, -1: error.
int densenet_fill_random(at::Tensor* tensor, bool is_normal, double first, double second, uint64_t seed, char** error);

// --- autocast.cpp ---

// The autocast setting of a device: the dtype that its operations choose.
struct densenet_autocast {
  bool is_cuda;
  bool is_enabled;
  // An at::ScalarType.
  int8_t kind;
};

// From now on this thread's operations choose bf16 where it fits, or no dtype; stores the previous setting. 0: done,
// -1: error.
int densenet_begin_autocast(bool is_cuda, bool is_enabled, densenet_autocast* before, char** error);

// Restores the previous setting. 0: done, -1: error.
int densenet_end_autocast(densenet_autocast before, char** error);

// --- autograd.cpp ---

// A function whose passes are written in Rust. Nothing in here throws.
struct densenet_function {
  // The state of Rust between the passes.
  void* data;
  // Name of the function in messages. Static.
  const char* name;
  size_t name_length;
  // The number of inputs.
  size_t inputs;
  // Computes the gradients of the inputs from those of the outputs, which are null for outputs without a gradient.
  // Takes over the handles in `saved` and `gradients`, and hands over those that it puts into `results`, which come as
  // null. Returns whether all went well; if not, `message` was written with densenet_write_message.
  bool (*backward)(void* data, densenet_tensors saved, densenet_tensors gradients, const uint8_t* needs,
                   densenet_tensors results, void* message);
  // Frees `data`.
  void (*free)(void* data);
};

void densenet_write_message(void* message, const char* text, size_t length);

// Records `outputs` as the results of a function of `inputs` whose backward pass receives `saved`: `recorded` receives
// a new handle for each. Takes over the function's data, also on failure. 0: done, -1: error.
int densenet_record(const densenet_function* function, densenet_tensors inputs, densenet_tensors outputs,
                    const uint8_t* is_differentiable, densenet_tensors saved, at::Tensor** recorded, char** error);

// --- copy.cpp ---

// Copies the values of each tensor in `from` into the one at the same place in `to`, which is as long. 0: done, -1:
// error.
int densenet_copy_all(densenet_tensors from, densenet_tensors to, char** error);

// --- cuda.cpp ---

// Sets what convolutions and matrix products of f32 compute in on CUDA, whether cuDNN times its algorithms, and whether
// only deterministic algorithms run. 0: done, -1: error.
int densenet_configure_cuda(bool tf32, bool benchmark, bool deterministic, char** error);

// The most bytes that tensors on a CUDA device have taken at the same time, after which the count begins anew if `reset`
// is true. -1: error.
int64_t densenet_peak_cuda_memory(int index, bool reset, char** error);

// --- finite.cpp ---

// Writes 1 into `found`, an f32 on the device of the tensors, if any of them holds NaN or an infinity; else `found` keeps
// its value. The host does not wait for the result. 0: done, -1: error.
int densenet_find_non_finite(densenet_tensors tensors, at::Tensor* found, char** error);

// --- optim.cpp ---

// One step of SGD for all parameters. With momentum, `momenta` are as many, and 0 before the first step; otherwise they
// are ignored. 0: done, -1: error.
int densenet_fused_sgd_step(densenet_tensors parameters, densenet_tensors gradients, densenet_tensors momenta,
                            const densenet_rate* rates, double momentum, bool nesterov, char** error);

// One step of AdamW for all parameters. `numbers` are as many: the 1-based index of each parameter's own step, a float on
// its device. 0: done, -1: error.
int densenet_fused_adamw_step(densenet_tensors parameters, densenet_tensors gradients, densenet_tensors first_moments,
                              densenet_tensors second_moments, densenet_tensors numbers, const densenet_rate* rates,
                              double beta1, double beta2, double epsilon, char** error);

// Removes the gradients of the tensors. 0: done, -1: error.
int densenet_clear_gradients(densenet_tensors tensors, char** error);
}
