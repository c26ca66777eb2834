#include "runtime/os/tiny.h"

#include <sched.h>

#include <atomic>

#include "runtime/os/environment.h"

namespace warren::rt {

#ifdef WARREN_TINY
uint32_t tiny_seed(int id) noexcept {
  static const auto seed = static_cast<uint32_t>(environment_number("WARREN_SEED", 1, INT32_MAX, 1));
  if (id == 0) return seed;
  return (seed * 2654435761u ^ static_cast<uint32_t>(id) * 40503u) | 1u;
}

// One call in sixteen: on a loaded machine each costs what the others' time slices are long, and a test makes millions of calls.
void tiny_lose_processor() noexcept {
  static std::atomic<uint32_t> calls{0};
  if (calls.fetch_add(1, std::memory_order_relaxed) % 16 == 0) sched_yield();
}
#endif

}  // namespace warren::rt
