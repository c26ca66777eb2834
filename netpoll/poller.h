// The poller: what the rest of netpoll and the scheduler see of the kernel's readiness interface. epoll.h and kqueue.h implement it;
// back_end.h says which one this build has.
//
// A back end offers: add a descriptor, edge-triggered for both directions at once, with a 64-bit token that comes back with each event;
// collect events; be woken. What the events mean for goroutines is in poll_desc.h and the same for all back ends.
//
// There is one poller per process. A descriptor is added once, when it is opened, and never changed or removed: closing it removes it
// (kqueue.cpp has an exception, for which there is closing()).
// (Removing it explicitly costs a system call per connection. The price of not doing so: if a duplicate of the descriptor lives on in a
// forked child, its edges keep arriving; their token names a poll_desc that has gone on to another generation, and they are dropped.)
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/sched/netpoller.h"

namespace warren::rt {

class poller : public netpoller {
 public:
  // The process's poller, made at the first call. nullptr if the kernel refuses (no descriptor left): *error is the errno. May be called
  // again then.
  static poller* get(int* error) noexcept;
  // The one that get() made. REQUIRES: get() succeeded before.
  static poller& made() noexcept { return *made_.load(std::memory_order_acquire); }

  // Registers an open, non-blocking descriptor. Returns 0 or an errno.
  virtual int add(int fd, uint64_t token) noexcept = 0;

  // Called just before a registered descriptor is closed, when nobody uses it any more.
  virtual void closing(int fd) noexcept { static_cast<void>(fd); }

  // Makes the running runtime poll this poller; does nothing between runs. Called before a descriptor is added.
  void attach();

  int64_t waiters() const override { return waiters_.load(std::memory_order_acquire); }
  // Counted at park before the goroutine can be readied, so that the sum is never too low: too low, an idle program looks deadlocked.
  void add_waiters(int64_t n) noexcept { waiters_.fetch_add(n, std::memory_order_release); }

  // What it has done since the process started, for metrics.
  struct statistics {
    uint64_t polls;   // calls of the kernel
    uint64_t events;  // readiness events received, wake-ups not counted
    uint64_t stale;   // of these, for descriptors closed meanwhile
    uint64_t wakes;   // blocking polls ended early by wake()
  };
  virtual statistics stats() const noexcept = 0;

 private:
  static void on_run_started();
  static std::atomic<poller*> made_;

  std::atomic<int64_t> waiters_{0};
};

}  // namespace warren::rt
