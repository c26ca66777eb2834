#include "runtime/sched/stack_claim.h"

#include <sched.h>

#include "runtime/os/membarrier.h"

namespace warren::rt {

size_t claim_stacks(g** gs, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) gs[i]->stack_claimed.store(1, std::memory_order_relaxed);
  if (has_membarrier) membarrier();
  size_t held = 0;
  for (size_t i = 0; i < n; ++i) {
    // Acquire: pairs with the release in let_park, so that the saved stack pointer is that of this wait.
    const g_status s = gs[i]->status.load(std::memory_order_acquire);
    if (has_membarrier && (s == g_status::waiting || s == g_status::runnable)) {
      g* const gp = gs[i];
      gs[i] = gs[held];
      gs[held++] = gp;
    } else {
      gs[i]->stack_claimed.store(0, std::memory_order_release);
    }
  }
  return held;
}

void release_stacks(g* const* gs, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) gs[i]->stack_claimed.store(0, std::memory_order_release);
}

void wait_for_stack(const g* gp) noexcept {
  while (gp->stack_claimed.load(std::memory_order_acquire) != 0) sched_yield();
}

}  // namespace warren::rt
