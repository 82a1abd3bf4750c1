// Work on libtorch's own threads.
#include <ATen/Parallel.h>

#include "guard.h"

int densenet_parallel_for(int64_t length, int64_t grain, void (*body)(void*, int64_t, int64_t), void* data,
                          char** error) {
  return densenet::guard(error, -1, [&] {
    at::parallel_for(0, length, grain, [&](int64_t begin, int64_t end) { body(data, begin, end); });
    return 0;
  });
}
