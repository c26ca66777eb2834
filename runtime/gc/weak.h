// Weak pointers: words the collector clears instead of following.
//
// A weak<T> is a ptr to a cell, a small pointer-free object that holds the target's address. All weak<T> made from the same address share
// one cell, so they compare equal, also after the target is gone. The table finds the cell of an address; it keeps neither cell nor target.
//
// When everything reachable is marked (collector.h has the order of what follows, and says what runs in the pause):
//   clear_unreachable   before the finalizers: a cell whose target is unmarked is cleared and forgotten. Its memory is still whole, marked
//                       or not, since nothing has been swept.
//   drop_unused         after the finalizers: a cell that is unmarked is forgotten. Not before: a finalizer's object, and the weak pointers
//                       in it, are brought back in between.
// So a target is cleared in the collection that finds it unreachable, before its finalizer is queued and before its memory is free: lock()
// never returns an address whose object is not whole, and an object that only its own finalizer can see has no weak pointers left.
//
// Both go over the table in pieces, a short time under its lock each, and while the world runs if there is much to go over. The marks say
// from then on what is dead, though the cells do not say it yet: the table has been judged. What can happen meanwhile, and why it is right:
//   lock() of a dead target   asks the mark bit while the table is judged, and refuses. It does that in a critical section, so the
//                             table cannot begin or end to be judged between its looks at the cell, at the table's state and at the mark.
//   the same, outside         lock()'s fast path, when nothing marks: load the cell, see that nothing marks, load the cell again. If the
//                             world was stopped between the first two and a judgement passed, then either the target was in a register at
//                             that stop, and so marked; or it was loaded after the judgement, and then the cell is cleared before the
//                             marking ends, which the second load sees.
//   find() of a cell that     the target is alive, as the caller holds it; the cell may be unmarked, and be dropped before what the caller
//   nobody else has           shades is marked: two cells for one address. So find marks it at once, under the table's lock, which
//                             drop_unused holds when it looks.
//   insert                    cells and targets that are new are black.
//   a mark that comes late    all that is reachable is marked: nobody makes a grey object but of stale words on stacks, which the next stop
//                             may scan. Such an object lives on for a cycle; nobody gets there, and its cell is cleared all the same.
// Dead, to all of these, is an object that was allocated when the marking began and is unmarked: what is newer is black (mspan.h).
//
// (tests/interleave/weak_test runs lock() against all of this, with the world stopped between any two steps.)
//
// lock() shades what it finds, in every mode (yuasa's barrier looks at what a store overwrites, and here nothing is): while a marking runs
// and nothing is judged, that is an object that was reachable when the marking began or will be by this shading. There is no safepoint
// between the two; a thread stopped by a signal in between is scanned, registers and all, before the marking ends, like every thread that
// ran since its scan (ARCHITECTURE §6). Found in the table is a cell likewise: it is shaded before the next safepoint.
//
// Rejected: Go's way, a record at the span that the sweep finds. It spreads the work over the sweep, but then lock() must ask of every
// target whether its span is swept and its mark bit set, at any time; here it asks while a table is judged, some milliseconds in a cycle.
// (bench_gc's weak_pointers, a million of them, on a busy machine: the median of the longest pauses was 70 to 100 ms when all was done in
// the pause, and is 15 µs.)
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/mheap.h"
#include "runtime/os/critical.h"
#include "runtime/os/mapped_array.h"
#include "warren/weak.h"

namespace warren::rt {

class weak_table {
 public:
  // The cell of this address; nullptr: there is none. The caller makes a ptr of it before the next safepoint.
  detail::weak_cell* find(const void* target) noexcept;
  // Enters `fresh`, unless another was faster: returns the one that counts. Throws std::bad_alloc.
  detail::weak_cell* insert(const void* target, detail::weak_cell* fresh);

  // The target, if it is not known to be dead. In a critical section up to where the caller has shaded it.
  void* lock(const detail::weak_cell* cell, const mheap& h) const noexcept;

  // World stopped: from now on an unmarked target is a dead one, though its cell may say otherwise. keep: greys a cell that is found from
  // now on.
  void begin_judged(void (*keep)(void* arg, const void* cell), void* arg) noexcept;
  void end_judged() noexcept { begin_judged(nullptr, nullptr); }
  // World stopped, or judged. The next `most` entries from *at on; false: there are no more.
  bool clear_unreachable(const mheap& h, size_t* at, size_t most) noexcept;
  bool drop_unused(const mheap& h, size_t* at, size_t most) noexcept;

  size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  uint64_t cleared() const noexcept { return cleared_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct entry {
    uintptr_t target;
    detail::weak_cell* cell;
    uint32_t next;  // in its bucket, or among the free
  };
  size_t bucket_of(uintptr_t target) const noexcept;
  uint32_t look_up(uintptr_t target) noexcept;
  bool grow() noexcept;
  template <class F>
  bool drop_if(size_t* at, size_t most, F&& gone) noexcept;
  detail::weak_cell* found(uint32_t i) noexcept;

  critical_mutex lock_;
  // Guarded by lock_. Buckets are a power of two, at least as many as entries.
  mapped_array<entry> entries_;
  mapped_array<uint32_t> buckets_;
  size_t bucket_count_ = 0;
  uint32_t free_ = kNone;
  void (*keep_)(void* arg, const void* cell) = nullptr;
  void* keep_arg_ = nullptr;
  std::atomic<bool> judged_{false};  // keep_ is set; changes with the world stopped
  std::atomic<size_t> size_{0};
  std::atomic<uint64_t> cleared_{0};
};

// Did the marking leave out the object that holds this address? When everything reachable is marked, before anything is swept; others may
// allocate meanwhile. false for an address in no object.
inline bool is_dead(const mheap& h, uintptr_t address) noexcept {
  const object_ref o = h.find_for_mark(address);
  return o && !o.span->is_marked(o.index);
}

}  // namespace warren::rt
