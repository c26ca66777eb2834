// Why a lock and an index in every timer, where Go keeps stopped timers in the heap until they come up: here most timers are deadlines that
// are stopped long before they are due (one per RPC), so lazily removed ones would outnumber the live. With the index a stop is O(log4 n)
// moves of 16-byte entries.
//
// Firing. run() takes a due timer out of the heap under the lock, notes it in running_, drops the lock and calls the function: it may take
// other locks (a poll descriptor's) under which others stop timers. timer_stop_sync waits until running_ has moved on. Only one thread runs
// the timers of a heap at a time, so one word is enough to know what runs.
#include "runtime/sched/timer_heap.h"

#include <sched.h>

#include <mutex>

#include "runtime/os/clock.h"
#include "runtime/os/cpu.h"
#include "runtime/os/critical.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

[[gnu::always_inline]] inline void timer_heap::place(uint32_t i, entry e) noexcept {
  heap_[i] = e;
  e.t->index = static_cast<int32_t>(i);
}

inline void timer_heap::sift_up(uint32_t i) noexcept {
  const entry e = heap_[i];
  while (i > 0) {
    const uint32_t parent = (i - 1) / 4;
    if (heap_[parent].when <= e.when) break;
    place(i, heap_[parent]);
    i = parent;
  }
  place(i, e);
}

void timer_heap::sift_down(uint32_t i) noexcept {
  const entry e = heap_[i];
  const auto n = static_cast<uint32_t>(heap_.size());
  for (;;) {
    const uint32_t first = i * 4 + 1;
    if (first >= n) break;
    uint32_t least = first;
    for (uint32_t c = first + 1; c < first + 4 && c < n; ++c)
      if (heap_[c].when < heap_[least].when) least = c;
    if (heap_[least].when >= e.when) break;
    place(i, heap_[least]);
    i = least;
  }
  place(i, e);
}

void timer_heap::remove_at(uint32_t i) noexcept {
  heap_[i].t->index = -1;
  const entry last = heap_.back();
  heap_.pop_back();
  if (i == heap_.size()) return;
  const int64_t old = heap_[i].when;
  place(i, last);
  if (last.when < old) {
    sift_up(i);
  } else {
    sift_down(i);
  }
}

inline void timer_heap::publish_earliest() noexcept { earliest_.store(heap_.empty() ? 0 : heap_[0].when, std::memory_order_release); }

bool timer_heap::add(timer* t) {
  std::lock_guard guard(lock_);
  if (t->when <= 0) t->when = 1;  // 0 means "none" in earliest_
  heap_.push_back({t->when, t});
  sift_up(static_cast<uint32_t>(heap_.size() - 1));
  if (t->index != 0) return false;
  publish_earliest();
  return true;
}

bool timer_heap::remove(timer* t) noexcept {
  if (t->index < 0) return false;
  const bool first = t->index == 0;
  remove_at(static_cast<uint32_t>(t->index));
  if (first) publish_earliest();
  return true;
}

uint32_t timer_heap::run(int64_t now, int64_t* next) noexcept {
  *next = earliest();
  if (*next == 0 || *next > now) return 0;
  uint32_t ran = 0;
  lock_.lock();
  if (running() != nullptr) {
    lock_.unlock();
    *next = now;
    return 0;
  }
  while (!heap_.empty() && heap_[0].when <= now) {
    timer* t = heap_[0].t;
    // Copied before the lock is dropped: a one-shot timer may be armed anew, or freed by its function's effects, while the function still
    // runs.
    void (*const fn)(void*, uintptr_t) = t->fn;
    void* const arg = t->arg;
    const uintptr_t seq = t->seq;
    if (t->period > 0) {
      // Missed firings are dropped, as in Go: the next one is the next multiple that lies ahead.
      t->when += t->period * (1 + (now - t->when) / t->period);
      heap_[0].when = t->when;
      sift_down(0);
    } else {
      remove_at(0);
    }
    running_.store(t, std::memory_order_relaxed);
    lock_.unlock();
    fn(arg, seq);
    ++ran;
    lock_.lock();
    running_.store(nullptr, std::memory_order_release);
  }
  publish_earliest();
  *next = earliest_.load(std::memory_order_relaxed);
  lock_.unlock();
  return ran;
}

namespace {
struct stop_result {
  bool prevented;  // it was in the heap
  bool running;    // its function is, at this moment. Both, if it is periodic: it goes back into the heap before its function is called
};

// `home` changes only in timer_start, and one thread at a time starts and stops a timer: the heap that is asked here is the only one that
// can hold it or run it. Critical: a scheduler that waits for this lock cannot stop for a collection, so its holder must not be held by
// one.
stop_result try_stop(timer* t, p* home) noexcept {
  const critical_section not_stopped_here;
  std::lock_guard guard(home->timers.lock());
  const bool prevented = home->timers.remove(t);
  return {prevented, home->timers.running() == t};
}

// The function is short and parks nowhere; but its thread may have lost the processor, maybe to this one.
void wait_a_moment(uint32_t* looks) noexcept {
  constexpr uint32_t kLooksBeforeYield = 1000;  // some 10 µs
  if (++*looks % kLooksBeforeYield == 0) {
    sched_yield();
  } else {
    cpu_pause();
  }
}
}  // namespace

void timer_start(timer* t) {
  m* mp = getm();
  if (mp == nullptr || (mp->current_p == nullptr && mp->curg != nullptr)) mp = rt_enter_slow(mp);
  const bracket_without_wait bracket(mp);
  // A heap has a lock of its own: a goroutine that lost its P uses another's.
  p* pp = bracket.has_p() ? mp->current_p : mp->sched->first_p();
  // Armed here while its function still runs from another heap, it would be in two places for timer_stop_sync: wait for the function's end.
  if (p* old = t->home.load(std::memory_order_relaxed); old != nullptr && old != pp) {
    for (uint32_t looks = 0; old->timers.running() == t;) wait_a_moment(&looks);
  }
  t->home.store(pp, std::memory_order_relaxed);
  const int64_t when = t->when;
  if (pp->timers.add(t)) mp->sched->wake_netpoller(when, bracket.has_p());
}

bool timer_stop(timer* t) {
  p* home = t->home.load(std::memory_order_relaxed);
  return home != nullptr && try_stop(t, home).prevented;
}

bool timer_stop_sync(timer* t) {
  p* home = t->home.load(std::memory_order_relaxed);
  if (home == nullptr) return false;
  bool prevented = false;
  for (uint32_t looks = 0;;) {
    const stop_result r = try_stop(t, home);
    prevented |= r.prevented;
    if (!r.running) return prevented;  // out of the heap and not running: only timer_start could change that
    wait_a_moment(&looks);
  }
}

bool timer_reset(timer* t, int64_t when, int64_t period) {
  const bool stopped = timer_stop(t);
  t->when = when;
  t->period = period;
  timer_start(t);
  return stopped;
}

}  // namespace warren::rt
