#include "runtime/sync/chan_lock.h"

#include <sched.h>

#include "runtime/os/cpu.h"
#include "runtime/sync/test_point.h"

namespace warren::detail {

namespace {
// An operation holds the lock for some 20 ns. Who spins longer than this in vain waits for a thread that the kernel has descheduled.
constexpr int kActiveSpins = 8;
constexpr int kPausesPerSpin = 30;
}  // namespace

void chan_lock::lock_slow() noexcept {
  for (int i = 0; i < kActiveSpins; ++i) {
    for (int j = 0; j < kPausesPerSpin; ++j) rt::cpu_pause();
    if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
  }
  sched_yield();
  if (try_lock()) return;

  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  WARREN_SYNC_POINT();
  if (rt::has_membarrier) rt::membarrier();
  for (;;) {
    uint32_t free = 0;
    if (word_.compare_exchange_strong(free, 1, std::memory_order_seq_cst)) break;
    WARREN_SYNC_POINT();
    rt::futex_wait(&word_, 1);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace warren::detail
