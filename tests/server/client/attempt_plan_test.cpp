// Whether and when a call is sent again (gRPC A6), moment by moment.
#include "server/client/attempt_plan.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include "server/client/limits.h"

namespace {

using namespace warren::grpc::client;
using warren::grpc::status_code;
using kind = attempt_plan::kind;

constexpr uint32_t bit(status_code c) { return 1u << static_cast<uint32_t>(c); }
constexpr int64_t kNow = 1'000'000'000'000;
constexpr int64_t kMs = kMsNs;
constexpr double kMiddle = 0.5;  // of the jitter: the delay is what the policy says

const retry_policy kRetry{.max_attempts = 4,
                          .initial_backoff_ns = 10 * kMs,
                          .max_backoff_ns = 25 * kMs,
                          .multiplier = 2,
                          .retryable = bit(status_code::unavailable)};
const hedging_policy kHedge{.max_attempts = 3, .delay_ns = 20 * kMs, .non_fatal = bit(status_code::unavailable)};

class plan_of_a_call : public ::testing::Test {
 protected:
  kind begin() { return plan.begun(plan.take()); }
  attempt_plan::outcome fail(status_code code = status_code::unavailable, std::optional<int64_t> pushback = {}, bool sendable = true) {
    return plan.failed(code, pushback, sendable, kNow, kMiddle);
  }
  throttle bucket;
  attempt_plan plan{bucket};
};

TEST_F(plan_of_a_call, the_first_is_due_at_once_and_nothing_follows_without_a_policy) {
  EXPECT_TRUE(plan.planned());
  EXPECT_LE(plan.due(), kNow);
  EXPECT_EQ(begin(), kind::first);
  EXPECT_FALSE(plan.planned());
  EXPECT_EQ(plan.previous(), 0);
  EXPECT_FALSE(fail().tolerated);
  EXPECT_FALSE(plan.planned());
}

TEST_F(plan_of_a_call, transparent_ones_do_not_count) {
  plan.set_policy(kRetry, {});
  begin();
  for (int i = 0; i < 10; i++) {
    plan.again();
    EXPECT_LE(plan.due(), kNow);
    EXPECT_EQ(begin(), kind::transparent);
    EXPECT_EQ(plan.previous(), 0);
  }
  EXPECT_TRUE(plan.refused());
  EXPECT_FALSE(plan.refused());
  EXPECT_TRUE(fail().tolerated);
  EXPECT_EQ(begin(), kind::retry);
  EXPECT_EQ(plan.previous(), 1);
}

TEST_F(plan_of_a_call, retries_back_off_up_to_the_last) {
  plan.set_policy(kRetry, {});
  begin();
  for (const int64_t ms : {10, 20, 25}) {
    EXPECT_TRUE(fail().tolerated);
    EXPECT_EQ(plan.due(), kNow + ms * kMs);
    EXPECT_EQ(begin(), kind::retry);
  }
  EXPECT_FALSE(fail().tolerated);
  EXPECT_FALSE(plan.planned());
}

TEST_F(plan_of_a_call, jitter_is_a_fifth_either_way) {
  plan.set_policy(kRetry, {});
  begin();
  plan.failed(status_code::unavailable, {}, true, kNow, 0);
  EXPECT_EQ(plan.due(), kNow + 8 * kMs);
  attempt_plan other(bucket);
  other.set_policy(kRetry, {});
  other.begun(other.take());
  other.failed(status_code::unavailable, {}, true, kNow, 1);
  EXPECT_EQ(other.due(), kNow + 12 * kMs);
}

TEST_F(plan_of_a_call, the_server_may_move_a_retry_or_forbid_it) {
  plan.set_policy(kRetry, {});
  begin();
  fail();
  begin();
  EXPECT_TRUE(fail(status_code::unavailable, 123).tolerated);
  EXPECT_EQ(plan.due(), kNow + 123 * kMs);
  begin();
  attempt_plan other(bucket);
  other.set_policy(kRetry, {});
  other.begun(other.take());
  EXPECT_FALSE(other.failed(status_code::unavailable, -1, true, kNow, kMiddle).tolerated);

  // Pushback begins the backoff anew.
  attempt_plan third(bucket);
  third.set_policy(kRetry, {});
  third.begun(third.take());
  third.failed(status_code::unavailable, {}, true, kNow, kMiddle);
  third.begun(third.take());
  third.failed(status_code::unavailable, 0, true, kNow, kMiddle);
  EXPECT_EQ(third.due(), kNow);
  third.begun(third.take());
  third.failed(status_code::unavailable, {}, true, kNow, kMiddle);
  EXPECT_EQ(third.due(), kNow + 10 * kMs);
}

TEST_F(plan_of_a_call, what_is_not_retried) {
  plan.set_policy(kRetry, {});
  begin();
  EXPECT_FALSE(fail(status_code::not_found).tolerated);
  EXPECT_FALSE(fail(static_cast<status_code>(99)).tolerated);
  EXPECT_FALSE(fail(status_code::unavailable, {}, false).tolerated);
  EXPECT_FALSE(plan.planned());
}

TEST_F(plan_of_a_call, too_many_failures_stop_retries_and_only_those_are_counted) {
  bucket.set(2, 0.1);
  plan.set_policy(kRetry, {});
  begin();
  const auto once = fail();
  EXPECT_FALSE(once.tolerated);
  EXPECT_TRUE(once.throttled);
  EXPECT_FALSE(fail(status_code::not_found).throttled);
  EXPECT_FALSE(fail(status_code::unavailable, -1).throttled);
}

TEST_F(plan_of_a_call, hedges_follow_by_the_delay_or_a_failure) {
  plan.set_policy({}, kHedge);
  EXPECT_TRUE(plan.hedges());
  EXPECT_EQ(begin(), kind::first);
  plan.hedge(kNow);
  EXPECT_EQ(plan.due(), kNow + 20 * kMs);
  EXPECT_TRUE(fail().tolerated);
  EXPECT_LE(plan.due(), kNow);  // no reason to wait
  EXPECT_EQ(begin(), kind::hedge);
  plan.hedge(kNow);
  EXPECT_TRUE(fail(status_code::unavailable, 7).tolerated);
  EXPECT_EQ(plan.due(), kNow + 7 * kMs);
  EXPECT_EQ(begin(), kind::hedge);
  plan.hedge(kNow);
  EXPECT_FALSE(plan.planned());
  EXPECT_TRUE(fail().tolerated);  // those under way go on
  EXPECT_FALSE(plan.planned());
}

TEST_F(plan_of_a_call, a_hedge_that_is_planned_is_dropped) {
  for (const int reason : {0, 1, 2, 3}) {
    attempt_plan p(bucket);
    p.set_policy({}, kHedge);
    p.begun(p.take());
    p.hedge(kNow);
    ASSERT_TRUE(p.planned());
    switch (reason) {
      case 0: p.drop(); break;  // another has answered
      case 1: p.failed(status_code::unavailable, -1, true, kNow, kMiddle); break;
      case 2: p.failed(status_code::unavailable, {}, false, kNow, kMiddle); break;
      case 3:
        bucket.set(2, 0.1);
        EXPECT_TRUE(p.failed(status_code::unavailable, {}, true, kNow, kMiddle).throttled);
        break;
    }
    EXPECT_FALSE(p.planned()) << reason;
  }
  EXPECT_FALSE(bucket.allows());
  attempt_plan p(bucket);
  p.set_policy({}, kHedge);
  p.begun(p.take());
  p.hedge(kNow);
  EXPECT_FALSE(p.planned());
}

TEST_F(plan_of_a_call, a_fatal_failure_ends_hedging) {
  plan.set_policy({}, kHedge);
  begin();
  EXPECT_FALSE(fail(status_code::not_found).tolerated);
}

}  // namespace
