// The heap's address space: one range of data and flat tables beside it, reserved together at the start and backed by the system as they
// are touched.
//
//   data        512 GiB       pages of 8 KiB
//   spans       512 MiB       page number → span
//   bits a, b     8 GiB each  mark and alloc bits of a span's objects, one each; which array is which changes with every sweep of the span
//   pointers      8 GiB       one bit for each word of the data: may the word hold a collected pointer (precise spans only)
//   check         8 GiB       marks of the checkmark run
//   mark work   520 GiB       buffers of the mark queues, with room for the worst case: every word of the heap an object that waits
//
// Flat tables cost address space and nothing else: the part that corresponds to unused heap is never touched. In exchange "is this word a
// heap pointer, and to what" is a subtraction, a comparison and one load. Rejected: Go's two-level table of 64 MiB arenas, which it needs
// for heaps that cannot have one range; bitmaps in the span, which Green Tea wants (gc.md §4) and which can come back with it.
#pragma once
#include <cstddef>
#include <cstdint>

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
  bool contains(uintptr_t a) const noexcept { return a - base_ < bytes_; }

  mspan** spans() const noexcept { return spans_; }
  uint64_t* bits(int which) const noexcept { return bits_[which]; }
  uint64_t* pointer_bits() const noexcept { return pointer_bits_; }
  uint64_t* check_bits() const noexcept { return check_bits_; }
  std::byte* mark_work() const noexcept { return mark_work_; }
  size_t mark_work_bytes() const noexcept { return mark_work_bytes_; }

 private:
  bool reserve(size_t bytes) noexcept;

  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  uintptr_t base_ = 0;
  size_t bytes_ = 0;
  mspan** spans_ = nullptr;
  uint64_t* bits_[2] = {};
  uint64_t* pointer_bits_ = nullptr;
  uint64_t* check_bits_ = nullptr;
  std::byte* mark_work_ = nullptr;
  size_t mark_work_bytes_ = 0;
};

// The value of WARREN_HEAP_RESERVE ("64G", "1073741824"); 0 if text is malformed.
size_t parse_size(const char* text) noexcept;

}  // namespace warren::rt
