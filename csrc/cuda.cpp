// Settings and statistics of CUDA, by interfaces that a libtorch without CUDA has too.
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "guard.h"

int densenet_configure_cuda(bool tf32, bool benchmark, bool deterministic, char** error) {
  return densenet::guard(error, -1, [&] {
    auto& context = at::globalContext();
    const auto precision = tf32 ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
    for (auto operation : {at::Float32Op::CONV, at::Float32Op::MATMUL}) {
      context.setFloat32Precision(at::Float32Backend::CUDA, operation, precision);
    }
    context.setBenchmarkCuDNN(benchmark);
    context.setDeterministicCuDNN(deterministic);
    context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
    return 0;
  });
}

int64_t densenet_peak_cuda_memory(int index, bool reset, char** error) {
  return densenet::guard(error, static_cast<int64_t>(-1), [&] {
    auto* allocator = at::getDeviceAllocator(at::kCUDA);
    const auto device = static_cast<c10::DeviceIndex>(index);
    const int64_t peak = allocator->getDeviceStats(device).allocated_bytes[0].peak;
    if (reset) allocator->resetPeakStats(device);
    return peak;
  });
}
