// page_arena: address space that one page allocator manages, with its lock, its scavenger's side and its figures.
//
// The heap's data is one; every class of goroutine stacks is another (stack/stack_arena.h). A page is what is allocated at once: 8 KiB of
// data, a whole slot of a stack. What differs is two numbers, how far apart pages lie and how much memory a page is taken to be. Of data
// that is the same. Of stacks it is not: a slot of 64 KiB or more counts as one page of the heap, 8 KiB, which is the record of its
// goroutine and what goroutines that do not go deep have touched. (One that does is not seen; it would take a look at every page.)
//
// Who takes pages holds `lock`, changes `pages`, and calls publish before unlocking: what others want to know is then in atomics, and
// nobody takes this lock to read a figure.
//
// Lock order. A scavenger's list of arenas comes before the lock of an arena; two arenas' locks are never held together, and nothing is
// locked inside one. They are critical_mutexes: who holds one is not held by a stop of the world, so the collector may take it while the
// world stands, and so may a thread without a P. Not for signal handlers.
//
// held: runs that a scavenger has taken out to give their memory back (scavenger.h). Who finds nothing free and held != 0 tries again.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/page_alloc.h"
#include "runtime/os/critical.h"

namespace warren::rt {

class reservation;

// Sums over several arenas, in pages.
struct arena_sums {
  std::atomic<size_t> resident{0};
  std::atomic<size_t> idle{0};
};

struct page_arena {
  struct layout {
    uintptr_t base = 0;
    size_t count = 0;                    // pages
    size_t stride = kPageSize;           // from one to the next
    size_t unit = 1;                     // pages that the system takes back at once: a power of two up to 64
    const reservation* space = nullptr;  // which may have asked for huge pages there
  };
  explicit page_arena(const layout& l) : pages(l.count), at(l) {}
  page_arena(const page_arena&) = delete;
  page_arena& operator=(const page_arena&) = delete;

  // ---- under lock ----
  critical_mutex lock;
  page_alloc pages;
  size_t held = 0;
  void grow(size_t first, size_t n) noexcept;
  void publish() noexcept;

  // ---- by a scavenger, without lock ----
  page_run hold_idle() noexcept;
  void release_held(page_run r, bool scavenged) noexcept;
  std::byte* address(size_t page) const noexcept { return reinterpret_cast<std::byte*>(at.base + page * at.stride); }
  // Who is about to ask the system for a run calls this first.
  void no_huge_pages(page_run r) const noexcept;
  // From now on (until nullptr) the figures are part of these, too. By whoever keeps the list of arenas.
  void count_in(arena_sums* sums) noexcept;

  // ---- figures, in pages. Any thread ----
  size_t grown() const noexcept { return grown_.load(std::memory_order_relaxed); }
  size_t idle() const noexcept { return idle_.load(std::memory_order_relaxed); }          // free and resident: what could be given back
  size_t released() const noexcept { return released_.load(std::memory_order_relaxed); }  // the system has their memory, or never gave it
  uint64_t given_back() const noexcept { return given_back_.load(std::memory_order_relaxed); }  // ever
  // Those in the caches of Ps count. What was read a moment apart may not fit together.
  size_t resident() const noexcept {
    const size_t all = grown();
    const size_t gone = released();
    return gone < all ? all - gone : 0;
  }

  const layout at;

 private:
  std::atomic<size_t> grown_{0}, idle_{0}, released_{0};
  std::atomic<uint64_t> given_back_{0};
  // Guarded by lock: which sums, and what is in them of this arena.
  arena_sums* sums_ = nullptr;
  size_t resident_in_sums_ = 0, idle_in_sums_ = 0;
};

}  // namespace warren::rt
