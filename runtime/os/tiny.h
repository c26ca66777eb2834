// The tiny build (-DWARREN_TINY=ON): capacities so small that every overflow, spill, refill and theft happens all the time, and a runtime
// that gives way at random at every entry. For tests; nothing of it is in any other build.
//
// What an entry does, one time in eight each, in place of the usual:
//   - Where the goroutine may lose its P (safepoints, and rt_enter: spawn, make, malloc, blocking, …), it goes to the end of the global
//     queue, as if its slice were over or its P had been taken; or its thread gives the processor up, with the P.
//   - Where it may not wait for a P (goready, timer_start, biased locks: bracket_without_wait and bias::with_p), it does as if it had none.
//   - Who submits work lets thieves be first: it gives the processor up while the work is still there (tiny_let_thieves_come).
// And an M looks at others' queues before its own one time in four, takes what it finds in runnext at the first pass, and without grace.
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
// What happens at an entry of the runtime, with chance 1/8 each: `preempt` takes the goroutine's P, `lose_processor` the thread's
// processor.
inline tiny_action tiny_choice(uint32_t random) noexcept {
  const uint32_t eighth = random >> 29;
  return eighth == 0 ? tiny_action::preempt : eighth == 1 ? tiny_action::lose_processor : tiny_action::nothing;
}
void tiny_lose_processor() noexcept;
// For what happens to one in four.
inline bool tiny_quarter(uint32_t random) noexcept { return random >> 30 == 0; }
inline constexpr int kTinyThiefTurns = 4;
#endif

}  // namespace warren::rt
