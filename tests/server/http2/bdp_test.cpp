// The estimate of a path alone: against a clock of its own, and against a simulated path.
#include "server/http2/bdp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

namespace {

using warren::http2::bdp;

constexpr uint32_t kFirst = 1 << 20;
constexpr uint32_t kMost = 16 << 20;
constexpr int64_t kMs = 1'000'000;

// Its PING comes back.
bool pong(bdp& b, int64_t now) {
  const bdp::payload p = b.ping();
  uint8_t text[8];
  std::copy(p.begin(), p.end(), text);
  return b.acknowledged(text, now);
}
// One sample: it begins at `at`; so many bytes come within rtt.
bool sample(bdp& b, size_t bytes, int64_t at, int64_t rtt) {
  EXPECT_TRUE(b.taken(b.window(), at));
  b.received(bytes);
  return pong(b, at + rtt);
}

TEST(bdp, grows_when_a_round_trip_brings_half_a_window) {
  bdp b(kFirst, kMost);
  EXPECT_FALSE(sample(b, kFirst / 2 - 1, 0, 100 * kMs));
  EXPECT_EQ(b.window(), kFirst);
  EXPECT_TRUE(sample(b, kFirst / 2, 0, 100 * kMs));
  EXPECT_EQ(b.window(), 2 * kFirst);
  EXPECT_TRUE(sample(b, 3 * kFirst, 0, 100 * kMs));  // many streams
  EXPECT_EQ(b.window(), 6 * kFirst);
}

TEST(bdp, asks_for_no_ping_before_a_quarter_of_a_window_was_taken_nor_during_a_sample) {
  bdp b(kFirst, kMost);
  b.received(10 * kFirst);  // nobody takes it
  EXPECT_FALSE(b.taken(kFirst / 4 - 1, 0));
  EXPECT_TRUE(b.taken(1, 0));
  EXPECT_FALSE(b.taken(10 * kFirst, 0));
  pong(b, kMs);
  EXPECT_TRUE(b.taken(0, kMs));  // what was taken meanwhile counts
}

TEST(bdp, only_what_came_since_the_ping_counts) {
  bdp b(kFirst, kMost);
  b.received(10 * kFirst);
  EXPECT_TRUE(b.taken(kFirst, 0));
  EXPECT_FALSE(pong(b, kMs));
  EXPECT_EQ(b.window(), kFirst);
}

TEST(bdp, stops_where_the_rate_no_longer_rises) {
  bdp b(kFirst, kMost);
  EXPECT_TRUE(sample(b, kFirst, 0, 100 * kMs));
  EXPECT_FALSE(sample(b, 2 * kFirst, 0, 200 * kMs));  // twice as much, and twice as long: a queue
  EXPECT_FALSE(sample(b, 2 * kFirst, 0, 170 * kMs));
  EXPECT_TRUE(sample(b, 2 * kFirst, 0, 150 * kMs));
}

TEST(bdp, stops_at_the_limit_and_pings_no_more) {
  bdp b(kFirst, 3 * kFirst);
  EXPECT_TRUE(sample(b, kFirst, 0, 100 * kMs));
  EXPECT_TRUE(sample(b, 2 * kFirst, 0, 100 * kMs));
  EXPECT_EQ(b.window(), 3 * kFirst);
  EXPECT_FALSE(b.taken(100 * kFirst, 0));
  bdp fixed(kFirst, kFirst);
  EXPECT_FALSE(fixed.taken(100 * kFirst, 0));
}

TEST(bdp, acknowledgements_of_other_pings_mean_nothing) {
  bdp b(kFirst, kMost);
  EXPECT_FALSE(pong(b, 0));  // none was sent
  ASSERT_TRUE(b.taken(kFirst, 0));
  b.received(kFirst);
  EXPECT_FALSE(b.acknowledged({'w', 'a', 'r', 'r', 'e', 'n', 'k', 'a'}, kMs));
  EXPECT_TRUE(pong(b, kMs));
  const bdp::payload first = b.ping();
  EXPECT_FALSE(pong(b, kMs));  // a second time
  ASSERT_TRUE(b.taken(2 * kFirst, 2 * kMs));
  EXPECT_NE(b.ping(), first);
  b.received(4 * kFirst);
  uint8_t old[8];
  std::copy(first.begin(), first.end(), old);
  EXPECT_FALSE(b.acknowledged(old, 3 * kMs));
  EXPECT_EQ(b.window(), 2 * kFirst);
}

TEST(bdp, late_acknowledgements_double_it_once) {
  bdp b(kFirst, kMost);
  // A window per 100 ms comes and is taken, but the acknowledgement takes a minute each time.
  for (int64_t i = 0; i < 100; i++) sample(b, 600 * size_t{kFirst} / 1000, i * 60'000 * kMs, 60'000 * kMs);
  EXPECT_EQ(b.window(), 2 * kFirst);
}

TEST(bdp, without_an_acknowledgement_nothing_grows_and_no_other_ping_goes_out) {
  bdp b(kFirst, kMost);
  ASSERT_TRUE(b.taken(kFirst, 0));
  for (int i = 0; i < 100; i++) {
    b.received(kFirst);
    EXPECT_FALSE(b.taken(kFirst, i));
  }
  EXPECT_EQ(b.window(), kFirst);
}

TEST(bdp, an_acknowledgement_that_comes_at_once_is_no_rate_of_infinity) {
  bdp b(kFirst, kMost);
  EXPECT_TRUE(sample(b, kFirst, 5, 0));
  EXPECT_TRUE(sample(b, 2 * kFirst, 5, -1));
}

// A sender that sends whenever its window lets it, a path of some rate and delay, and a receiver that takes what comes in pieces and opens
// the window by halves. What it has grown to after `bytes`.
struct path {
  double bytes_per_ms;
  int64_t rtt_ms;
  size_t piece = 64 << 10;

  uint32_t settle(size_t bytes) const {
    bdp b(kFirst, kMost);
    struct event {
      int64_t at;
      size_t n;
    };
    std::deque<event> forth, back;  // DATA to the receiver; window updates to the sender
    std::deque<int64_t> pings;      // when their acknowledgements are back
    int64_t window = kFirst;        // the sender's
    uint32_t given = kFirst;
    size_t held = 0;     // taken and not given back yet
    double free_at = 0;  // the path's
    size_t received = 0;
    for (int64_t now = 0; received < bytes; now += kMs / 4) {
      while (!back.empty() && back.front().at <= now) {
        window += static_cast<int64_t>(back.front().n);
        back.pop_front();
      }
      while (window > 0) {
        const size_t n = std::min<size_t>(piece, static_cast<size_t>(window));
        window -= static_cast<int64_t>(n);
        free_at = std::max(free_at, static_cast<double>(now)) + static_cast<double>(n) / bytes_per_ms * kMs;
        forth.push_back({static_cast<int64_t>(free_at) + rtt_ms * kMs / 2, n});
      }
      // What acknowledges a PING waits behind nothing: the sender's direction back is empty, the PING's answer queues with the DATA.
      while (!pings.empty() && pings.front() <= now) {
        pings.pop_front();
        if (pong(b, now) && b.window() > given) {
          back.push_back({now + rtt_ms * kMs / 2, b.window() - given});
          given = b.window();
        }
      }
      while (!forth.empty() && forth.front().at <= now) {
        const size_t n = forth.front().n;
        forth.pop_front();
        received += n;
        held += n;
        b.received(n);
        if (b.taken(n, now)) {
          const double seen = static_cast<double>(now + rtt_ms * kMs / 2);
          pings.push_back(static_cast<int64_t>(std::max(seen, free_at)) + rtt_ms * kMs / 2);
        }
        if (held >= given / 2) back.push_back({now + rtt_ms * kMs / 2, std::exchange(held, 0)});
      }
    }
    return b.window();
  }
};

TEST(bdp, finds_what_a_path_holds) {
  // A window that fills the path is one and a half times its product at least (updates go out by halves), and above it grows no more than
  // one step of two and a first one.
  for (const int64_t rtt : {5, 20, 50, 100, 200}) {
    for (const double megabytes : {1.0, 10.0, 50.0, 125.0}) {
      const double product = megabytes * 1e6 * static_cast<double>(rtt) / 1e3;
      const uint32_t got = path{megabytes * 1e3, rtt}.settle(400 << 20);
      const std::string where = std::to_string(megabytes) + " MB/s, " + std::to_string(rtt) + " ms: " + std::to_string(got);
      EXPECT_GE(got, std::min<double>(kMost, 1.5 * product)) << where;
      EXPECT_LE(got, std::max<double>(2 * kFirst, 6 * product)) << where;
    }
  }
}

}  // namespace
