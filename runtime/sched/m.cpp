// The one thread_local of the runtime.
//
// Compilers take the address of a thread_local for constant within a function and keep it in a register; after a park the goroutine may be
// on another thread, and the register points into the first one's storage. (GCC bug 26461, LLVM 47179; brpc #1776, userver #242: volatile,
// atomics and empty asm do not help against it.) So there is exactly one, and C++ code never names it: getm() reads it by an instruction
// sequence of its own, thread pointer and offset in one volatile asm, of which the compiler sees neither. There is no address that it
// could keep; only the value comes out, and callers read that again after everything that may switch. This holds for inlining and LTO,
// too. (A function the compiler cannot look into does the same for a call, a return and the registers that a call clobbers. The model is
// initial-exec: executables and static libraries. The linker makes a constant of the offset.) tests/lint refuses any other thread_local.
#include "runtime/sched/m.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/os/critical.h"
#include "runtime/os/thread_probe.h"
#include "runtime/sched/preempt.h"

extern "C" {
[[gnu::visibility("hidden")]] thread_local warren::rt::m* warren_current_m = nullptr;
}

namespace warren::rt {

void setm(m* mp) noexcept { warren_current_m = mp; }

void m::begin_thread() {
  signal_stack.setup();
  tid.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
  cpu_clock.store(own_cpu_clock(), std::memory_order_relaxed);
  unblock_preempt_signal();
}

namespace {
constexpr uint32_t kNoM = 2;
}
uint32_t enter_critical() noexcept {
  m* mp = getm();
  if (mp == nullptr) return kNoM;
  return enter_critical(mp);
}

void leave_critical(uint32_t outer) noexcept {
  if (outer != kNoM) leave_critical(getm(), outer);
}

}  // namespace warren::rt
