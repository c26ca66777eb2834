// sudog: one goroutine waiting in one channel's queue. A goroutine that selects over n channels has n of them.
//
// A sudog lies on the stack of the goroutine that waits: nothing is allocated to wait, and the address in `elem` is seen by the collector's
// conservative scan of that stack. Whoever takes a sudog out of a queue owns it until the goready of its goroutine; afterwards it may be
// gone.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/sched/park.h"

namespace warren::detail {

struct sudog;

// What all sudogs of one select share; in the frame of selectgo.
struct select_frame {
  explicit select_frame(rt::g* gp) noexcept : gp(gp) {}

  rt::g* const gp;
  // 0: nobody has woken the select. The one who changes it to 1 wakes it, all others pass by. Relaxed is enough: it only elects; what the
  // winner writes (winner, the element) reaches the sleeper through goready, what the sleeper wrote reaches the winner through the
  // channel's lock, and the timer's function through the timer heap's.
  std::atomic<uint32_t> fired{0};
  sudog* winner = nullptr;  // written by the elected before its goready; stays nullptr when the timer won

  bool claim() noexcept {
    uint32_t nobody = 0;
    return fired.load(std::memory_order_relaxed) == 0 && fired.compare_exchange_strong(nobody, 1, std::memory_order_relaxed);
  }
};

struct sudog {
  rt::g* gp = nullptr;
  void* elem = nullptr;            // where the value comes from (sender) or goes to (receiver, raw storage)
  select_frame* select = nullptr;  // nullptr: a plain send or receive
  sudog* next = nullptr;           // next to linked: guarded by the channel's lock
  sudog* prev = nullptr;
  bool linked = false;
  bool success = false;  // a value was moved; false after the wake-up: the channel was closed
};

// Waiting goroutines of one direction, first come first served. All of it under the channel's lock, but for the peek.
class waitq {
 public:
  // Without the lock: is somebody there? May count a select that another channel has just fired. Acquire: see "Peeking" in chan.cpp.
  bool peek() const noexcept { return first_.load(std::memory_order_acquire) != nullptr; }

  size_t length() const noexcept {
    size_t n = 0;
    for (const sudog* sg = first_.load(std::memory_order_relaxed); sg != nullptr; sg = sg->next) ++n;
    return n;
  }

  void enqueue(sudog* sg) noexcept {
    sg->next = nullptr;
    sg->prev = last_;
    sg->linked = true;
    if (last_ == nullptr) {
      first_.store(sg, std::memory_order_relaxed);
    } else {
      last_->next = sg;
    }
    last_ = sg;
  }

  // The first waiter that is now the caller's to wake, or nullptr. Selects that somebody else has fired are dropped on the way.
  sudog* dequeue() noexcept {
    for (;;) {
      sudog* sg = first_.load(std::memory_order_relaxed);
      if (sg == nullptr) return nullptr;
      remove(sg);
      if (sg->select == nullptr) return sg;
      // The frame is alive although the select may have been fired: it ends only after it has taken this channel's lock to look for sg.
      if (sg->select->claim()) {
        sg->select->winner = sg;
        return sg;
      }
    }
  }

  // REQUIRES: sg->linked, in this queue.
  void remove(sudog* sg) noexcept {
    if (sg->prev != nullptr) {
      sg->prev->next = sg->next;
    } else {
      first_.store(sg->next, std::memory_order_relaxed);
    }
    if (sg->next != nullptr) {
      sg->next->prev = sg->prev;
    } else {
      last_ = sg->prev;
    }
    sg->linked = false;
  }

 private:
  std::atomic<sudog*> first_{nullptr};
  sudog* last_ = nullptr;
};

}  // namespace warren::detail
