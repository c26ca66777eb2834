// The scavenger: gives memory of free pages back to the system (MADV_DONTNEED: resident no more, zeros at the next touch).
//
// It looks after the heap's arena and those of the stacks (page_arena.h). Three callers:
//   sysmon (tick)          in the background, a slice of 100 µs at most, then 99 times as long nothing: one percent of a processor. Free
//                          stacks, all of them; then the heap, towards `goal` resident bytes. On the monitor's thread and not on a
//                          goroutine: it goes on when the program is idle, which is when memory is to be given back, and it takes no P
//                          from anybody.
//   who allocates          when heap and stacks have come to have more than `limit` resident bytes: gives back as much as it takes, and
//                          some more, before it goes on (mheap::alloc_pages). That is what keeps a memory limit; the background alone is
//                          too slow.
//   free_os_memory         everything.
// What the two numbers should be is the collector's business (gc/pacer.h); "resident" is our own count: pages grown less pages scavenged. A
// page of the system that was never touched counts, pages in the cache of a P count and are not given back. (Every collection empties these
// caches, of pages of the heap and of stacks.) Not counted is the rest of a huge page that the heap has begun to use: up to 2 MiB where the
// used part ends.
//
// Stacks first, and without a goal: a stack is free for its arena when nobody has needed it for ten seconds or longer
// (sched/goroutine_pool.h), a page of the heap from the moment it was swept.
//
// One step: under the arena's lock a run of idle pages becomes pages in use (page_alloc::hold_idle: 64 at most, half a megabyte of data,
// the highest there is), without the lock the system is asked to take their memory, under the lock they become free and scavenged. So the
// lock is not held over a system call, and nobody else can have these pages meanwhile: to an allocator they look taken, to a marker they
// are free (no span is there; the goroutine on the stack is dead, and one of zeros is, too), and nobody else touches memory without a span.
// Who finds no memory at all waits for the pages that are held (alloc_pages): nobody is told "out of memory" because of a scavenger at
// work. A step is a critical section: a stop of the world does not hold a thread in the middle of it, so that wait is one for a thread that
// runs.
//
// A program whose heap is not linked in has stacks all the same: its scheduler has a scavenger of its own then, without a heap.
//
// Memory order: what somebody wrote into a page happens before its free, that before the hold, both under the lock; release and the next
// allocation likewise. So the zeros are seen by who is promised them.
//
// A system that refuses (memory locked by mlockall: EINVAL) is told about once, on standard error, and asked again after a minute. The
// pages are free then as before. Rejected: MADV_FREE, which keeps them counted as resident until the system is short of memory: every
// limit, of a cgroup or ours, is about what is resident.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/page_arena.h"
#include "runtime/os/clock.h"

namespace warren::rt {

class scavenger {
 public:
  static constexpr uint64_t kNone = ~uint64_t{0};

  explicit scavenger(page_arena* heap = nullptr) noexcept : heap_(heap), advise_(&ask_system), clock_(&nanotime) {}
  scavenger(const scavenger&) = delete;
  scavenger& operator=(const scavenger&) = delete;

  // Stacks' arenas, kMostStacks at once; each is removed once. After that nobody is at work on it any more.
  void add(page_arena& stacks) noexcept;
  void remove(page_arena& stacks) noexcept;

  // Gives back `bytes` or somewhat more. Returns what it has given back: less, when nothing is left. Any thread.
  uint64_t give_back(uint64_t bytes) noexcept;
  // By one thread, now and then. Returns after how many ns there is something to do again; INT64_MAX: not before something is freed.
  int64_t tick(int64_t now) noexcept;

  // kNone: no such goal. The goal is about the heap, the limit about heap and stacks.
  void set_goal(uint64_t resident) noexcept { goal_.store(resident, std::memory_order_relaxed); }
  void set_limit(uint64_t resident) noexcept { limit_.store(resident, std::memory_order_relaxed); }
  uint64_t goal() const noexcept { return goal_.load(std::memory_order_relaxed); }
  uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }

  uint64_t stacks_resident_bytes() const noexcept { return stacks_.resident.load(std::memory_order_relaxed) << kPageShift; }
  uint64_t resident_bytes() const noexcept { return stacks_resident_bytes() + (heap_ != nullptr ? heap_->resident() << kPageShift : 0); }
  // Of that: could be given back.
  uint64_t idle_bytes() const noexcept {
    return (stacks_.idle.load(std::memory_order_relaxed) + (heap_ != nullptr ? heap_->idle() : 0)) << kPageShift;
  }

  uint64_t total_bytes() const noexcept { return total_.load(std::memory_order_relaxed); }  // given back ever
  uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

  // Tests: what takes the place of the system, returning 0 or an errno, and of the clock.
  void set_system_for_testing(int (*advise)(void* at, size_t bytes), int64_t (*clock)()) noexcept;

 private:
  static constexpr int64_t kSlice = 100'000;
  static constexpr int64_t kRest = 99;  // times the slice
  static constexpr int64_t kAfterFailure = 60'000'000'000;

  static constexpr size_t kMostStacks = 8;

  static int ask_system(void* at, size_t bytes);
  bool heap_is_due() const noexcept;
  bool stacks_are_due() const noexcept { return stacks_.idle.load(std::memory_order_relaxed) != 0; }
  // One run. 0: nothing is idle, or the system refused.
  uint64_t step(bool of_stacks, bool of_heap) noexcept;
  page_run hold(bool of_stacks, bool of_heap, page_arena** from) noexcept;

  page_arena* const heap_;
  int (*advise_)(void*, size_t);
  int64_t (*clock_)();
  int64_t next_ = 0;  // tick's
  std::atomic<uint64_t> goal_{kNone}, limit_{kNone};
  std::atomic<uint64_t> total_{0}, failures_{0};

  critical_mutex lock_;
  page_arena* arenas_[kMostStacks] = {};  // guarded by lock_; those in use come first
  arena_sums stacks_;
};

}  // namespace warren::rt
