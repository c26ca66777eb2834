// Timers of the scheduler: per-P heaps that findrunnable runs.
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

struct p;

// A timer that calls fn(arg, seq) once at `when` (nanotime), or again every period ns if period > 0.
// fn runs on a scheduler stack: it must not park, throw, take long or arm its own timer (period is for that); it may goready. Typical: it
// readies one goroutine. The owner keeps the object alive and unmoved while it is armed. A timer belongs to one warren::run: one that
// outlives it is made anew before the next. One thread at a time calls start/stop/reset on a given timer; the firing side may run
// concurrently with them.
struct timer {
  void (*fn)(void* arg, uintptr_t seq) = nullptr;
  void* arg = nullptr;
  uintptr_t seq = 0;  // handed to fn: lets the receiver recognise a firing that was overtaken by a reset
  int64_t when = 0;
  int64_t period = 0;

  // Owned by sched/timer_heap.cpp.
  std::atomic<p*> home{nullptr};  // the P where it was armed last: only that heap can hold it or run its function
  int32_t index = -1;             // its place there, -1: not armed; guarded by that heap's lock
};

// Arms t for t->when. REQUIRES: not armed; on a goroutine or a scheduler stack that has a P.
void timer_start(timer* t);

// Disarms t. Returns true if this call prevented the (next) firing. false: it has fired, is firing on another thread at this moment, or was
// not armed. Callers that free t afterwards use timer_stop_sync.
bool timer_stop(timer* t);

// As timer_stop, but when fn is running on another thread returns only after it has ended; periodic timers too, where both may be: the next
// firing prevented and fn running. So afterwards fn neither runs nor will, until the timer is started again. fn must not need anything that
// the caller holds, and must not call this for its own timer.
bool timer_stop_sync(timer* t);

// stop + start with a new time. Returns what stop returned.
bool timer_reset(timer* t, int64_t when, int64_t period = 0);

}  // namespace warren::rt
