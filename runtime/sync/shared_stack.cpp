// Elements of channels that carry addresses of stacks (hchan.h, sched/stack_scan.h).
#include "runtime/sched/scheduler.h"
#include "runtime/sync/hchan.h"

namespace warren::detail {

void note_sent(const elem_type& type, const void* elem) noexcept { rt::note_shared_words(rt::getg(), elem, type.size); }

void note_received(const elem_type& type, rt::g* by, const void* elem) noexcept {
  if (by == nullptr || rt::note_shared_words(nullptr, elem, type.size) == 0) return;
  by->shares.fetch_or(rt::shares_addresses, std::memory_order_relaxed);
  if (rt::marking_cycle.load(std::memory_order_relaxed) != 0) rt::getm()->sched->stacks_scan().runs(by);
}

}  // namespace warren::detail
