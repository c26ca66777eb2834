// Sections in which a thread of the scheduler is left alone: it does not lose its P, and a stop of the world does not hold it by a signal.
//
// A goroutine can be stopped between any two instructions of ordinary code. If it holds a lock then which the collector needs while the
// world stands, the collector waits for ever. Such locks are critical_mutexes. Works on any thread: on those the scheduler did not start
// there is nothing to hold off (the world's stop does not hold them either, they only wait at such locks).
#pragma once
#include <cstdint>

#include "runtime/os/mutex.h"

namespace warren::rt {

// Implemented by the scheduler (sched/m.cpp), which this folder does not know. Sections nest; leave takes what enter returned. Nothing
// inside may park.
uint32_t enter_critical() noexcept;
void leave_critical(uint32_t outer) noexcept;

class critical_section {
 public:
  critical_section() noexcept : outer_(enter_critical()) {}
  ~critical_section() { leave_critical(outer_); }
  critical_section(const critical_section&) = delete;
  critical_section& operator=(const critical_section&) = delete;

 private:
  uint32_t outer_;
};

// rt::mutex whose holder is in a critical section. One that waits for it is, too, and so keeps its P: for short sections only.
class critical_mutex {
 public:
  void lock() noexcept {
    const uint32_t outer = enter_critical();
    mutex_.lock();
    outer_ = outer;
  }
  bool try_lock() noexcept {
    const uint32_t outer = enter_critical();
    if (!mutex_.try_lock()) {
      leave_critical(outer);
      return false;
    }
    outer_ = outer;
    return true;
  }
  void unlock() noexcept {
    const uint32_t outer = outer_;
    mutex_.unlock();
    leave_critical(outer);
  }

 private:
  mutex mutex_;
  uint32_t outer_ = 0;  // guarded by mutex_
};

}  // namespace warren::rt
