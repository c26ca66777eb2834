// The one thread_local of the runtime.
//
// Compilers take the address of a thread_local for constant within a function and keep it in a register; after a park the goroutine may be
// on another thread, and the register points into the first one's storage. (GCC bug 26461, LLVM 47179; brpc #1776, userver #242: volatile,
// atomics and empty asm do not help against it, only a call the compiler cannot look into does.) So there is exactly one, private to this
// file, read through a function that is not inlined, in a translation unit that is never built with LTO, and callers read it again after
// everything that may switch. tests/lint refuses any other thread_local.
#include "runtime/sched/m.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/os/critical.h"
#include "runtime/os/thread_probe.h"
#include "runtime/sched/preempt.h"

namespace warren::rt {

namespace {
thread_local m* tls_m = nullptr;
}

m* getm() noexcept {
  m* mp = tls_m;
  asm volatile("" : "+r"(mp));  // the value is opaque to callers: no interprocedural analysis concludes that two calls return the same
  return mp;
}

void setm(m* mp) noexcept { tls_m = mp; }

void m::begin_thread() {
  signal_stack.setup();
  tid = static_cast<pid_t>(syscall(SYS_gettid));
  cpu_clock = own_cpu_clock();
  unblock_preempt_signal();
}

// A bracket without a P (os/critical.h). It does not look at `revoked`: a P that is being taken is not needed here.
namespace {
constexpr uint32_t kNoM = 2;
}
uint32_t enter_critical() noexcept {
  m* mp = getm();
  if (mp == nullptr) return kNoM;
  const uint32_t outer = mp->in_rt.load(std::memory_order_relaxed);
  mp->in_rt.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return outer;
}

void leave_critical(uint32_t outer) noexcept {
  if (outer != kNoM) getm()->in_rt.store(outer, std::memory_order_release);
}

}  // namespace warren::rt
