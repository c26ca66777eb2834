// backoff: how long to wait before connecting again (gRPC's doc/connection-backoff.md).
#pragma once
#include <algorithm>
#include <cstdint>

#include "runtime/os/clock.h"

namespace warren::grpc::client {

class backoff {
 public:
  static constexpr double kMultiplier = 1.6;
  static constexpr double kJitter = 0.2;

  backoff(int64_t initial_ns, int64_t max_ns) noexcept : initial_(initial_ns), max_(std::max(initial_ns, max_ns)), next_(initial_) {}

  // From the beginning of one attempt to the beginning of the next. random: in [0, 1).
  int64_t next(double random) noexcept {
    const double d = static_cast<double>(next_) * (1 - kJitter + 2 * kJitter * random);
    next_ = std::min<int64_t>(max_, static_cast<int64_t>(static_cast<double>(next_) * kMultiplier));
    return static_cast<int64_t>(d);
  }
  void reset() noexcept { next_ = initial_; }

 private:
  int64_t initial_;
  int64_t max_;
  int64_t next_;
};

// In [0, 1): enough to keep clients apart that failed together.
inline double scatter(const void* who) noexcept {
  auto x = (static_cast<uint64_t>(rt::nanotime()) ^ reinterpret_cast<uintptr_t>(who)) * 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9u;
  return static_cast<double>(x >> 11) / static_cast<double>(uint64_t{1} << 53);
}

}  // namespace warren::grpc::client
