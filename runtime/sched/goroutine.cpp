// Birth and death of goroutines.
#include <mutex>
#include <new>

#include "runtime/os/fatal.h"
#include "runtime/sched/direct_switch.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "warren/detail/barrier.h"

namespace warren {

using namespace rt;

namespace detail {

namespace {
newborn* newborn_of(m* mp, p* pp) {
  newborn* nb = mp->sched->pool().newborns().get(pp);
  nb->goid = mp->sched->pool().next_goid(pp);
  nb->spawn_goid = mp->curg == nullptr ? 0 : mp->curg->goid;
  pp->counters.spawned.add();
  return nb;
}

// A park hook runs with the lock of some queue held, so it must not wait for a P. A goroutine that has lost its own uses the scheduler's
// spare one, of which only the free lists and counters are ever used.
newborn* newborn_now() {
  m* mp = getm();
  if (mp != nullptr && mp->curg != nullptr && mp->curg->no_safepoint) [[unlikely]] {
    const bracket_without_wait bracket(mp);
    if (bracket.has_p()) return newborn_of(mp, mp->current_p);
    const std::lock_guard guard(mp->sched->spare_lock());
    return newborn_of(mp, mp->sched->spare_p());
  }
  mp = rt_enter();
  try {
    newborn* nb = newborn_of(mp, mp->current_p);
    rt_leave(mp);
    return nb;
  } catch (...) {
    rt_leave(mp);
    throw;
  }
}
}  // namespace

void* new_goroutine(const closure_type& type, stack_size stack, newborn** out) {
  // A closure that does not fit gets memory of its own before the bracket: the allocator is user-visible code.
  const bool fits = type.size <= kInlineClosure && type.align <= kInlineClosureAlign;
  void* place = fits ? nullptr : ::operator new (type.size, std::align_val_t{type.align});
  newborn* nb;
  try {
    nb = newborn_now();
  } catch (...) {
    if (!fits) ::operator delete (place, std::align_val_t{type.align});
    throw;
  }
  nb->stack_class = static_cast<uint8_t>(stack);
  nb->closure = fits ? nb->storage : place;
  nb->spawn_pc = __builtin_return_address(0);
  nb->constructed = false;
  nb->shares = 0;
  nb->type = &type;
  __atomic_store_n(&nb->stage, newborn_making, __ATOMIC_RELAXED);
  g* gp = getg();
  nb->next = gp->making;
  asm volatile("" ::: "memory");
  gp->making = nb;  // from here on the collector scans the closure
  *out = nb;
  return nb->closure;
}

namespace {
void free_newborn(newborn* nb) noexcept {
  void* separate = nb->closure == nb->storage || nb->borrowed ? nullptr : nb->closure;
  nb->borrowed = false;
  const size_t align = nb->type->align;
  m* mp = rt_enter();
  mp->sched->pool().newborns().put(mp->current_p, nb);
  rt_leave(mp);
  if (separate != nullptr) ::operator delete (separate, std::align_val_t{align});
}
}  // namespace

void start_goroutine(newborn* nb) noexcept {
  nb->constructed = true;
  g* gp = getg();
  nb->shares = note_shared_words(gp, nb->closure, nb->type->size);
  __atomic_store_n(&nb->stage, newborn_ready, __ATOMIC_RELEASE);
  barrier_words(nb->closure, nb->type->size / sizeof(void*) * sizeof(void*));
  gp->making = static_cast<newborn*>(nb->next);
  m* mp = getm();
  if (mp != nullptr && mp->curg != nullptr && mp->curg->no_safepoint) [[unlikely]] {
    const bracket_without_wait bracket(mp);
    if (bracket.has_p()) {
      mp->sched->put_local(mp, nb);
      mp->sched->wake_for_runnext(mp);
    } else {
      mp->sched->put_global(nb, nb, 1);
      mp->sched->wake_p(false);
    }
    return;
  }
  mp = rt_enter();
  mp->sched->put_local(mp, nb);
  mp->sched->wake_for_runnext(mp);
  rt_leave(mp);
  safepoint();
}

void cancel_goroutine(newborn* nb) noexcept {
  m* mp = rt_enter();
  mp->current_p->counters.ended.add();
  rt_leave(mp);
  getg()->making = static_cast<newborn*>(nb->next);
  free_newborn(nb);
}

void closure_moved_out() noexcept {
  g* gp = getg();
  newborn* nb = gp->birth;
  gp->birth = nullptr;
  if (nb != nullptr) free_newborn(nb);
}

}  // namespace detail

uint64_t goroutine_id() noexcept {
  const g* gp = getg();
  return gp == nullptr ? 0 : gp->goid;
}

namespace rt {

namespace {
g* goexit_on_g0(m* mp, g* gp) {
  gp->status.store(g_status::dead, std::memory_order_relaxed);
  gp->mp = nullptr;
  mp->sched->scavenger().end(gp);
  p* pp = mp->current_p;
  pp->counters.ended.add();
  if (gp->locked_m != nullptr) [[unlikely]] {
    gp->locked_m = nullptr;
    gp->locked_count = 0;
    mp->locked_g.store(nullptr, std::memory_order_relaxed);
    if (gp->goid != 1 && !mp->sched->is_m0(mp)) {
      mp->sched->pool().g_put(pp, gp);
      mp->retiring = true;
      mp->sched->hand_off_p(mp->sched->release_p(mp));
      return nullptr;
    }
  }
  if (gp->goid == 1) {
    if (sched_hooks.runtime_may_stop == nullptr || sched_hooks.runtime_may_stop()) mp->sched->begin_exit(mp);
    return nullptr;  // find_runnable sees the exit
  }
  mp->sched->pool().g_put(pp, gp);
  return nullptr;
}

g* end_runtime_on_g0(m* mp, g* gp) {
  gp->status.store(g_status::waiting, std::memory_order_release);
  mp->sched->begin_exit(mp);
  return nullptr;
}

}  // namespace

void end_runtime() {
  mcall(&end_runtime_on_g0);
  __builtin_unreachable();
}

// No catch and no noexcept: an exception that nobody handles finds the end of the stack (the trampoline's CFI says so), the search phase of
// unwinding fails before any frame was left, and std::terminate runs with the whole stack in place, for the trace that lifecycle.cpp
// prints.
WARREN_NEVER_RETURNS_TSAN void goroutine_entry(void* arg) {
  g* gp = static_cast<g*>(arg);
  resumed();
  if (gp->goid == 1) {
    go([s = getm()->sched] { s->helper_loop(); });
    if (sched_hooks.runtime_started != nullptr) sched_hooks.runtime_started();
    gp->birth->type->run(gp->birth->closure);
    if (gp->locals != nullptr) sched_hooks.end_locals();
    if (sched_hooks.runtime_stopping != nullptr) sched_hooks.runtime_stopping();
  } else {
    gp->birth->type->run(gp->birth->closure);
    if (gp->locals != nullptr) sched_hooks.end_locals();
  }
}

WARREN_NEVER_RETURNS_TSAN void goexit(void*) {
  m* mp = rt_enter();  // with a P: the counters and the pool are its own
  mp->mcall_fn = &goexit_on_g0;
  switch_fiber(mp->thread, mp->curg->stack_state, mp->g0, true);
  __builtin_unreachable();
}

const char* to_string(g_status s) noexcept {
  switch (s) {
    case g_status::dead: return "dead";
    case g_status::runnable: return "runnable";
    case g_status::running: return "running";
    case g_status::syscall: return "syscall";
    case g_status::waiting: return "waiting";
  }
  return "corrupt";
}

}  // namespace rt
}  // namespace warren
