// The in_rt bracket: what makes it possible to take a P away from running C++ code.
//
// A goroutine in a tight loop, or blocked in a system call nobody declared, keeps its P. To take it back, the revoker must know that the
// owner is not in the middle of the runtime's own code, touching P-local state (run queue, timers, mcache, free lists). It is Dekker's
// problem, with a fast and a slow side:
//
//   owner (every runtime entry)              revoker (sysmon, rarely)
//   1  m->in_rt = 1                          a  m->revoked = 1
//   2  compiler barrier                      b  membarrier(PRIVATE_EXPEDITED)
//   3  if (m->revoked) slow path             c  if (m->in_rt == 0) the P is mine, else m->revoked = 0: leave it
//
// Without (b) the owner's store 1 could be delayed behind its load 3 and both would go on. membarrier puts a full fence into every running
// thread of the process at some point between (a) and (c): if the owner's load 3 came before that point and saw 0, its store 1 also came
// before and (c) sees 1. The owner pays one store, one load and no fence (about 1 ns). Between (a) and (c) the owner may find the claim and
// the revoker may find it free: both then move m->revoked on by compare-and-swap, and one of them succeeds (states: preempt.cpp).
// When it is a signal's handler that revokes, on the owner's own thread, the handler plays the part of the fence.
//
// Rules: between rt_enter and rt_leave no user code runs, nothing parks and nothing throws. Brackets do not nest. The scheduler's own stack
// (g0) is always inside; it looks at m->revoked once after every switch to it. m->current_p means something inside brackets only.
#pragma once
#include "runtime/os/tiny.h"
#include "runtime/sched/m.h"
#include "runtime/sched/p.h"

namespace warren::rt {

// Cold paths of rt_enter: a thread without an M or P asks for something that needs one (fatal, with the reason), or the P was revoked
// (the goroutine gets one, perhaps on another thread: it may have been queued).
m* rt_enter_slow(m* mp) noexcept;

// On a goroutine inside a bracket that has found m->revoked set: true if the P is gone.
bool owner_settles(m* mp) noexcept;
// The same, and gets a P if it is gone. Returns the M, as rt_enter does.
m* regain_p(m* mp);

#ifdef WARREN_TINY
// At an entry that may lead to the queue: perhaps it does. Returns the M the goroutine is on afterwards.
m* tiny_entry(m* mp) noexcept;
#endif

// Begins a bracket on a goroutine. Returns the M, whose current_p is the caller's until rt_leave.
inline m* rt_enter() noexcept {
  m* mp = getm();
  if (mp == nullptr || mp->current_p == nullptr) [[unlikely]]
    return rt_enter_slow(mp);
#ifdef WARREN_TINY
  mp = tiny_entry(mp);
#endif
  mp->in_rt.store(1, std::memory_order_relaxed);
  asm volatile("" ::: "memory");
  if (mp->revoked.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return rt_enter_slow(mp);
  return mp;
}

// Ends it. mp must be the M the goroutine is on now: read again if the bracket contained a switch.
inline void rt_leave(m* mp) noexcept {
  mp->in_rt.store(0, std::memory_order_release);  // release: what was done to the P comes before (c) sees 0
}

// For entries that need no P of their own, and are called with a channel's lock held: they must not wait for one. Enters (also on g0, where
// the bracket is open already) and says whether there is a P to use.
class bracket_without_wait {
 public:
  explicit bracket_without_wait(m* mp) noexcept : mp_(mp), outer_(mp->in_rt.load(std::memory_order_relaxed)) {
    mp->in_rt.store(1, std::memory_order_relaxed);
    asm volatile("" ::: "memory");
    has_p_ = mp->current_p != nullptr && (mp->revoked.load(std::memory_order_relaxed) == p_kept || !owner_settles(mp));
#ifdef WARREN_TINY
    if (outer_ == 0 && tiny_choice(mp->next_random()) == tiny_action::preempt) has_p_ = false;
#endif
  }
  ~bracket_without_wait() { mp_->in_rt.store(outer_, std::memory_order_release); }
  bracket_without_wait(const bracket_without_wait&) = delete;
  bracket_without_wait& operator=(const bracket_without_wait&) = delete;
  bool has_p() const noexcept { return has_p_; }

 private:
  m* mp_;
  uint32_t outer_;
  bool has_p_;
};

// A point where the goroutine may be stopped, preempted or moved. On a goroutine, outside a bracket, no runtime lock held.
void safepoint_slow(m* mp);
#ifdef WARREN_TINY
inline void tiny_disturb(m* mp) noexcept {
  switch (tiny_choice(mp->next_random())) {
    case tiny_action::preempt: mp->requests.fetch_or(request_preempt, std::memory_order_relaxed); break;
    case tiny_action::lose_processor: tiny_lose_processor(); break;
    case tiny_action::nothing: break;
  }
}
#endif
inline void safepoint() {
  m* mp = getm();
#ifdef WARREN_TINY
  if (mp != nullptr) tiny_disturb(mp);
#endif
  if (mp != nullptr && mp->requests.load(std::memory_order_relaxed) != 0) [[unlikely]]
    safepoint_slow(mp);
}

}  // namespace warren::rt
