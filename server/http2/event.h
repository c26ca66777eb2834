// event: something that happens once, and goroutines that wait for it.
#pragma once
#include <cstdint>

#include "runtime/os/mutex.h"

namespace warren::http2 {

class event {
 public:
  event() = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  // Wakes all who wait, now and later. Any thread; never parks.
  void set() noexcept;
  // Parks until set() was called.
  void wait() { wait_until(0); }
  // The same, until nanotime reaches when at the latest (0: no limit). Returns whether it happened.
  bool wait_until(int64_t when);

 private:
  struct waiter;
  static void expire(void* arg, uintptr_t);

  rt::mutex mutex_;  // guards the following, and the waiters' fields
  bool set_ = false;
  waiter* first_ = nullptr;
};

}  // namespace warren::http2
