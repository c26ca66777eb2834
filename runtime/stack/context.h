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

// The trampoline at the bottom of every context: not to be called.
void warren_context_start();
}

// warren_context_switch, entered by a jump. Processors predict where a `ret` goes by a stack of their own that calls push and returns pop.
// A call that comes back by an indirect jump leaves its entry there, and then every return of the resumed flow is mispredicted: the one to
// whoever called us, to whoever called that, and so on, some 8 ns each. Entered and left by jumps the switch leaves that stack alone, and
// where both flows parked by the same functions (both in gopark, in chanrecv), their return addresses are the same, and the predictions
// right. A round trip of two goroutines over two channels took 125 ns with a call, 102 with this. The 128 bytes are the red zone, which
// belongs to the function that this is inlined into. All that a call may clobber is named; the rest warren_context_switch keeps.
[[gnu::always_inline]] inline void jump_context(void** save_sp, void* load_sp) noexcept {
#if defined(__x86_64__)
  asm volatile(
      "addq $-128, %%rsp\n\t"
      "leaq 1f(%%rip), %%rcx\n\t"
      "pushq %%rcx\n\t"
      "jmp warren_context_switch\n"
      "1:\n\t"
      "subq $-128, %%rsp"
      : "+D"(save_sp), "+S"(load_sp)
      :
      : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "xmm0", "xmm1",
        "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#if defined(__AVX512F__)
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29",
        "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#endif
        "cc", "memory");
#else
  warren_context_switch(save_sp, load_sp);
#endif
}

// Lays out a new context below stack_top (aligned down to 16 bytes) that will call entry(arg) when it is switched to first, and, if entry
// returns, go to end(arg), which must not return (nullptr: entry must not return, the trampoline traps). end is jumped to, so that a flow
// that ends leaves no entry on the processor's stack of return addresses, see jump_context. Returns the context's stack pointer. Unwinding
// and frame-pointer walks end at the trampoline. Touches about 100 bytes.
void* make_context(void* stack_top, void (*entry)(void*), void* arg, void (*end)(void*) = nullptr) noexcept;

}  // namespace warren::rt
