// Suspended flows of control: making one, switching to one. The machine-dependent floor of the scheduler.
#pragma once
#include <cstddef>

namespace warren::rt {

// A suspended flow of control is an address on its own stack: everything else (callee-saved registers, return address) was pushed there.
struct context {
  void* sp = nullptr;
};

// Room that warren_save_registers needs, in words.
inline constexpr size_t kSavedRegisterWords = 16;  // as in warren::detail::blocking_region

extern "C" {
// Pushes the callee-saved registers on the current stack, stores the stack pointer in *save_sp, and goes on with the flow suspended at
// load_sp: where that one called warren_context_switch, or in its entry function. Returns when somebody switches back, maybe on another
// thread. A conservative scan of [*save_sp, top of the stack) sees every register that the flow still needs. Does not keep the
// floating-point control registers (MXCSR, x87 control word, FPCR): goroutines share their thread's.
void warren_context_switch(void** save_sp, void* load_sp);

// Stores the callee-saved registers (and the stack pointer) to regs[0..kSavedRegisterWords), unused words 0: for a region in which the
// thread leaves the runtime's sight while its frames, and what their callers keep in registers, are still to be scanned.
void warren_save_registers(void* regs);

// Calls fn(arg) on the calling stack, with unwinding information that says: the caller is the flow suspended at saved_sp. For
// suspended_frames; fn must return.
void warren_call_under_suspended(void* saved_sp, void (*fn)(void*), void* arg);

// The trampoline at the bottom of every context: not to be called.
void warren_context_start();
}

// Lays out a new context below stack_top (aligned down to 16 bytes) that will call entry(arg) when it is switched to first. Returns its
// stack pointer. entry must not return (the trampoline traps). Unwinding and frame-pointer walks end at the trampoline. Touches about 100
// bytes.
void* make_context(void* stack_top, void (*entry)(void*), void* arg) noexcept;

// The return addresses of the frames of the flow suspended at ctx, innermost first: at most `most` of them to pcs. high: the top of its
// stack. Returns how many. By the unwinding tables (.eh_frame), as exceptions unwind: frame pointers are not needed. Writes nothing to that
// stack. REQUIRES: the flow stays suspended meanwhile.
size_t suspended_frames(const context& ctx, const void* high, const void** pcs, size_t most) noexcept;

}  // namespace warren::rt
