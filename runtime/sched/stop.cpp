// Stopping the world.
//
// One goroutine at a time may stop it (the others park in line). It raises stopping_, takes the Ps nobody runs on (idle ones under the
// lock, those of blocking regions by compare-and-swap), and asks the running ones: a request bit that every safepoint looks at. Each M that
// sees it comes to the schedule loop and gives its P up there; the last wakes the stopper. Ordering. stopping_ is stored before the request
// bits, and Ms clear their bits before they load stopping_: an M either sees stopping_ or is asked again. Ms that were about to execute
// when stopping_ was raised are covered by asking repeatedly: the request goes to whoever holds the P at that moment.
//
// Goroutines that come to no safepoint, and those that run without a P (preempt.cpp), are held by the preemption signal, in its handler,
// where they are. One that had a P keeps it: the P counts as stopped, and belongs to its M again when the world goes on. A goroutine
// without P is not counted by Ps; the stopper looks at all Ms once the Ps have stopped. Nobody becomes one of these without it being seen:
// a P that sysmon takes while the world is being stopped counts until sysmon has brought it here (hand_off_p).
//
// A held goroutine may hold malloc's lock, and a thread that is inside the runtime and has not stopped yet may be waiting for it (the
// scheduler starts a thread, a vector grows). So a stop that does not succeed within kHoldLimit lets all it holds go on for a moment, and
// tries again.
#include "runtime/sched/stop.h"

#include <mutex>

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

void scheduler::ask(p* pp, m_request what) noexcept {
  m* mp = pp->mp.load(std::memory_order_acquire);  // Ms are never freed while the scheduler lives
  if (mp != nullptr) mp->requests.fetch_or(what, std::memory_order_seq_cst);
}

namespace {
constexpr int64_t kCourtesy = 30'000;      // ns a goroutine gets to reach a safepoint before a signal is sent: most need less than one µs
constexpr int64_t kSignalAgain = 200'000;  // the signal may have met a bracket
constexpr int64_t kHoldLimit = 2'000'000;  // ns, doubled at every attempt up to
constexpr int64_t kHoldLimitMost = 50'000'000;
constexpr int64_t kMomentToRun = 100'000;  // ns for those that are let go
}  // namespace

void scheduler::ask_all(m_request what) noexcept {
  for (const auto& pp : all_p_)
    if (pp->status.load(std::memory_order_relaxed) == p_status::running) ask(pp.get(), what);
}

void scheduler::request_stop_of_running() noexcept {
  for (const auto& pp : all_p_)
    if (pp->status.load(std::memory_order_relaxed) == p_status::running) ask(pp.get(), request_stop);
}

namespace {
// The run is over: the goroutine stays where it is, its M leaves (find_runnable sees the exit).
g* abandon_on_g0(m*, g* gp) {
  gp->status.store(g_status::waiting, std::memory_order_relaxed);
  return nullptr;
}
}  // namespace

void scheduler::stop_the_world(const char* why) {
  world_lock_.lock();
  if (world_taken_) {
    // In line. start_the_world hands the world over to the first: world_taken_ stays true.
    struct line {
      scheduler* s;
      static bool join(g* gp, void* arg) {
        scheduler* s = static_cast<line*>(arg)->s;
        gp->next = nullptr;
        if (s->world_last_ == nullptr) {
          s->world_first_ = gp;
        } else {
          s->world_last_->next = gp;
        }
        s->world_last_ = gp;
        s->world_lock_.unlock();
        return true;
      }
    } l{this};
    gopark(&line::join, &l, wait_reason::gc);
  } else {
    world_taken_ = true;
    world_lock_.unlock();
  }

  m* mp = rt_enter();
  totals_.stops.fetch_add(1, std::memory_order_relaxed);
  stop_reason_ = why;
  stop_note_.clear();
  lock_.lock();
  stop_wait_.store(all_p_.in_use(), std::memory_order_seq_cst);
  stopping_.store(1, std::memory_order_seq_cst);
  request_stop_of_running();
  mp->requests.fetch_and(~uint32_t{request_stop}, std::memory_order_relaxed);
  mp->current_p->status.store(p_status::gcstop, std::memory_order_relaxed);
  --stop_wait_;
  for (const auto& pp : all_p_) {
    p_status expected = p_status::syscall;
    if (pp->status.compare_exchange_strong(expected, p_status::gcstop, std::memory_order_seq_cst)) {
      pp->syscalltick.fetch_add(1, std::memory_order_relaxed);
      --stop_wait_;
    }
  }
  while (p* pp = idle_p_get()) {
    pp->status.store(p_status::gcstop, std::memory_order_relaxed);
    --stop_wait_;
  }
  lock_.unlock();
  await_stop();
  // A time slice that ends now must not take this goroutine to the scheduler: it would be stopped by its own stop.
  mp->curg->no_safepoint = true;
  // Everything the others did before they gave their Ps up happened before this line: through lock_, or through the note.
  rt_leave(mp);
}

// REQUIRES: every P has stopped. Does any goroutine still run, without one?
bool scheduler::all_held() const noexcept {
  for (const m* mp = all_m(); mp != nullptr; mp = mp->all_link)
    if (mp->revoked.load(std::memory_order_seq_cst) == p_taken && mp->held.load(std::memory_order_seq_cst) == 0) return false;
  return true;
}

void scheduler::signal_those_who_run() noexcept {
  for (const m* mp = all_m(); mp != nullptr; mp = mp->all_link)
    if (mp->revoked.load(std::memory_order_relaxed) == p_taken && mp->held.load(std::memory_order_relaxed) == 0) send_preempt_signal(mp);
  for (const auto& pp : all_p_) {
    if (pp->status.load(std::memory_order_acquire) != p_status::running) continue;
    if (const m* mp = pp->mp.load(std::memory_order_acquire)) send_preempt_signal(mp);
  }
}

// Lets everybody go on whom the signal holds. still_stopping: their Ps count as running again.
void scheduler::let_go(bool still_stopping) noexcept {
  for (m* mp = all_m(); mp != nullptr; mp = mp->all_link) {
    if (mp->held.load(std::memory_order_acquire) == 0) continue;
    if (mp->held_with_p) {
      mp->held_with_p = false;
      if (still_stopping) stop_wait_.fetch_add(1, std::memory_order_seq_cst);
      mp->current_p->status.store(p_status::running, std::memory_order_seq_cst);
    }
    mp->held.store(0, std::memory_order_seq_cst);
    futex_wake(&mp->held, 1);
  }
}

void scheduler::await_stop() noexcept {
  int64_t limit = kHoldLimit;
  int64_t began = nanotime();
  int64_t patience = kCourtesy;
  for (;;) {
    stop_note_.clear();
    std::atomic_thread_fence(std::memory_order_seq_cst);  // clear before looking: who changes something afterwards sets the note again
    if (stop_wait_.load(std::memory_order_seq_cst) == 0 && all_held()) return;
    if (exiting()) {
      // Ms that leave because the main goroutine has ended do not come to a stop: there is nothing to wait for any more, and nobody to go
      // on for.
      stopping_.store(0, std::memory_order_seq_cst);
      let_go(false);
      mcall(&abandon_on_g0);
    }
    if (stop_note_.sleep(patience)) continue;
    const int64_t now = nanotime();
    if (now - began > limit) {
      // Long enough for a thread that merely waited for its processor; a lock may be in the way.
      let_go(true);
      totals_.stop_retries.fetch_add(1, std::memory_order_relaxed);
      stop_note_.clear();
      stop_note_.sleep(kMomentToRun);
      limit = limit * 2 < kHoldLimitMost ? limit * 2 : kHoldLimitMost;
      began = nanotime();
      patience = kCourtesy;
      continue;
    }
    request_stop_of_running();
    signal_those_who_run();
    patience = kSignalAgain;
  }
}

void scheduler::gc_stop_m(m* mp) noexcept {
  if (mp->spinning) {
    mp->spinning = false;
    spinning_.fetch_sub(1, std::memory_order_seq_cst);
  }
  p* pp = release_p(mp);
  lock_.lock();
  if (stopping_.load(std::memory_order_relaxed) == 0) {
    // It was over before we came: nobody counts on this P any more.
    lock_.unlock();
    acquire_p(mp, pp);
    return;
  }
  pp->status.store(p_status::gcstop, std::memory_order_relaxed);
  if (--stop_wait_ == 0) stop_note_.wakeup();
  lock_.unlock();
  stop_m(mp);
}

void scheduler::start_the_world() {
  m* mp = rt_enter();
  p* mine = mp->current_p;
  lock_.lock();
  p* with_work = nullptr;
  for (const auto& pp : all_p_) {
    if (pp.get() == mine || pp->status.load(std::memory_order_relaxed) == p_status::dead ||
        pp->mp.load(std::memory_order_relaxed) != nullptr)
      continue;  // held with its M: let_go gives it back
    if (pp->runq.empty() && pp->timers.empty()) {
      pp->status.store(p_status::idle, std::memory_order_relaxed);
      idle_p_put(pp.get());
    } else {
      pp->status.store(p_status::idle, std::memory_order_relaxed);
      pp->link = with_work;
      with_work = pp.get();
    }
  }
  mine->status.store(p_status::running, std::memory_order_relaxed);
  stopping_.store(0, std::memory_order_seq_cst);
  if (sysmon_asleep_.exchange(false, std::memory_order_relaxed)) sysmon_note_.wakeup();
  lock_.unlock();
  let_go(false);
  while (with_work != nullptr) {
    p* pp = with_work;
    with_work = pp->link;
    pp->link = nullptr;
    start_m(pp, false);
  }
  // The goroutines that were stopped wait in the global queue.
  wake_p(true);
  stop_reason_ = nullptr;
  mp->curg->no_safepoint = false;
  rt_leave(mp);

  world_lock_.lock();
  g* first = world_first_;
  if (first == nullptr) {
    world_taken_ = false;
  } else {
    world_first_ = static_cast<g*>(first->next);
    if (world_first_ == nullptr) world_last_ = nullptr;
    first->next = nullptr;
  }
  world_lock_.unlock();
  if (first != nullptr) goready(first);
  safepoint();
}

namespace {
scheduler* scheduler_of_caller() {
  m* mp = rt_enter();  // fatal on a thread that cannot
  scheduler* s = mp->sched;
  rt_leave(mp);
  return s;
}
}  // namespace

void stop_the_world(const char* why) { scheduler_of_caller()->stop_the_world(why); }
void start_the_world() { scheduler_of_caller()->start_the_world(); }

namespace {
struct system_call {
  void (*fn)(void*);
  void* arg;
};

g* systemstack_on_g0(m* mp, g* gp) {
  const auto* call = static_cast<const system_call*>(mp->mcall_arg);
  call->fn(call->arg);
  return gp;
}
}  // namespace

void systemstack(void (*fn)(void*), void* arg) {
  m* mp = getm();
  if (mp != nullptr && mp->curg == nullptr) {  // there already
    fn(arg);
    return;
  }
  rt_leave(rt_enter());
  system_call call{fn, arg};
  mcall(&systemstack_on_g0, &call);
}

void for_each_stack(void (*visit)(void* ctx, const void* lo, const void* hi), void* ctx) {
  struct call {
    void (*visit)(void*, const void*, const void*);
    void* ctx;
  } c{visit, ctx};
  getm()->sched->stacks_scan().all(
      [](void* arg, const void* lo, const void* hi, bool) { static_cast<call*>(arg)->visit(static_cast<call*>(arg)->ctx, lo, hi); }, &c);
}

void for_each_p(void (*visit)(void* ctx, p* pp), void* ctx) {
  for (const auto& pp : getm()->sched->all_p()) visit(ctx, pp.get());
}

bool is_goroutine_memory(const void* addr) noexcept {
  {
    const scheduler::guest s;
    if (s && (s->pool().stacks().contains(addr) || s->pool().newborns().contains(addr))) return true;
  }
  const g* const gp = getg();
  if (gp == nullptr) return false;
  for (const detail::newborn* nb = gp->making; nb != nullptr; nb = static_cast<const detail::newborn*>(nb->next))
    if (reinterpret_cast<uintptr_t>(addr) - reinterpret_cast<uintptr_t>(nb->closure) < nb->type->size) return true;
  return false;
}

}  // namespace warren::rt
