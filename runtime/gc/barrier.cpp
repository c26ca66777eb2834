#include "runtime/gc/barrier.h"

namespace warren::detail {

#ifdef NDEBUG
constinit std::atomic<uint32_t> barrier_flags{0};
#else
constinit std::atomic<uint32_t> barrier_flags{barrier_check};
#endif

}  // namespace warren::detail

namespace warren::rt {

constinit store_listener* record_store = nullptr;

void set_barrier_flag(detail::barrier_flag bit, bool on) noexcept {
  if (on) {
    detail::barrier_flags.fetch_or(bit, std::memory_order_seq_cst);
  } else {
    detail::barrier_flags.fetch_and(~uint32_t{bit}, std::memory_order_seq_cst);
  }
}

}  // namespace warren::rt
