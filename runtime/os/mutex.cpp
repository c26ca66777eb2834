#include "runtime/os/mutex.h"

#include <sched.h>

#include "runtime/os/cpu.h"
#include "runtime/os/futex.h"

namespace warren::rt {

namespace {
// Go's lock2 spins 4 rounds of 30 pauses before it yields and sleeps; the critical sections here are as short as there.
constexpr int kActiveSpins = 4;
constexpr int kPausesPerSpin = 30;
}  // namespace

void mutex::lock_slow() noexcept {
  for (int i = 0; i < kActiveSpins; ++i) {
    for (int j = 0; j < kPausesPerSpin; ++j) cpu_pause();
    if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
  }
  sched_yield();
  while (word_.exchange(2, std::memory_order_acquire) != 0) futex_wait(&word_, 2);
}

void mutex::unlock_slow() noexcept { futex_wake(&word_, 1); }

}  // namespace warren::rt
