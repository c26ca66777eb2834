// Many goroutines at once: what tests of stacks begin with.
#pragma once
#include <atomic>
#include <utility>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "warren/go.h"

namespace warren::testing {

// Starts n goroutines, calls while_there when all of them run, and returns when all have ended.
//
// They park meanwhile. Did they yield, whoever starts them would wait for all that are there when it loses its P, which in the tiny build
// is at one start in eight: six million switches for ten thousand goroutines. (And not in a wait_group, which needs channels, and these the
// heap: one of these tests is without.)
template <class F>
void goroutine_burst(int n, F&& while_there) {
  rt::mutex lock;
  rt::g_list parked;  // guarded by lock
  std::atomic<int> begun{0}, ended{0};
  for (int i = 0; i < n; ++i)
    go([&] {
      lock.lock();
      parked.push(rt::getg());
      ++begun;
      rt::gopark(&rt::park_unlock, &lock, rt::wait_reason::other);
      ++ended;
    });
  while (begun < n) yield();
  while_there();
  lock.lock();
  rt::g_list there = std::exchange(parked, {});
  lock.unlock();
  while (there.head != nullptr) rt::goready(there.pop());
  while (ended < n) yield();
}

}  // namespace warren::testing
