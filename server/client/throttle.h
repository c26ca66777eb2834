// throttle: whether a channel may retry, by how its calls have gone lately (gRPC A6, "Throttling Retry Attempts and Hedged RPCs").
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

namespace warren::grpc::client {

// A bucket of tokens: a failure that a policy would retry takes one, a success gives a part of one back. Retries are allowed while more
// than half of the tokens are there. In thousandths, as the specification counts. Any thread.
class throttle {
 public:
  void set(double max_tokens, double ratio) noexcept {
    max_ = static_cast<int64_t>(max_tokens * 1000);
    ratio_ = static_cast<int64_t>(ratio * 1000);
    tokens_.store(max_, std::memory_order_relaxed);
  }
  // Counts a failure; may it be retried?
  bool failed() noexcept {
    if (max_ == 0) return true;
    return move(-1000) > max_ / 2;
  }
  void succeeded() noexcept {
    if (max_ != 0) move(ratio_);
  }
  // May another hedged attempt be sent?
  bool allows() const noexcept { return max_ == 0 || tokens_.load(std::memory_order_relaxed) > max_ / 2; }

 private:
  int64_t move(int64_t by) noexcept {
    int64_t had = tokens_.load(std::memory_order_relaxed);
    int64_t has;
    do {
      has = std::clamp<int64_t>(had + by, 0, max_);
    } while (!tokens_.compare_exchange_weak(had, has, std::memory_order_relaxed));
    return has;
  }

  int64_t max_ = 0;  // constant once calls are made
  int64_t ratio_ = 0;
  std::atomic<int64_t> tokens_{0};
};

}  // namespace warren::grpc::client
