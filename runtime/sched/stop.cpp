// Stopping the world.
//
// One goroutine at a time may stop it (the others park in line). It raises stopping_, takes the Ps nobody runs on (idle ones under the
// lock, those of blocking regions by compare-and-swap), and asks the running ones: a request bit that every safepoint looks at. Each M that
// sees it comes to the schedule loop and gives its P up there; the last wakes the stopper. Ordering. stopping_ is stored before the request
// bits, and Ms clear their bits before they load stopping_: an M either sees stopping_ or is asked again. Ms that were about to execute
// when stopping_ was raised are covered by asking repeatedly: the request goes to whoever holds the P at that moment.
// In this version only safepoints stop a goroutine. One that never comes to one (a loop that calls nothing of the runtime) delays the stop
// until it does.
#include "runtime/sched/stop.h"

#include <mutex>

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

void scheduler::ask(p* pp, m_request what) noexcept {
  m* mp = pp->mp.load(std::memory_order_acquire);  // Ms are never freed while the scheduler lives
  if (mp != nullptr) mp->requests.fetch_or(what, std::memory_order_seq_cst);
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
  stop_wait_ = static_cast<uint32_t>(all_p_.size());
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
  const bool wait = stop_wait_ > 0;
  lock_.unlock();
  while (wait && !stop_note_.sleep(100'000)) {
    // Ms that leave because the main goroutine has ended do not come to a stop: there is nothing to wait for any more, and nobody to go on
    // for.
    if (exiting()) mcall(&abandon_on_g0);
    request_stop_of_running();
  }
  // A time slice that ends now must not take this goroutine to the scheduler: it would be stopped by its own stop.
  mp->curg->no_safepoint = true;
  // Everything the others did before they gave their Ps up happened before this line: through lock_, or through the note.
  rt_leave(mp);
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
    if (pp.get() == mine) continue;
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
  scheduler* s = getm()->sched;
  goroutine_pool& pool = s->pool();
  const uint32_t n = pool.g_count();
  for (uint32_t i = 0; i < n; ++i) {
    g* gp = pool.g_at(i);
    switch (gp->status.load(std::memory_order_acquire)) {
      case g_status::dead: continue;
      case g_status::syscall: visit(ctx, gp->blocking_sp, gp); break;
      case g_status::runnable:
      case g_status::running:  // only the goroutine that stopped the world, suspended by systemstack
      case g_status::waiting: visit(ctx, gp->stack_state.ctx.sp, gp); break;
    }
    visit(ctx, &gp->park_param, &gp->park_param + 1);
  }
  pool.newborns().for_each([&](const detail::newborn& nb) {
    visit(ctx, nb.closure, static_cast<const std::byte*>(nb.closure) + nb.type->size / sizeof(void*) * sizeof(void*));
  });
}

void for_each_p(void (*visit)(void* ctx, p* pp), void* ctx) {
  for (const auto& pp : getm()->sched->all_p()) visit(ctx, pp.get());
}

bool is_stack_address(const void* addr) noexcept {
  const scheduler::guest s;
  return s && s->pool().stacks().contains(addr);
}

}  // namespace warren::rt
