#include "runtime/sync/deferred_go.h"

#include <new>

#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "warren/go.h"

namespace warren::detail {

using namespace rt;

namespace {
struct deferred_call {
  ptr<void> object;
  void (*fn)(void*);
  void operator()() { fn(object.get()); }
};
static_assert(sizeof(deferred_call) <= kInlineClosure);
}  // namespace

newborn* defer_goroutine(const ptr<void>& object, void (*fn)(void*)) {
  m* mp = rt_enter();
  newborn* nb;
  try {
    nb = mp->sched->pool().newborns().get(mp->current_p);
  } catch (...) {
    rt_leave(mp);
    throw;
  }
  nb->goid = mp->sched->pool().next_goid(mp->current_p);
  nb->spawn_goid = mp->curg == nullptr ? 0 : mp->curg->goid;
  rt_leave(mp);
  nb->stack_class = static_cast<uint8_t>(stack_size::normal);
  nb->closure = nb->storage;
  nb->spawn_pc = __builtin_return_address(0);
  nb->type = &closure_of<deferred_call>::type;
  ::new (nb->storage) deferred_call{object, fn};
  nb->constructed = true;
  nb->shares = 0;
  __atomic_store_n(&nb->stage, newborn_ready, __ATOMIC_RELEASE);
  barrier_words(nb->closure, sizeof(deferred_call));
  return nb;
}

void start_deferred(newborn* nb) noexcept {
  m* mp = getm();
  const uint32_t outer = mp->in_rt.load(std::memory_order_relaxed);  // a scheduler's stack is inside the bracket already
  if (outer == 0) mp = rt_enter();
  mp->current_p->counters.spawned.add();
  mp->sched->put_local(mp, nb);
  mp->sched->wake_for_runnext(mp);
  if (outer == 0) rt_leave(mp);
}

void drop_deferred(newborn* nb) noexcept {
  {
    const critical_section undisturbed;
    take_newborn(nb);
  }
  nb->type->destroy(nb->closure);
  m* mp = rt_enter();
  mp->sched->pool().newborns().put(mp->current_p, nb);
  rt_leave(mp);
}

}  // namespace warren::detail
