// A library for LD_PRELOAD that counts what a process asks of malloc, in a file mapped by it and by whoever wants to know:
//   COUNT_ALLOCATIONS=/tmp/counts LD_PRELOAD=libcount_allocations.so greeter_server …
// The file holds 64-bit numbers: allocations, frees, bytes allocated, then for each size up to 64 KiB in steps of 16 how many live blocks
// there are, and one more number for the larger ones. See bench/grpc/cost.py.
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" {
// glibc's own, under the names it keeps for this purpose.
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);
}

namespace {

constexpr size_t kSizes = 4096;
struct counts {
  std::atomic<int64_t> allocations, frees, bytes;
  std::atomic<int64_t> live[kSizes + 1];
};

counts before_main;  // until the file is there
counts* shared = &before_main;

[[gnu::constructor]] void open_counts() {
  const char* path = getenv("COUNT_ALLOCATIONS");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(counts)) != 0) return;
  void* at = mmap(nullptr, sizeof(counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) shared = static_cast<counts*>(at);
}

size_t index_of(void* block) {
  const size_t i = malloc_usable_size(block) / 16;
  return i < kSizes ? i : kSizes;
}

void* made(void* block) {
  if (block == nullptr) return nullptr;
  shared->allocations.fetch_add(1, std::memory_order_relaxed);
  shared->bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(block)), std::memory_order_relaxed);
  shared->live[index_of(block)].fetch_add(1, std::memory_order_relaxed);
  return block;
}

void gone(void* block) {
  if (block == nullptr) return;
  shared->frees.fetch_add(1, std::memory_order_relaxed);
  shared->live[index_of(block)].fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

extern "C" {

void* malloc(size_t size) { return made(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return made(__libc_calloc(count, size)); }
void* realloc(void* block, size_t size) {
  gone(block);
  return made(__libc_realloc(block, size));
}
void* memalign(size_t alignment, size_t size) { return made(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return made(__libc_memalign(alignment, size)); }
int posix_memalign(void** into, size_t alignment, size_t size) {
  *into = made(__libc_memalign(alignment, size));
  return *into == nullptr ? ENOMEM : 0;
}
void free(void* block) {
  gone(block);
  __libc_free(block);
}
}
