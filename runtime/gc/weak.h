// Weak pointers: words the collector clears instead of following.
//
// A weak<T> is a ptr to a cell, a small pointer-free object that holds the target's address. All weak<T> made from the same address share
// one cell, so they compare equal, also after the target is gone. The table finds the cell of an address; it keeps neither cell nor target.
//
// In mark termination, world stopped, everything reachable marked:
//   clear_unreachable   before the finalizers: a cell whose target is unmarked is cleared and forgotten. Its memory is still whole, marked
//                       or not, since nothing has been swept.
//   drop_unused         after the finalizers: a cell that is unmarked is forgotten. Not before: a finalizer's object, and the weak pointers
//                       in it, are brought back in between.
// So a target is cleared in the collection that finds it unreachable, before its finalizer is queued and before its memory is free: lock()
// never returns an address whose object is not whole, and an object that only its own finalizer can see has no weak pointers left.
//
// lock() reads the cell and shades what it finds, in every mode (yuasa's barrier looks at what a store overwrites, and here nothing is):
// while a marking runs, that is an object that was reachable when the marking began or will be by this shading. There is no safepoint
// between the two; a thread stopped by a signal in between is scanned, registers and all, before the marking ends, like every thread that
// ran since its scan (ARCHITECTURE §6). Found in the table is a cell likewise: it is shaded before the next safepoint.
//
// Rejected: Go's way, a record at the span that the sweep finds. It spreads the work over the sweep, but then lock() must ask of every
// target whether its span is swept and its mark bit set. Cost here: about 10 ns in the pause for each address that some weak<T> knows.
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

  // ---- world stopped ----
  void clear_unreachable(const mheap& h) noexcept;
  void drop_unused(const mheap& h) noexcept;

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
  void drop_if(F&& gone) noexcept;

  critical_mutex lock_;
  // Guarded by lock_. Buckets are a power of two, at least as many as entries.
  mapped_array<entry> entries_;
  mapped_array<uint32_t> buckets_;
  size_t bucket_count_ = 0;
  uint32_t free_ = kNone;
  std::atomic<size_t> size_{0};
  std::atomic<uint64_t> cleared_{0};
};

// Is the object that holds this address marked? World stopped, after marking. true for an address in no object.
inline bool is_marked_or_foreign(const mheap& h, uintptr_t address) noexcept {
  const object_ref o = h.find_object(address);
  return !o || o.span->is_marked(o.index);
}

}  // namespace warren::rt
