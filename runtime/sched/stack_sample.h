// Where a running goroutine was at one instant.
#pragma once
#include <cstdint>

namespace warren::rt {

struct g;

struct stack_sample {
  static constexpr uint32_t kFrames = 24;
  uint64_t goid = 0;
  const void* spawn_pc = nullptr;
  uint32_t count = 0;
  const void* frames[kFrames] = {};  // the innermost first
};

// Fills s from the registers of an interrupted goroutine (uc: what the signal handler got). Follows frame pointers, inside gp's stack only:
// code without them ends the walk early. Async-signal-safe.
void take_sample(stack_sample& s, const g* gp, const void* uc) noexcept;

// The stack pointer in a signal's ucontext_t.
const void* interrupted_sp(const void* uc) noexcept;

}  // namespace warren::rt
