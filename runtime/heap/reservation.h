// The heap's address space: one range of data and flat tables beside it, reserved together at the start and backed by the system as they
// are touched.
//
//   data        512 GiB       pages of 8 KiB
//   spans       512 MiB       page number → span
//   page words  256 MiB       page number → what a small span's page holds (page_word.h): all a marker needs to know of most pages
//   object bits  30 GiB       alloc and mark bits of a span's objects, at its first page's place: by turns 64 of the ones and 64 of the
//                             others, so that a marker finds both in one cache line. Four tables, for slots from 64, 32, 16 and 8 bytes on,
//                             with 32, 64, 128 and 256 bytes for a page: bits that lie close together stay in the caches
//   scan bits    15 GiB       which marked objects of a span have been scanned (when spans are the unit of marking: runtime/gc/mark.h);
//                             four tables, likewise
//   pointers      8 GiB       one bit for each word of the data: may the word hold a collected pointer (precise spans only)
//   check         8 GiB       marks of the checkmark run
//   mark work   520 GiB       buffers of the mark queues, with room for the worst case: every word of the heap an object that waits
//
// Flat tables cost address space and nothing else: the part that corresponds to unused heap is never touched. In exchange "is this word a
// heap pointer, and to what" is a subtraction, a comparison and one load. Rejected: Go's two-level table of 64 MiB arenas, which it needs
// for heaps that cannot have one range; bitmaps in the span, which Green Tea wants (gc.md §4) and which can come back with it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/size_class.h"

namespace warren::rt {

struct mspan;

class reservation {
 public:
  // Reserves `bytes` of data (rounded up to chunks), or half of that, and so on down to 1 GiB (or to `bytes` if that is less). Fatal if
  // even this is refused.
  explicit reservation(size_t bytes);
  ~reservation();
  reservation(const reservation&) = delete;
  reservation& operator=(const reservation&) = delete;

  uintptr_t base() const noexcept { return base_; }
  size_t bytes() const noexcept { return bytes_; }
  size_t pages() const noexcept { return bytes_ >> 13; }
  // The data [offset, offset + bytes) comes into use. Once the heap is so large that a fraction of it does not matter, the system is asked
  // for huge pages, first for the data, then for the tables: half of the time of marking a gigabyte was misses of the TLB.
  void advise_huge_pages(size_t offset, size_t bytes) noexcept;

  // Before memory there is given back: no huge pages any more in the chunks it lies in. The system would fill the holes again by and by
  // (khugepaged: golang/go#55328).
  void no_huge_pages(size_t offset, size_t bytes) const noexcept;
  // Moves what was in the tables before that into huge pages: some milliseconds, once. bytes: of the heap. By who holds no lock. Does
  // nothing as long as, or once, there is nothing to do.
  void gather_tables(size_t bytes) noexcept;

  bool contains(uintptr_t a) const noexcept { return a - base_ < bytes_; }

  mspan** spans() const noexcept { return spans_; }
  uint32_t* page_words() const noexcept { return page_words_; }
  // Where the bits of a span begin whose first page this is.
  uint64_t* object_bits(size_t page, int tier) const noexcept { return object_bits_[tier] + (page << (tier + kTopTierShift)); }
  uint64_t* scan_bits(size_t page, int tier) const noexcept { return scan_bits_[tier] + (page << (tier + kTopTierShift - 1)); }
  uint64_t* pointer_bits() const noexcept { return pointer_bits_; }
  uint64_t* check_bits() const noexcept { return check_bits_; }
  std::byte* mark_work() const noexcept { return mark_work_; }
  size_t mark_work_bytes() const noexcept { return mark_work_bytes_; }

 private:
  bool reserve(size_t bytes) noexcept;

  std::atomic<bool> tables_lie_about_{false};
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  uintptr_t base_ = 0;
  size_t bytes_ = 0;
  mspan** spans_ = nullptr;
  uint32_t* page_words_ = nullptr;
  uint64_t* object_bits_[kBitTiers] = {};
  uint64_t* scan_bits_[kBitTiers] = {};
  uint64_t* pointer_bits_ = nullptr;
  uint64_t* check_bits_ = nullptr;
  std::byte* mark_work_ = nullptr;
  size_t mark_work_bytes_ = 0;
};

// The value of WARREN_HEAP_RESERVE ("64G", "1073741824"); 0 if text is malformed.
size_t parse_size(const char* text) noexcept;

}  // namespace warren::rt
