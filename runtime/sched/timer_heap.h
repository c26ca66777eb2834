// The timers of one P: a 4-ary heap under a lock of its own, run by the P's scheduler or by a thief that has nothing else to do.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/os/mutex.h"
#include "runtime/sched/biased_lock.h"
#include "runtime/sched/timer.h"

namespace warren::rt {

class timer_heap {
 public:
  // Adds t. Returns true if it became the earliest.
  bool add(timer* t);
  // Takes t out if it is still in this heap. REQUIRES: lock() held.
  bool remove(timer* t) noexcept;
  // Runs what is due at `now`. Returns how many ran. *next: time of the earliest timer left, 0 if none.
  // If another thread is running timers of this heap, runs nothing and sets *next to now: the other will get to them.
  uint32_t run(int64_t now, int64_t* next) noexcept;

  // Time of the earliest timer, 0 if there is none. Lock-free, may be old.
  int64_t earliest() const noexcept { return earliest_.load(std::memory_order_acquire); }
  bool empty() const noexcept { return earliest() == 0; }
  biased<mutex>& lock() noexcept { return lock_; }
  // The timer whose function runs now. Changes under lock().
  const timer* running() const noexcept { return running_.load(std::memory_order_acquire); }

 private:
  struct entry {
    int64_t when;  // beside the pointer: sifting touches no timer but the ones it moves
    timer* t;
  };
  void place(uint32_t i, entry e) noexcept;
  void sift_up(uint32_t i) noexcept;
  void sift_down(uint32_t i) noexcept;
  void remove_at(uint32_t i) noexcept;
  void publish_earliest() noexcept;

  biased<mutex> lock_;
  std::atomic<int64_t> earliest_{0};
  std::vector<entry> heap_;  // guarded by lock_
  std::atomic<const timer*> running_{nullptr};
};

}  // namespace warren::rt
