#include "runtime/sched/stack_claim.h"

#include <sched.h>

#include "runtime/os/membarrier.h"

namespace warren::rt {

size_t claim_stacks(g** gs, size_t n, const void** sps) noexcept {
  if (!has_membarrier) return 0;
  size_t mine = 0;
  for (size_t i = 0; i < n; ++i) {
    uint32_t nobody = 0;
    if (!gs[i]->stack_claimed.compare_exchange_strong(nobody, 1, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    g* const gp = gs[i];
    gs[i] = gs[mine];
    gs[mine++] = gp;
  }
  if (mine == 0) return 0;
  membarrier();
  size_t held = 0;
  for (size_t i = 0; i < mine; ++i) {
    // Acquire: pairs with the release in let_park, so that the saved stack pointer is that of this wait.
    const g_status s = gs[i]->status.load(std::memory_order_acquire);
    g* const gp = gs[i];
    if (s == g_status::waiting || s == g_status::runnable || (s == g_status::syscall && sps != nullptr)) {
      gs[i] = gs[held];
      if (sps != nullptr) sps[held] = s == g_status::syscall ? gp->blocking_sp : gp->stack_state.ctx.sp;
      gs[held++] = gp;
    } else {
      gp->stack_claimed.store(0, std::memory_order_release);
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
