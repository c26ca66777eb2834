// Marking: from a word to the object it points to, from an object to the words in it.
//
// The mark stack lies in the heap's reservation, with room for every object there can be: it cannot overflow and never allocates while the
// world stands. Every word is judged alike, whether it comes from a stack, a root or a typed slot: it may be anything; only an address in
// an allocated slot marks, any address inside the slot does, and an address in a free slot, in a span's unused tail or in a page without a
// span does nothing (gc.md I2: marking free memory would be a zombie at the sweep).
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/heap/mheap.h"

namespace warren::rt {

class marker {
 public:
  explicit marker(mheap& h) noexcept : heap_(h), stack_(h.space().mark_stack()) {}

  void reset() noexcept { top_ = 0, deepest_ = 0, bytes_ = objects_ = 0; }

  // Greys the object the word points into, if it is white. World stopped.
  void mark_word(uintptr_t word) noexcept;
  // Every aligned word in [lo, hi): memory of a running program, not of ours. Not instrumented: it reads frames with their red zones.
  void mark_range(const void* lo, const void* hi) noexcept;
  // Until no object is grey.
  void drain() noexcept;
  // Gives the pages of a stack that was deep back to the system.
  void trim() noexcept;

  uint64_t bytes() const noexcept { return bytes_; }
  uint64_t objects() const noexcept { return objects_; }
  bool idle() const noexcept { return top_ == 0; }

 private:
  void scan(uintptr_t object) noexcept;

  mheap& heap_;
  uintptr_t* stack_;
  size_t top_ = 0, deepest_ = 0;
  uint64_t bytes_ = 0, objects_ = 0;
};

}  // namespace warren::rt
