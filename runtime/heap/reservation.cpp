#include "runtime/heap/reservation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/heap/tunables.h"
#include "runtime/os/fatal.h"
#include "runtime/os/tiny.h"

namespace warren::rt {

namespace {
constexpr uintptr_t kHuge = uintptr_t{2} << 20;  // a huge page, also of aarch64 with pages of 4 KiB
}

reservation::reservation(size_t bytes) {
  bytes = (bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  const size_t smallest = bytes < kSmallestReserve ? bytes : kSmallestReserve;
  for (size_t b = bytes; b >= smallest; b = b / 2 / kChunkBytes * kChunkBytes) {
    if (reserve(b)) return;
  }
  fatal("cannot reserve %zu MiB of address space for the heap (%s): raise the limit (ulimit -v) or set WARREN_HEAP_RESERVE lower",
        smallest >> 20, strerror(errno));
}

bool reservation::reserve(size_t bytes) noexcept {
  const size_t pages = bytes / kPageSize;
  const size_t bitmap = pages * kBitmapBytesPerPage;
  const size_t work = WARREN_CAPACITY(bytes + bytes / 64, 4 * bytes);  // buffers have heads, and some are not full
  const size_t total = kChunkBytes + bytes + pages * (sizeof(mspan*) + sizeof(uint32_t)) +
                       (size_t{3} << (kBitTiers + kTopTierShift + 2)) * pages + 2 * bitmap + work;
  // Readable and writable from the start: backing happens on the first touch. NORESERVE keeps it out of the system's commit accounting.
  void* const p = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  madvise(p, total, MADV_DONTDUMP);  // half a terabyte of mostly nothing: a core dump would walk it. The heap's data is dumped again below.
  mapping_ = p;
  mapping_bytes_ = total;
  uintptr_t a = reinterpret_cast<uintptr_t>(p);
  a = (a + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  base_ = a;
  bytes_ = bytes;
  madvise(reinterpret_cast<void*>(base_), bytes_, MADV_DODUMP);
  a += bytes;
  spans_ = reinterpret_cast<mspan**>(a);
  a += pages * sizeof(mspan*);
  page_words_ = reinterpret_cast<uint32_t*>(a);
  a += pages * sizeof(uint32_t);
  for (int tier = 0; tier < kBitTiers; ++tier) {
    object_bits_[tier] = reinterpret_cast<uint64_t*>(a);
    a += pages << (tier + kTopTierShift + 3);
  }
  for (int tier = 0; tier < kBitTiers; ++tier) {
    scan_bits_[tier] = reinterpret_cast<uint64_t*>(a);
    a += pages << (tier + kTopTierShift + 2);
  }
  pointer_bits_ = reinterpret_cast<uint64_t*>(a);
  a += bitmap;
  check_bits_ = reinterpret_cast<uint64_t*>(a);
  a += bitmap;
  mark_work_ = reinterpret_cast<std::byte*>(a);
  mark_work_bytes_ = work;
  return true;
}

void reservation::advise_huge_pages(size_t offset, size_t bytes) noexcept {
  // Errors: a system without huge pages, or one that is told to give none.
  if (offset + bytes > kHugeDataFrom) {
    const size_t from = offset > kHugeDataFrom ? offset : kHugeDataFrom;
    madvise(reinterpret_cast<void*>(base_ + from), offset + bytes - from, MADV_HUGEPAGE);
  }
  if (offset < kHugeTablesFrom && offset + bytes >= kHugeTablesFrom) {
    const auto tables = reinterpret_cast<uintptr_t>(spans_);
    const uintptr_t end = reinterpret_cast<uintptr_t>(mark_work_);
    const uintptr_t first = (tables + kHuge - 1) / kHuge * kHuge;
    madvise(reinterpret_cast<void*>(first), end / kHuge * kHuge - first, MADV_HUGEPAGE);
    tables_lie_about_.store(true, std::memory_order_relaxed);
  }
}

void reservation::no_huge_pages(size_t offset, size_t bytes) const noexcept {
  if (offset + bytes <= kHugeDataFrom) return;
  const size_t first = offset / kChunkBytes * kChunkBytes;
  const size_t end = (offset + bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  madvise(reinterpret_cast<void*>(base_ + first), end - first, MADV_NOHUGEPAGE);
}

void reservation::gather_tables(size_t bytes) noexcept {
  if (!tables_lie_about_.load(std::memory_order_relaxed) || !tables_lie_about_.exchange(false, std::memory_order_relaxed)) return;
  constexpr int kMadvCollapse = 25;  // Linux 6.1; Debian 12's headers do not name it
  const size_t pages = bytes / kPageSize;
  const auto gather = [&](const void* table, size_t each) {  // errors: without huge pages it is only slower
    const uintptr_t first = (reinterpret_cast<uintptr_t>(table) + kHuge - 1) / kHuge * kHuge;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(table) + pages * each) / kHuge * kHuge;
    if (first < end) madvise(reinterpret_cast<void*>(first), end - first, kMadvCollapse);
  };
  gather(spans_, sizeof(mspan*));
  gather(page_words_, sizeof(uint32_t));
  for (int tier = 0; tier < kBitTiers; ++tier) gather(object_bits_[tier], size_t{8} << (tier + kTopTierShift));
  gather(pointer_bits_, kBitmapBytesPerPage);
}

reservation::~reservation() { munmap(mapping_, mapping_bytes_); }

size_t parse_size(const char* text) noexcept {
  char* end = nullptr;
  errno = 0;
  if (*text < '0' || *text > '9') return 0;
  const unsigned long long n = strtoull(text, &end, 10);
  int shift = 0;
  switch (*end) {
    case 'K':
    case 'k':
      shift = 10;
      ++end;
      break;
    case 'M':
    case 'm':
      shift = 20;
      ++end;
      break;
    case 'G':
    case 'g':
      shift = 30;
      ++end;
      break;
    case 'T':
    case 't':
      shift = 40;
      ++end;
      break;
    default: break;
  }
  if (errno != 0 || *end != '\0' || n == 0 || n > (~0ull >> 1 >> shift)) return 0;
  return static_cast<size_t>(n << shift);
}

}  // namespace warren::rt
