// admission: how many handlers run at once, counted against the method's own limit or the server's.
#pragma once
#include <atomic>
#include <string_view>
#include <utility>

#include "server/grpc/core.h"
#include "server/grpc/method_table.h"

namespace warren::grpc {

// One call's place among those that run.
class admission {
 public:
  // false: too many run already. The call is answered UNAVAILABLE, with refusal().
  bool enter(core& of, const method& m) noexcept {
    own_ = m.limit != 0;
    const uint32_t limit = own_ ? m.limit : of.options.max_concurrent_calls;
    if (limit == 0) return true;
    std::atomic<uint32_t>& count = own_ ? m.running : of.running;
    if (count.fetch_add(1, std::memory_order_relaxed) >= limit) {
      count.fetch_sub(1, std::memory_order_relaxed);
      of.over_limit.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    counted_ = &count;
    return true;
  }
  std::string_view refusal() const noexcept {
    return own_ ? "the method already runs as often as it may; try again later"
                : "the server already runs as many calls as it may; try again later";
  }
  // When the handler has returned, not when the call is answered: what is bounded is what runs.
  void leave() noexcept {
    if (counted_ != nullptr) std::exchange(counted_, nullptr)->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t>* counted_ = nullptr;
  bool own_ = false;
};

}  // namespace warren::grpc
