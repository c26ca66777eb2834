// The first frame of a context, laid out for warren_context_switch to find (the orders are documented in the .S files).
#include "runtime/stack/context.h"

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

}  // namespace warren::rt
