#include "runtime/sched/park.h"

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/direct_switch.h"
#include "runtime/sched/fork.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "warren/detail/barrier.h"

namespace warren {

namespace rt {

const char* to_string(wait_reason r) noexcept {
  switch (r) {
    case wait_reason::none: return "";
    case wait_reason::chan_receive: return "chan receive";
    case wait_reason::chan_send: return "chan send";
    case wait_reason::select: return "select";
    case wait_reason::select_no_cases: return "select (no cases)";
    case wait_reason::sleep: return "sleep";
    case wait_reason::io_wait: return "IO wait";
    case wait_reason::sync_mutex_lock: return "sync.Mutex.Lock";
    case wait_reason::sync_wait_group: return "sync.WaitGroup.Wait";
    case wait_reason::sync_cond_wait: return "sync.Cond.Wait";
    case wait_reason::sync_semaphore: return "semacquire";
    case wait_reason::thread: return "waiting for a thread";
    case wait_reason::sync_rwmutex_lock: return "sync.RWMutex.Lock";
    case wait_reason::sync_rwmutex_rlock: return "sync.RWMutex.RLock";
    case wait_reason::gc: return "GC worker (idle)";
    case wait_reason::finalizer_wait: return "finalizer wait";
    case wait_reason::other: return "waiting";
  }
  return "corrupt";
}

g* getg() noexcept {
  const m* mp = getm();
  return mp == nullptr ? nullptr : mp->curg;
}

namespace {

// What is done with a goroutine that has been left, on g0's stack or its successor's.

g* let_park(m* mp, g* gp) {
  gp->mp = nullptr;
  gp->parks.store(gp->parks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (p* pp = mp->current_p; pp != nullptr) pp->counters.parks.add();
  bool (*commit)(g*, void*) = gp->park_commit;
  // From here on goready may take gp away, unless commit is still to publish it. So everything of gp was read before.
  gp->status.store(g_status::waiting, std::memory_order_release);
  if (commit != nullptr && !commit(gp, gp->park_commit_arg)) {
    gp->status.store(g_status::runnable, std::memory_order_release);  // after its saved registers: stack_claim.h
    return gp;
  }
  return nullptr;
}

g* let_yield(m* mp, g* gp) {
  gp->mp = nullptr;
  gp->status.store(g_status::runnable, std::memory_order_release);  // after its saved registers: stack_claim.h
  scheduler* s = mp->sched;
  p* pp = mp->current_p;
  if (pp == nullptr) {  // revoked on the way here
    s->put_global(gp, gp, 1);
    s->wake_p(false);
    return nullptr;
  }
  if (mp->mcall_arg != nullptr) {
    pp->counters.preemptions.add();
  } else {
    pp->counters.yields.add();
  }
  if (mp->mcall_arg == nullptr && s->global_size() == 0) {
    // Nothing else to run here, now or soon: go on at once.
    if (mp->curg == nullptr && pp->runq.empty() && pp->timers.empty() && !s->must_schedule()) {
      pp->schedtick.store(pp->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return gp;
    }
    // At the end of the local ring it is behind everything that runs on this P; thieves may take it from there.
    run_queue::spill over;
    if (!pp->runq.put(gp, false, &over)) s->put_global(over.head, over.tail, over.count);
    return nullptr;
  }
  s->put_global(gp, gp, 1);
  // This M goes on with what its own queue holds, perhaps something that never comes back here; an idle P would not hear of gp.
  s->wake_p(true);
  return nullptr;
}

}  // namespace

// The caller of gopark holds the lock of its wait queue until commit: were the hook's go() a safepoint, this goroutine could be put aside
// with that lock held, and whoever wants the lock would keep its P while waiting for a goroutine that needs one.
void run_park_hook(g* gp) noexcept {
  void (*hook)(void*) = gp->park_hook;
  gp->park_hook = nullptr;
  gp->no_safepoint = true;
  hook(gp->park_hook_arg);
  gp->no_safepoint = false;
}

void gopark(bool (*commit)(g*, void*), void* arg, wait_reason reason) {
  m* mp = getm();
  if (mp == nullptr || mp->current_p == nullptr || mp->curg == nullptr) [[unlikely]]
    mp = rt_enter_slow(mp);
  g* gp = mp->curg;
  if (sched_hooks.parking != nullptr) [[unlikely]]
    sched_hooks.parking(gp, reason);
  if (gp->park_hook != nullptr) [[unlikely]]
    run_park_hook(gp);
  gp->park_commit = commit;
  gp->park_commit_arg = arg;
  gp->reason = reason;
  switch_away(&let_park);
}

void goready(g* gp) noexcept {
  m* mp = getm();
  if (mp == nullptr) {
    const scheduler::guest s;
    if (!s) {
      if (scheduler::current() != nullptr) return;  // main has ended: nobody need run any more, and nobody is let in to see to it
      check_not_forked();
      fatal("goready of goroutine %llu after its runtime ended", static_cast<unsigned long long>(gp->goid));
    }
    s->ready(nullptr, gp);
    return;
  }
  const bracket_without_wait bracket(mp);
  mp->sched->ready(bracket.has_p() ? mp : nullptr, gp);
}

void gosched() {
  m* mp = getm();
  if (mp == nullptr || mp->current_p == nullptr || mp->curg == nullptr) [[unlikely]]
    mp = rt_enter_slow(mp);
  g* gp = mp->curg;
  if (sched_hooks.parking != nullptr) [[unlikely]]
    sched_hooks.parking(gp, wait_reason::none);
  if (gp->park_hook != nullptr) [[unlikely]]
    run_park_hook(gp);
  switch_away(&let_yield);
}

// A request was seen. The bits are cleared first and the conditions looked at afterwards: who asks sets the condition first.
void safepoint_slow(m* mp) {
  if (mp->curg == nullptr || mp->current_p == nullptr) return;  // the scheduler itself, or a blocking region: they look elsewhere
  if (mp->curg->no_safepoint) return;                           // the request stays; the park that follows leads to the scheduler
  if (mp->revoked.load(std::memory_order_relaxed) == p_taken) {
    rt_leave(rt_enter());  // has waited its turn, or taken an idle P
    return;
  }
  const uint32_t asked = mp->requests.exchange(0, std::memory_order_seq_cst);
  if ((asked & request_preempt) != 0 && mp->curg->park_hook != nullptr) run_park_hook(mp->curg);
  mcall(&let_yield, mp);
}

#ifdef WARREN_TINY
m* tiny_entry(m* mp) noexcept {
  g* gp = mp->curg;
  if (gp == nullptr) return mp;  // fatal in a moment, or the scheduler's own stack
  switch (tiny_choice(mp->next_random())) {
    case tiny_action::preempt:
      // Not with the world stopped, nor in a park hook, whose caller holds a lock. A goroutine that has a hook may be about to call it.
      if (gp->no_safepoint || gp->park_hook != nullptr) break;
      mcall(&let_yield, mp);
      return getm();
    case tiny_action::lose_processor: tiny_lose_processor(); break;
    case tiny_action::nothing: break;
  }
  return mp;
}
#endif

bool other_p_available() noexcept {
  const scheduler* s = scheduler::current();
  return s != nullptr && (s->idle_p_count() > 0 || s->spinning() > 0);
}

bool spinning_pays() noexcept {
  const m* mp = getm();
  const p* pp = mp->current_p;  // perhaps out of date, but a P
  return pp != nullptr && static_cast<uint32_t>(mp->sched->procs()) > mp->sched->idle_p_count() + mp->sched->spinning() + 1 &&
         pp->runq.empty();
}

bool park_unlock(g*, void* runtime_mutex) noexcept {
  static_cast<mutex*>(runtime_mutex)->unlock();
  return true;
}

void* park_param(g* gp) noexcept { return gp->park_param; }
void set_park_param(g* gp, void* v) noexcept {
  gp->park_param = v;
  warren::detail::barrier_words(&gp->park_param, sizeof(void*));  // gp may have been scanned
}

void set_park_hook(void (*fn)(void*), void* arg) noexcept {
  g* gp = getg();
  gp->park_hook = fn;
  gp->park_hook_arg = arg;
}

bool clear_park_hook() noexcept {
  g* gp = getg();
  const bool was_set = gp->park_hook != nullptr;
  gp->park_hook = nullptr;
  return was_set;
}

void g_list::push(g* gp) noexcept {
  gp->next = head;
  head = gp;
  ++size;
}

g* g_list::pop() noexcept {
  g* gp = head;
  if (gp != nullptr) {
    head = static_cast<g*>(gp->next);
    gp->next = nullptr;
    --size;
  }
  return gp;
}

m* rt_enter_slow(m* mp) noexcept {
  if (mp == nullptr) check_not_forked();
  if (mp == nullptr)
    fatal(
        "a goroutine operation on a thread that warren did not start; inside warren::run use warren::go, from other threads only goready, "
        "root and channel sends");
  if (mp->curg == nullptr && mp->current_p != nullptr)
    fatal("a goroutine operation on the scheduler's stack (a timer or park callback must not park)");
  if (mp->current_p == nullptr)
    fatal("a goroutine operation inside warren::blocking (goroutine %llu): leave the region first",
          static_cast<unsigned long long>(mp->curg == nullptr ? 0 : mp->curg->goid));
  return regain_p(mp);
}

}  // namespace rt

void yield() { rt::gosched(); }

namespace {
void wake_sleeper(void* arg, uintptr_t) { rt::goready(static_cast<rt::g*>(arg)); }

bool start_sleep(rt::g* gp, void*) {
  rt::timer_start(&gp->sleep_timer);
  return true;
}
}  // namespace

void sleep(std::chrono::nanoseconds d) {
  if (d.count() <= 0) return;
  rt::g* gp = rt::getg();
  if (gp == nullptr) rt::rt_enter_slow(rt::getm());
  const int64_t now = rt::nanotime();
  gp->sleep_timer.fn = &wake_sleeper;
  gp->sleep_timer.arg = gp;
  gp->sleep_timer.when = d.count() > INT64_MAX - now ? INT64_MAX : now + d.count();
  // Armed on the scheduler's stack, after the goroutine has stopped: it may fire at once, on another P.
  rt::gopark(&start_sleep, nullptr, rt::wait_reason::sleep);
}

}  // namespace warren
