#include "runtime/sync/deferred_go.h"

#include <new>
#include <utility>

#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "warren/go.h"

namespace warren::detail {

using namespace rt;

namespace {
struct collected_call {
  ptr<void> object;
  void (*fn)(void*);
  void operator()() { fn(object.get()); }
};
struct plain_call {
  void* object;
  void (*fn)(void*);
  void operator()() { fn(object); }
};

template <class Call>
newborn* defer(Call call, const void* spawn_pc) {
  static_assert(sizeof(Call) <= kInlineClosure);
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
  nb->spawn_pc = spawn_pc;
  nb->type = &closure_of<Call>::type;
  ::new (nb->storage) Call(std::move(call));
  nb->constructed = true;
  nb->shares = 0;
  __atomic_store_n(&nb->stage, newborn_ready, __ATOMIC_RELEASE);
  barrier_words(nb->closure, sizeof(Call));
  return nb;
}
}  // namespace

newborn* defer_goroutine(const ptr<void>& object, void (*fn)(void*)) {
  return defer(collected_call{object, fn}, __builtin_return_address(0));
}

newborn* defer_goroutine(void* object, void (*fn)(void*)) { return defer(plain_call{object, fn}, __builtin_return_address(0)); }

void start_deferred(newborn* nb) noexcept {
  m* mp = getm();
  if (mp == nullptr) {
    const scheduler::guest s;
    if (s) s->start(nullptr, nb);  // else main has ended: nobody need run any more
    return;
  }
  const bracket_without_wait bracket(mp);
  mp->sched->start(bracket.has_p() ? mp : nullptr, nb);
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
