// Marking: from a word to the object it points to, from an object to the words in it.
//
// A marker is one participant: a worker, an assisting goroutine, a thread that empties its barrier buffer, the one who has stopped the
// world. Any number work at once; what makes an object grey is the one atomic change of its mark bit, and whoever made it queues the object
// (in its own queue, which overflows into the pool that all share).
//
// Every word is judged alike, whether it comes from a stack, a root or a typed slot: it may be anything; only an address in a slot that
// was allocated when the marking began marks, any address inside the slot does, and an address in another slot, in a span's unused tail or
// in a page without a span does nothing (gc.md I2: marking free memory would be a zombie at the sweep; mspan.h says what is known of a
// slot).
//
// Large objects are scanned in pieces (oblets), so that one array does not keep one participant busy while the others have nothing: the
// entry that is the object's address is its first piece, and whoever takes that queues the others.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/gc/work_pool.h"
#include "runtime/heap/mheap.h"

namespace warren::rt {

// Go's maxObletBytes: at 1 GB/s 128 µs.
inline constexpr size_t kObletBytes = WARREN_CAPACITY(size_t{128} * 1024, size_t{4} * 1024);

class marker {
 public:
  marker(mheap& h, work_pool& pool) noexcept : heap_(h), queue_(pool) {}

  // Greys the object the word points into, if it is white. True if it was.
  bool mark_word(uintptr_t word) noexcept;
  // Every aligned word in [lo, hi): memory of a running program, not of ours. Not instrumented: it reads frames with their red zones.
  void mark_range(const void* lo, const void* hi) noexcept;
  // Until no object is grey in this queue or the pool, or about `work` bytes were scanned. Returns the bytes.
  uint64_t drain(uint64_t work = ~uint64_t{0}) noexcept;
  // What is queued goes to the pool. To be done before this participant parks or its bracket ends.
  void flush() noexcept { queue_.flush(); }

  // What this marker made grey or black, and what it has scanned of the heap, since it was made or last asked.
  uint64_t bytes = 0, objects = 0, scanned = 0;

 private:
  size_t scan(uintptr_t entry) noexcept;

  mheap& heap_;
  mark_queue queue_;
};

}  // namespace warren::rt
