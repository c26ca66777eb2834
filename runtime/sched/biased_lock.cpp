// The slow sides: ending a bias, and beginning one.
#include "runtime/sched/biased_lock.h"

#include <sched.h>

#include "runtime/os/cpu.h"

namespace warren::rt {

namespace {
constexpr uint16_t kPatienceGrowth = 4;
constexpr uint16_t kMostPatience = 1 << 15;
// Who holds it by bias does so for some 20 ns. Who spins longer than this in vain waits for a thread that the kernel has descheduled.
constexpr int kActiveSpins = 240;
}  // namespace

void bias::end() noexcept {
  owner_.store(nullptr, std::memory_order_seq_cst);                   // a
  membarrier();                                                       // b
  for (int i = 0; fast_.load(std::memory_order_acquire) != 0; ++i) {  // c
    if (i < kActiveSpins) {
      cpu_pause();
    } else {
      sched_yield();
    }
  }
  last_ = nullptr;
  streak_ = 0;
  patience_ = patience_ < kMostPatience / kPatienceGrowth ? static_cast<uint16_t>(patience_ * kPatienceGrowth) : kMostPatience;
}

void bias::consider() noexcept {
  with_p([this](const p* me) {
    if (me == nullptr || last_ != me) {
      last_ = me;
      streak_ = 0;
    } else if (++streak_ >= patience_) {
      owner_.store(me, std::memory_order_relaxed);  // seen by this P's owner alone as long as it matters; for the others the lock orders it
    }
    return true;
  });
}

}  // namespace warren::rt
