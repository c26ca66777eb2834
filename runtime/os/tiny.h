// The tiny build (-DWARREN_TINY=ON): capacities so small that every overflow, spill, refill and theft happens all the time, and a runtime
// that gives way at random at its entries. For tests; nothing of it is in any other build.
//
// WARREN_SEED=n (1 unless set) decides the sequence of decisions of each M; what the kernel makes of them is its own. fatal() names the
// seed.
#pragma once
#include <cstdint>

#ifdef WARREN_TINY
#define WARREN_CAPACITY(usual, tiny) (tiny)
#else
#define WARREN_CAPACITY(usual, tiny) (usual)
#endif

namespace warren::rt {

#ifdef WARREN_TINY
// The seed of an M's random numbers; of the process when id is 0.
uint32_t tiny_seed(int id) noexcept;

enum class tiny_action : uint8_t { nothing, preempt, lose_processor };
// What happens at an entry of the runtime: with chance 1/8 each the goroutine goes to the global queue, or the thread gives up its
// processor.
inline tiny_action tiny_choice(uint32_t random) noexcept {
  const uint32_t eighth = random >> 29;
  return eighth == 0 ? tiny_action::preempt : eighth == 1 ? tiny_action::lose_processor : tiny_action::nothing;
}
void tiny_lose_processor() noexcept;
#endif

}  // namespace warren::rt
