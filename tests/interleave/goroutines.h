// Goroutines for programs of the checker: what runtime/sched/park.h and timer.h promise, without a scheduler.
//
// A goroutine is a thread of the scenario. The model is as free as the scheduler is, and no kinder:
//   - gopark's commit runs on another thread, the M's g0, while the goroutine already waits. Once commit has published it, the goroutine
//   may
//     be readied and go on while commit's last instructions are still to come.
//   - goready of one that does not wait is an error at once. A goroutine that nobody readies is a deadlock.
//   - What precedes goready happens before what follows gopark; nothing else is ordered.
//   - A timer may fire at any moment after timer_start, or not at all. Its function runs on a thread of its own.
// The code that is tested against this model is checked against the promises of park.h. That the scheduler keeps them is park_test.cpp's.
#pragma once
#include "interleave.h"
#include "runtime/sched/park.h"

namespace interleave {

namespace detail {
void become_goroutine();
}

template <class F>
void go(scenario& s, const char* name, F f) {
  s.thread(name, [f]() mutable {
    detail::become_goroutine();
    f();
  });
}

}  // namespace interleave
