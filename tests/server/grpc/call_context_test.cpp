// How long a call may take, why it was ended, and the context that tells its handler.
#include "server/grpc/call_context.h"

#include <gtest/gtest.h>

#include <cstdint>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/sync.h>

namespace {

using namespace warren::grpc;

constexpr int64_t kHour = 3'600'000'000'000;
const auto nothing = [] {};

TEST(call_context, deadlines) {
  call_context c;
  EXPECT_EQ(c.deadline_ns(), 0);
  EXPECT_EQ(c.deadline(), std::nullopt);
  EXPECT_FALSE(c.passed(INT64_MAX));

  c.begin(1000, 500);
  EXPECT_EQ(c.deadline_ns(), 1500);
  EXPECT_FALSE(c.passed(1499));
  EXPECT_TRUE(c.passed(1500));
  EXPECT_EQ(c.deadline(), call_context::clock::time_point(std::chrono::nanoseconds(1500)));
  EXPECT_EQ(c.cause(), status_code::deadline_exceeded);  // though nobody has ended it
  EXPECT_FALSE(c.ended());

  c.begin(1000, INT64_MAX);  // later than time goes
  EXPECT_EQ(c.deadline_ns(), INT64_MAX);
  EXPECT_EQ(c.deadline(), std::nullopt);
  EXPECT_EQ(c.cause(), status_code::ok);

  c.reset();
  EXPECT_EQ(c.deadline_ns(), 0);
}

TEST(call_context, it_is_ended_once) {
  call_context c;
  int woken = 0;
  const auto wake = [&] { woken++; };
  EXPECT_TRUE(c.end(status_code::cancelled, wake));
  EXPECT_FALSE(c.end(status_code::unavailable, wake));
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(c.cause(), status_code::cancelled);
  EXPECT_TRUE(c.ended());
  c.reset();
  EXPECT_EQ(c.cause(), status_code::ok);
  EXPECT_TRUE(c.end(status_code::unavailable, wake));
}

TEST(call_context, a_context_ends_with_the_call_whenever_it_was_made) {
  warren::run([] {
    call_context c;
    const warren::context early = c.context();
    EXPECT_EQ(early, c.context());
    EXPECT_FALSE(early.err());
    c.end(status_code::cancelled, nothing);
    EXPECT_EQ(early.err(), warren::context_errc::canceled);
    c.reset();

    c.end(status_code::cancelled, nothing);
    EXPECT_EQ(c.context().err(), warren::context_errc::canceled);
    c.reset();

    const warren::context unheard_of = c.context();
    EXPECT_FALSE(unheard_of.err());
    c.cancel();  // the handler has returned
    EXPECT_EQ(unheard_of.err(), warren::context_errc::canceled);
    EXPECT_EQ(c.cause(), status_code::ok);
  });
}

// The context has the deadline itself; the owner's news of it must not make a cancellation of it.
TEST(call_context, a_deadline_is_left_to_the_contexts_own) {
  warren::run([] {
    call_context c;
    c.begin(warren::rt::nanotime(), kHour);
    const warren::context ctx = c.context();
    EXPECT_EQ(ctx.deadline(), c.deadline());
    c.end(status_code::deadline_exceeded, nothing);
    EXPECT_FALSE(ctx.err());
    c.cancel();
    c.reset();

    c.begin(warren::rt::nanotime(), 1);
    const warren::context late = c.context();
    late.done().recv();
    EXPECT_EQ(late.err(), warren::context_errc::deadline_exceeded);
  });
}

// One publishes and looks at the cause, the other says the cause and looks for the context.
TEST(call_context, made_and_ended_at_once) {
  warren::run([] {
    for (int i = 0; i < 500; i++) {
      call_context c;
      warren::context one, other;
      warren::wait_group all;
      all.go([&] { one = c.context(); });
      all.go([&] { other = c.context(); });
      all.go([&] { c.end(status_code::cancelled, nothing); });
      all.wait();
      EXPECT_EQ(one, other);
      EXPECT_EQ(one.err(), warren::context_errc::canceled);
    }
  });
}

}  // namespace
