// Memory allocation of libtorch on the CPU.
#include <c10/core/CPUAllocator.h>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <mutex>

#include "guard.h"

namespace {

// Requests large pages from the system: a step reads hundreds of megabytes in strides, and large pages need fewer
// address translations.
void ask_for_large_pages(void* data, size_t size) {
#ifdef MADV_HUGEPAGE
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const auto first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto last = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
  // This is only advice: small pages work too.
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

class LargePages final : public c10::Allocator {
 public:
  explicit LargePages(c10::Allocator* base) : base_(base) {}

  c10::DataPtr allocate(size_t size) override {
    auto data = base_->allocate(size);
    if (size >= kLarge) ask_for_large_pages(data.get(), size);
    return data;
  }

  c10::DeleterFnPtr raw_deleter() const override { return base_->raw_deleter(); }

  void copy_data(void* to, const void* from, size_t size) const override { base_->copy_data(to, from, size); }

 private:
  static constexpr size_t kLarge = 1 << 20;
  c10::Allocator* const base_;
};

}  // namespace

int densenet_tune_allocator(char** error) {
  return densenet::guard(error, -1, [] {
    static std::once_flag once;
    std::call_once(once, [] {
#ifdef __GLIBC__
      // Larger than any tensor of a step; glibc's own maximum is 32 MiB.
      mallopt(M_MMAP_THRESHOLD, 1 << 30);
      mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
      c10::SetCPUAllocator(new LargePages(c10::GetCPUAllocator()), /*priority=*/255);
    });
    return 0;
  });
}

void densenet_release_free_memory(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}
