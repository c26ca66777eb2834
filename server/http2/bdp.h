// bdp: how large the receive windows of a connection should be, by what its path holds: the bandwidth-delay product.
//
// A sender with a window of W moves at most W per round trip: 1 MiB over 100 ms is 10 MB/s, whatever the path could carry. How much it
// could only the receiver can find out for the sender, and TCP does not tell it. So, as grpc-go and gRPC core do, a PING is sent while data
// flows: what comes in until its acknowledgement came in during one round trip. If that is as much as half the window, the window may be
// what limits (updates go out by halves of it, so less than a whole one is on its way at times), and it is doubled, or made twice what came
// if that is more: many streams share a connection.
//
// What keeps it from growing for nothing:
//   - The rate. A window larger than the path needs fills the queues before the bottleneck: more comes within a round trip, which lasts the
//     longer for it. So a window grows again only if what came per second has risen since it grew last, by kRise: where the window is the
//     limit, doubling it doubles the rate.
//   - Consumption. A sample begins when handlers have taken a quarter of a window since the last one. Without handlers that take, no PING
//     is sent and nothing grows; nor on an idle connection, nor at the limit. A connection of small calls sends one PING in a quarter of a
//     megabyte.
//
// PINGs that nobody may hold against us. gRPC servers count a client's PINGs that come too soon, and begin anew when they send DATA. A
// sample begins only after DATA came, and after the acknowledgement of the PING before: so that the peer has sent DATA since it saw that
// one.
//
// What an attacker can do with it. Acknowledge late: much comes in one "round trip", but it must really come, and be taken; the window
// doubles once, then the rate forbids. Acknowledge what was not sent, or twice: another payload, ignored. Not at all: the sample stays
// open, no other PING goes out, nothing grows. Early, by guessing the payload: the rate seems high, and the window does not grow again.
// What a grown window may cost is the business of windows.h.
//
// Windows never shrink, as in grpc-go: an unused window costs nothing.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace warren::http2 {

// Not thread-safe: of a session.
class bdp {
 public:
  using payload = std::array<uint8_t, 8>;

  // window: bytes, what is in use, above 0. most: it does not grow above that; no larger than window: no PING is ever asked for.
  bdp(uint32_t window, uint32_t most) noexcept : window_(window), most_(most) {}

  // Bytes of DATA came.
  void received(size_t n) noexcept { sample_ += n; }

  // Handlers took n bytes, at now (nanoseconds of a steady clock). true: send a PING with ping() now.
  bool taken(size_t n, int64_t now) noexcept {
    if (window_ >= most_) return false;
    taken_ += n;
    if (open_ || taken_ < window_ / kSampleDivisor) return false;
    open_ = true;
    taken_ = sample_ = 0;
    begun_ = now;
    number_++;
    return true;
  }
  payload ping() const noexcept {
    payload p{'w', 'b', 'd', 'p'};
    std::memcpy(p.data() + 4, &number_, sizeof number_);
    return p;
  }

  // The acknowledgement of some PING came. true: window() has grown.
  bool acknowledged(const uint8_t (&text)[8], int64_t now) noexcept {
    if (!open_ || std::memcmp(text, ping().data(), sizeof text) != 0) return false;
    open_ = false;
    if (sample_ < window_ / 2) return false;
    const double rate = static_cast<double>(sample_) / static_cast<double>(std::max<int64_t>(now - begun_, 1));
    if (rate < rate_ * kRise) return false;
    rate_ = rate;
    window_ = static_cast<uint32_t>(std::min<uint64_t>(most_, 2 * std::max<uint64_t>(sample_, window_)));
    return true;
  }

  uint32_t window() const noexcept { return window_; }

 private:
  // A sample for each quarter of a window: often enough to double once per two round trips, and rare with small messages.
  static constexpr uint32_t kSampleDivisor = 4;
  // Between the factor 2 that a window which was the limit brings, and the noise of a path that is full. (grpc-go asks for the highest rate
  // so far, without a margin: where queues are long, noise alone then leads to the limit.)
  static constexpr double kRise = 1.25;

  uint32_t window_;
  const uint32_t most_;
  uint32_t number_ = 0;  // of PINGs
  bool open_ = false;    // a PING is on its way
  uint64_t taken_ = 0;   // since the sample began
  uint64_t sample_ = 0;  // received since then
  int64_t begun_ = 0;
  double rate_ = 0;  // bytes per nanosecond when the window grew last
};

}  // namespace warren::http2
