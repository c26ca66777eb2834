// The first frame of a context, laid out for warren_context_switch to find (the orders are documented in the .S files).
#include "runtime/stack/context.h"

#include <unwind.h>

#include <cstdint>
#include <cstring>

namespace warren::rt {

void* make_context(void* stack_top, void (*entry)(void*), void* arg, void (*end)(void*)) noexcept {
  const uintptr_t top = reinterpret_cast<uintptr_t>(stack_top) & ~uintptr_t{15};
  const auto word = [](auto p) { return reinterpret_cast<uintptr_t>(p); };
#if defined(__x86_64__)
  // Two zero words above the return address: what a frame-pointer walk that ignores rbp = 0 would read next. After the switch has
  // popped all seven words the stack pointer is a multiple of 16, as the ABI wants it before a call.
  const uintptr_t frame[] = {0, 0, word(end), word(arg), word(entry), 0, word(&warren_context_start), 0, 0};
#elif defined(__aarch64__)
  const uintptr_t frame[22] = {0, word(&warren_context_start), word(entry), word(arg), word(end)};
#else
#error "no context switch for this processor: add runtime/stack/context_<processor>.S"
#endif
  void* sp = reinterpret_cast<void*>(top - sizeof frame);
  memcpy(sp, frame, sizeof frame);
  return sp;
}

namespace {
struct walk {
  uintptr_t low, high;  // of the flow's stack
  const void** pcs;
  size_t most;
  size_t n;
};

_Unwind_Reason_Code take_frame(_Unwind_Context* frame, void* arg) {
  auto* w = static_cast<walk*>(arg);
  // The walk begins on the caller's own stack.
  const uintptr_t sp = _Unwind_GetCFA(frame);
  if (sp <= w->low || sp > w->high) return w->n == 0 ? _URC_NO_REASON : _URC_END_OF_STACK;
  const uintptr_t pc = _Unwind_GetIP(frame);
  if (pc == 0 || w->n == w->most) return _URC_END_OF_STACK;
  w->pcs[w->n++] = reinterpret_cast<const void*>(pc);
  return _URC_NO_REASON;
}
}  // namespace

size_t suspended_frames(const context& ctx, const void* high, const void** pcs, size_t most, [[maybe_unused]] bool jumped) noexcept {
  walk w{reinterpret_cast<uintptr_t>(ctx.sp), reinterpret_cast<uintptr_t>(high), pcs, most, 0};
  const auto from_here = [](void* arg) { _Unwind_Backtrace(&take_frame, arg); };
#if defined(__x86_64__)
  if (jumped) {
    warren_call_under_jumped(ctx.sp, from_here, &w);
    return w.n;
  }
#endif
  warren_call_under_suspended(ctx.sp, from_here, &w);
  return w.n;
}

}  // namespace warren::rt
