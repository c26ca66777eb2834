// GOMAXPROCS while the program runs.
//
// The world is stopped, the number changed, and started. New Ps are made before the stop: inside it nothing is allocated. Of a P that goes
// out of use the queued goroutines go to the global queue. Its timers stay in its heap, whose lock they know it by; all Ps run them
// from now on (find_runnable). The mcache and the free stacks are given back by the next collection, which visits unused Ps, too; dead
// goroutines and other free lists wait for the day the P is used again. A goroutine that a signal holds on such a P goes on without one.
// The goroutine that asks moves to the first P if its own goes.
//
// A limit that came from the cgroup's quota or the affinity mask is read again every second by sysmon, as Go 1.25 does, and followed by the
// helper goroutine; one that the environment or a call has set is not.
#include <memory>

#include "runtime/os/fatal.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/maxprocs.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stop.h"

namespace warren::rt {

p* scheduler::make_p() {
  auto pp = std::make_unique<p>(static_cast<int32_t>(all_p_.made()));
  pp->status.store(p_status::dead, std::memory_order_relaxed);
  if (sched_hooks.p_created != nullptr) sched_hooks.p_created(pp.get());
  return all_p_.append(std::move(pp));
}

void scheduler::resize(uint32_t n) {
  make_p_lock_.lock();
  while (all_p_.made() < n) make_p();
  make_p_lock_.unlock();
  stop_the_world("GOMAXPROCS");
  struct change {
    scheduler* s;
    uint32_t n;
  } c{this, n};
  // On the scheduler's stack: the caller's P may be exchanged under it there.
  systemstack([](void* arg) { static_cast<change*>(arg)->s->resize_stopped(getm(), static_cast<change*>(arg)->n); }, &c);
  start_the_world();
}

// REQUIRES: the world is stopped by mp's goroutine.
void scheduler::resize_stopped(m* mp, uint32_t n) noexcept {
  const uint32_t before = all_p_.in_use();
  for (uint32_t i = before; i < n; ++i) all_p_[i]->status.store(p_status::gcstop, std::memory_order_relaxed);
  if (static_cast<uint32_t>(mp->current_p->id) >= n) {
    p* first = all_p_[0].get();
    leave_held(first);
    release_p(mp)->status.store(p_status::gcstop, std::memory_order_relaxed);
    acquire_p(mp, first);
    first->status.store(p_status::gcstop, std::memory_order_relaxed);
  }
  for (uint32_t i = n; i < before; ++i) {
    p* pp = all_p_[i].get();
    leave_held(pp);
    uint32_t moved = 0;
    runnable* head = nullptr;
    runnable* tail = nullptr;
    bool inherit;
    while (runnable* r = pp->runq.get(&inherit)) {
      r->next = nullptr;
      (tail == nullptr ? head : tail->next) = r;
      tail = r;
      ++moved;
    }
    if (moved > 0) put_global(head, tail, moved);
    pp->status.store(p_status::dead, std::memory_order_relaxed);
  }
  all_p_[0]->runq.set_unshared(n == 1);
  all_p_.use(n);
  unused_ps_.store(all_p_.made() - n, std::memory_order_relaxed);
}

// If a signal holds pp's goroutine, it goes on without pp.
void scheduler::leave_held(p* pp) noexcept {
  m* mp = pp->mp.load(std::memory_order_acquire);
  if (mp == nullptr || mp->held.load(std::memory_order_acquire) == 0) return;
  mp->held_with_p = false;
  pp->mp.store(nullptr,
               std::memory_order_relaxed);  // first: sysmon may be waiting for an answer to a claim, and must see that this is none
  mp->revoked.store(p_taken, std::memory_order_release);
}

}  // namespace warren::rt

namespace warren {

int set_maxprocs(int n) {
  using namespace rt;
  m* mp = rt_enter();
  scheduler* s = mp->sched;
  rt_leave(mp);
  const int was = s->procs();
  if (n <= 0) return was;
  if (static_cast<uint32_t>(n) > p_table::kMost) n = p_table::kMost;
  s->do_not_follow_quota();
  if (n != was) s->resize(static_cast<uint32_t>(n));
  return was;
}

}  // namespace warren
