// The scavenger: gives memory of free pages back to the system (MADV_DONTNEED: resident no more, zeros at the next touch).
//
// Three callers:
//   sysmon (tick)          in the background, a slice of 100 µs at most, then 99 times as long nothing: one percent of a processor, towards
//                          `goal` resident bytes. On the monitor's thread and not on a goroutine: it goes on when the program is idle,
//                          which is when memory is to be given back, and it takes no P from anybody.
//   who allocates          when the heap has come to have more than `limit` resident bytes: gives back as much as it takes, and some more,
//                          before it goes on (mheap::alloc_pages). That is what keeps a memory limit; the background alone is too slow.
//   free_os_memory         everything.
// What the two numbers should be is the collector's business (gc/pacer.h); "resident" is the heap's own count: pages grown less pages
// scavenged. A page of the system that was never touched counts, pages in the cache of a P count and are not given back. Not counted is the
// rest of a huge page that the heap has begun to use: up to 2 MiB where the used part ends.
//
// One step: under the heap's lock a run of idle pages becomes pages in use (page_alloc::hold_idle: 64 at most, half a megabyte, the highest
// there is), without the lock the system is asked to take their memory, under the lock they become free and scavenged. So the lock is not
// held over a system call, and nobody else can have these pages meanwhile: to an allocator they look taken, to a marker they are free (no
// span is there), and nobody else touches memory without a span. Who finds no memory at all waits for the pages that are held
// (alloc_pages): nobody is told "out of memory" because of a scavenger at work. A step is a critical section: a stop of the world does not
// hold a thread in the middle of it, so that wait is one for a thread that runs.
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

namespace warren::rt {

class mheap;

class scavenger {
 public:
  static constexpr uint64_t kNone = ~uint64_t{0};

  explicit scavenger(mheap& h) noexcept;
  scavenger(const scavenger&) = delete;
  scavenger& operator=(const scavenger&) = delete;

  // Gives back `bytes` or somewhat more. Returns what it has given back: less, when nothing is left. Any thread.
  uint64_t give_back(uint64_t bytes) noexcept;
  // By one thread, now and then. Returns after how many ns there is something to do again; INT64_MAX: not before something is freed.
  int64_t tick(int64_t now) noexcept;

  // kNone: no such goal.
  void set_goal(uint64_t resident) noexcept { goal_.store(resident, std::memory_order_relaxed); }
  void set_limit(uint64_t resident) noexcept { limit_.store(resident, std::memory_order_relaxed); }
  uint64_t goal() const noexcept { return goal_.load(std::memory_order_relaxed); }
  uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }

  uint64_t total_bytes() const noexcept { return total_.load(std::memory_order_relaxed); }  // given back ever
  uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

  // Tests: what takes the place of the system, returning 0 or an errno, and of the clock.
  void set_system_for_testing(int (*advise)(void* at, size_t bytes), int64_t (*clock)()) noexcept;

 private:
  static constexpr int64_t kSlice = 100'000;
  static constexpr int64_t kRest = 99;  // times the slice
  static constexpr int64_t kAfterFailure = 60'000'000'000;

  // One run. 0: nothing is idle, or the system refused.
  uint64_t step() noexcept;

  mheap& heap_;
  const size_t unit_;  // pages the system takes back at once
  int (*advise_)(void*, size_t);
  int64_t (*clock_)();
  int64_t next_ = 0;  // tick's
  std::atomic<uint64_t> goal_{kNone}, limit_{kNone};
  std::atomic<uint64_t> total_{0}, failures_{0};
};

}  // namespace warren::rt
