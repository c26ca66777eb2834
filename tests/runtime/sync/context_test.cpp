// context: who is cancelled by whom, deadlines, causes, values, after_func, and what the collector makes of it.
#include "warren/context.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/select.h"
#include "warren/sync.h"
#include "warren/timer.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::until;

constexpr auto kCanceled = context_errc::canceled;
constexpr auto kLate = context_errc::deadline_exceeded;

bool is_closed(const chan<unit>& c) { return c.drained(); }

constinit context_key<int> depth_key;
constinit context_key<std::string> user_key;
constinit context_key<ptr<int>> pointer_key;

TEST(Context, TheBackgroundNeverEnds) {
  run([] {
    const context ctx = background();
    EXPECT_FALSE(ctx.done());
    EXPECT_FALSE(ctx.err());
    EXPECT_FALSE(ctx.cause());
    EXPECT_FALSE(ctx.exception());
    EXPECT_FALSE(ctx.deadline());
    EXPECT_EQ(ctx.value(depth_key), nullptr);
    EXPECT_NO_THROW(ctx.check());
    EXPECT_TRUE(ctx == context());
    EXPECT_TRUE(without_cancel(ctx) == ctx);
    cancel_func()();  // nothing
    EXPECT_EQ(sleep(ctx, 1us), std::error_code());
  });
}

TEST(Context, CancelEndsItAndItsDescendantsOnly) {
  run([] {
    const auto a = with_cancel(background());
    const auto b = with_cancel(a.ctx);
    const auto c = with_cancel(with_value(b.ctx, depth_key, 3));
    const auto sibling = with_cancel(a.ctx);
    EXPECT_TRUE(b.ctx.done());
    EXPECT_TRUE(b.ctx.done() == b.ctx.done());
    EXPECT_FALSE(b.ctx.done() == a.ctx.done());
    const chan<unit> done = c.ctx.done();
    b.cancel();
    EXPECT_FALSE(a.ctx.err());
    EXPECT_FALSE(sibling.ctx.err());
    EXPECT_FALSE(is_closed(sibling.ctx.done()));
    EXPECT_EQ(b.ctx.err(), kCanceled);
    EXPECT_EQ(c.ctx.err(), kCanceled);
    EXPECT_TRUE(is_closed(b.ctx.done()));
    EXPECT_TRUE(is_closed(done));
    b.cancel();  // nothing more
    a.cancel();
    EXPECT_EQ(sibling.ctx.err(), kCanceled);
    EXPECT_TRUE(is_closed(sibling.ctx.done()));
  });
}

TEST(Context, AChildOfAnEndedOneIsEnded) {
  run([] {
    const auto a = with_cancel_cause(background());
    a.cancel(std::make_error_code(std::errc::host_unreachable));
    const auto b = with_cancel(a.ctx);
    EXPECT_EQ(b.ctx.err(), kCanceled);
    EXPECT_EQ(b.ctx.cause(), std::errc::host_unreachable);
    EXPECT_TRUE(is_closed(b.ctx.done()));
    const auto c = with_timeout(a.ctx, 1h);
    EXPECT_EQ(c.ctx.err(), kCanceled);
    std::atomic<bool> called{false};
    after_func(a.ctx, [&] { called = true; });
    until([&] { return called.load(); });
  });
}

TEST(Context, CausesAreToldByTheFirstWhoEndsIt) {
  run([] {
    const auto a = with_cancel_cause(background());
    const auto b = with_cancel_cause(a.ctx);
    b.cancel(std::make_error_code(std::errc::broken_pipe));
    a.cancel(std::make_exception_ptr(std::runtime_error("the reason")));
    a.cancel(std::make_error_code(std::errc::io_error));
    EXPECT_EQ(b.ctx.cause(), std::errc::broken_pipe);
    EXPECT_EQ(b.ctx.err(), kCanceled);
    EXPECT_FALSE(b.ctx.exception());
    EXPECT_THROW(b.ctx.check(), std::system_error);
    EXPECT_EQ(a.ctx.cause(), kCanceled);
    const auto child = with_cancel(a.ctx);
    try {
      child.ctx.check();
      FAIL();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "the reason");
    }
  });
}

TEST(Context, ErrorCodesAreEquivalentToTheStandards) {
  EXPECT_EQ(make_error_code(kCanceled), std::errc::operation_canceled);
  EXPECT_EQ(make_error_code(kLate), std::errc::timed_out);
  EXPECT_NE(make_error_code(kLate), std::errc::operation_canceled);
  EXPECT_EQ(make_error_code(kLate).message(), "context deadline exceeded");
  EXPECT_STREQ(context_category().name(), "warren.context");
}

TEST(Context, ADeadlineEndsIt) {
  run([] {
    const auto start = context::clock::now();
    const auto a = with_timeout(background(), 2ms, std::make_error_code(std::errc::stream_timeout));
    const auto child = with_cancel(a.ctx);
    EXPECT_FALSE(a.ctx.err());
    ASSERT_TRUE(a.ctx.deadline());
    EXPECT_GE(*a.ctx.deadline(), start + 2ms);
    EXPECT_EQ(child.ctx.deadline(), a.ctx.deadline());
    child.ctx.done().recv();
    EXPECT_GE(context::clock::now(), start + 2ms);
    EXPECT_EQ(child.ctx.err(), kLate);
    EXPECT_EQ(a.ctx.err(), kLate);
    EXPECT_EQ(a.ctx.cause(), std::errc::stream_timeout);
    a.cancel();
    EXPECT_EQ(a.ctx.err(), kLate);
  });
}

TEST(Context, TheEarlierDeadlineCounts) {
  run([] {
    const auto a = with_timeout(background(), 1h);
    const auto later = with_timeout(a.ctx, 2h);
    EXPECT_EQ(later.ctx.deadline(), a.ctx.deadline());
    const auto sooner = with_timeout(a.ctx, 1min);
    EXPECT_LT(*sooner.ctx.deadline(), *a.ctx.deadline());
    a.cancel();
    EXPECT_EQ(later.ctx.err(), kCanceled);
    EXPECT_EQ(sooner.ctx.err(), kCanceled);
  });
}

TEST(Context, ADeadlineThatHasPassed) {
  run([] {
    for (auto d : {0ns, -1ns, std::chrono::nanoseconds(std::chrono::nanoseconds::min())})
      EXPECT_EQ(with_timeout(background(), d).ctx.err(), kLate);
    EXPECT_EQ(with_deadline(background(), context::clock::time_point{}).ctx.err(), kLate);
    const auto never = with_timeout(background(), std::chrono::nanoseconds::max());
    EXPECT_FALSE(never.ctx.err());
    never.cancel();
  });
}

TEST(Context, WithoutCancelKeepsTheValuesOnly) {
  run([] {
    const auto a = with_timeout(with_value(background(), user_key, std::string("bob")), 1h);
    const context b = without_cancel(a.ctx);
    a.cancel();
    EXPECT_FALSE(b.err());
    EXPECT_FALSE(b.deadline());
    EXPECT_FALSE(b.done());
    ASSERT_NE(b.value(user_key), nullptr);
    EXPECT_EQ(*b.value(user_key), "bob");
    const auto c = with_cancel(b);
    EXPECT_FALSE(c.ctx.err());
  });
}

TEST(Context, ValuesAreFoundByKeyTheNearestFirst) {
  run([] {
    context ctx = with_value(background(), depth_key, 1);
    const context outer = ctx;
    ctx = with_value(with_cancel(ctx).ctx, user_key, std::string(1000, 'x'));
    ctx = with_value(ctx, depth_key, 2);
    EXPECT_EQ(*ctx.value(depth_key), 2);
    EXPECT_EQ(*outer.value(depth_key), 1);
    EXPECT_EQ(ctx.value(user_key)->size(), 1000u);
    EXPECT_EQ(outer.value(user_key), nullptr);
  });
}

TEST(Context, SleepIsInterrupted) {
  run([] {
    const auto a = with_cancel(background());
    std::atomic<int> woken{0};
    wait_group wg;
    for (int i = 0; i < 10; ++i)
      wg.go([&, ctx = a.ctx] {
        EXPECT_EQ(sleep(ctx, 1h), kCanceled);
        ++woken;
      });
    testing::until_receivers(a.ctx.done(), 10);
    a.cancel();
    wg.wait();
    EXPECT_EQ(woken, 10);
    EXPECT_EQ(sleep(a.ctx, 1h), kCanceled);
    EXPECT_EQ(sleep(with_cancel(background()).ctx, 1ms), std::error_code());
    EXPECT_EQ(sleep(with_timeout(background(), 1ms).ctx, 1h), kLate);
  });
}

TEST(Context, AGuardCancelsAtTheEndOfTheScope) {
  run([] {
    context ctx;
    {
      const auto a = with_cancel(background());
      const cancel_guard guard(a.cancel);
      ctx = a.ctx;
      EXPECT_FALSE(ctx.err());
    }
    EXPECT_EQ(ctx.err(), kCanceled);
  });
}

TEST(Context, AnyThreadMayAskARoot) {
  run([] {
    const auto a = with_timeout(background(), 1h);
    const root_context kept = a.ctx;
    std::thread([&] {
      EXPECT_FALSE(kept.err());
      EXPECT_TRUE(kept.deadline());
    }).join();
    a.cancel();
    std::thread([&] { EXPECT_EQ(kept.err(), kCanceled); }).join();
    EXPECT_TRUE(kept.get() == a.ctx);
  });
}

// As deep as no stack is, and as wide.
TEST(Context, AMillionGenerations) {
  run([] {
    const auto top = with_cancel(background());
    context ctx = top.ctx;
    for (int i = 0; i < 1'000'000; ++i) ctx = with_cancel(ctx).ctx;
    top.cancel();
    EXPECT_EQ(ctx.err(), kCanceled);
    const auto wide = with_cancel(background());
    std::atomic<int> called{0};
    for (int i = 0; i < 20'000; ++i) after_func(wide.ctx, [&] { ++called; });
    wide.cancel();
    until([&] { return called == 20'000; });
  });
}

TEST(AfterFunc, RunsOnceWhenTheContextEnds) {
  run([] {
    const auto a = with_cancel(background());
    const auto b = with_cancel(a.ctx);
    const chan<uint64_t> c = make_chan<uint64_t>(4);
    const context_hook h = after_func(b.ctx, [c] { c.send(goroutine_id()); });
    EXPECT_FALSE(c.try_recv());
    a.cancel();
    EXPECT_NE(*c.recv(), goroutine_id());
    EXPECT_FALSE(h.stop());
    b.cancel();
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_FALSE(c.try_recv());
  });
}

TEST(AfterFunc, StopPreventsIt) {
  run([] {
    std::atomic<int> called{0};
    const auto a = with_cancel(background());
    const context_hook h = after_func(a.ctx, [&] { ++called; });
    const context_hook other = after_func(a.ctx, [&] { ++called; });
    EXPECT_TRUE(h.stop());
    EXPECT_FALSE(h.stop());
    a.cancel();
    until([&] { return called == 1; });
    EXPECT_FALSE(other.stop());
    EXPECT_TRUE(after_func(background(), [] {}).stop());
    EXPECT_FALSE(context_hook().stop());
  });
}

TEST(AfterFunc, StopAndCancelAgreeUnderARace) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      const auto a = with_cancel(background());
      std::atomic<int> called{0}, prevented{0};
      wait_group wg;
      for (int k = 0; k < 4; ++k) {
        const context_hook h = after_func(a.ctx, [&] { ++called; });
        wg.go([&, h] { prevented += h.stop(); });
        wg.go([&, h] { prevented += h.stop(); });
      }
      wg.go([&, cancel = a.cancel] { cancel(); });
      wg.wait();
      until([&] { return called + prevented == 4; });
      for (int k = 0; k < 4; ++k) yield();
      EXPECT_EQ(called + prevented, 4);
    }
  });
}

// Cancel against the deadline, against new children, against done(): everybody sees one end, nobody misses it.
TEST(ContextStress, CancelRacesWithTheDeadline) {
  run([] {
    int late = 0, canceled = 0;
    for (int i = 0; i < 2000; ++i) {
      const auto a = with_timeout(background(), std::chrono::microseconds(i % 20));
      wait_group wg;
      std::atomic<int> codes[3] = {};
      for (int k = 0; k < 3; ++k)
        wg.go([&, k, ctx = a.ctx] {
          const auto child = with_cancel(ctx);
          child.ctx.done().recv();
          codes[k] = child.ctx.err().value();
        });
      if (i % 2 == 0) wg.go([cancel = a.cancel] { cancel(); });
      if (i % 3 == 0) yield();
      if (i % 4 != 3) a.cancel();
      wg.wait();
      const int code = a.ctx.err().value();
      for (const auto& c : codes) EXPECT_EQ(c, code);
      (code == static_cast<int>(kLate) ? late : canceled) += 1;
    }
    EXPECT_GT(late, 0);
    EXPECT_GT(canceled, 0);
  });
}

TEST(ContextStress, TreesThatGrowWhileTheyEnd) {
  run([] {
    for (int round = 0; round < 20; ++round) {
      const auto top = with_cancel(background());
      std::atomic<int> ended{0}, hooks{0}, called{0};
      wait_group wg;
      for (int k = 0; k < 50; ++k)
        wg.go([&, ctx = top.ctx, k] {
          context mine = ctx;
          for (int i = 0; !mine.err(); ++i) {
            const auto child = i % 3 == 0 ? with_timeout(mine, std::chrono::microseconds(500 + 10 * k)) : with_cancel(mine);
            if (i % 5 == 0) {
              after_func(child.ctx, [&] { ++called; });
              ++hooks;
            }
            if (i % 7 == 0) child.cancel();
            if (i % 2 == 0 && !child.ctx.err()) mine = child.ctx;
            if (i % 16 == 0) yield();
          }
          mine.done().recv();
          ++ended;
        });
      for (int i = 0; i < round * 3; ++i) yield();
      top.cancel();
      wg.wait();
      EXPECT_EQ(ended, 50);
      until([&] { return called == hooks; });
    }
  });
}

[[gnu::noinline]] context chain_of_values(int n) {
  context ctx = with_value(background(), pointer_key, make<int>(4711));
  for (int i = 0; i < n; ++i) ctx = with_value(i % 2 == 0 ? with_cancel(ctx).ctx : ctx, depth_key, i);
  return ctx;
}

TEST(ContextAndCollector, AContextKeepsItsValuesAndCauses) {
  run([] {
    const context ctx = chain_of_values(100);
    const auto c = with_cancel_cause(background());
    c.cancel(std::make_exception_ptr(std::runtime_error("kept")));
    for (int i = 0; i < 5; ++i) {
      gc();
      for (int k = 0; k < 2000; ++k) *make<int>() = -1;
    }
    EXPECT_EQ(**ctx.value(pointer_key), 4711);
    EXPECT_EQ(*ctx.value(depth_key), 99);
    EXPECT_THROW(c.ctx.check(), std::runtime_error);
  });
}

struct noisy {
  std::shared_ptr<int> alive;
};
constinit context_key<noisy> noisy_key;

[[gnu::noinline]] void leave_contexts(const context& parent, int n, std::vector<std::weak_ptr<int>>& alive) {
  std::atomic<int> called{0};
  for (int i = 0; i < n; ++i) {
    const auto p = std::make_shared<int>(i);
    alive.push_back(p);
    const context ctx = with_value(parent, noisy_key, noisy{p});
    const auto c = i % 2 == 0 ? with_cancel(ctx) : with_timeout(ctx, 1h);
    after_func(c.ctx, [p, &called] { ++called; });
    c.cancel();
  }
  until([&] { return called == n; });  // while their goroutines wait to run, they hold it all
}

// A server's background context lives for ever; what was below it and is over is gone.
TEST(ContextAndCollector, AnEndedChildIsForgottenByItsParent) {
  run([] {
    const auto top = with_cancel(background());
    std::vector<std::weak_ptr<int>> alive;
    leave_contexts(top.ctx, 200, alive);
    const auto gone = [&] { return std::count_if(alive.begin(), alive.end(), [](const auto& w) { return w.expired(); }); };
    testing::collect_until([&] { return gone() >= 180; });
    EXPECT_GE(gone(), 180);
    EXPECT_FALSE(top.ctx.err());
    top.cancel();
  });
}

// Nobody but the armed deadline, and then the parent, knows of these.
[[gnu::noinline]] void hooks_below(const context& parent, std::atomic<int>& called) {
  for (int i = 0; i < 100; ++i) {
    const ptr<int> number = make<int>(4711);
    const context ctx = i % 2 == 0 ? with_cancel(parent).ctx : with_timeout(background(), 10ms).ctx;
    after_func(ctx, [number, &called] { called += *number == 4711; });
  }
}
TEST(ContextAndCollector, TheParentAndTheTimerKeepWhatIsToBeCalled) {
  run([] {
    std::atomic<int> called{0};
    const auto top = with_cancel(background());
    hooks_below(top.ctx, called);
    for (int i = 0; i < 5; ++i) {
      gc();
      for (int k = 0; k < 2000; ++k) *make<int>() = -1;
    }
    top.cancel();
    for (int i = 0; i < 2000 && called < 100; ++i) sleep(1ms);
    EXPECT_EQ(called, 100);
  });
}

TEST(Context, OneFromAnEarlierRun) {
  root_context kept;
  run([&] { kept = with_timeout(background(), 1h).ctx; });
  run([&] {
    const auto child = with_cancel(kept);
    EXPECT_FALSE(child.ctx.err());
    child.cancel();
    gc();
    EXPECT_FALSE(kept.err());
  });
}

class ContextDeathTest : public ::testing::Test {
 protected:
  ContextDeathTest() { tests::choose_death_style(); }
};

TEST_F(ContextDeathTest, CancellingOnAThreadOutside) {
  EXPECT_DEATH(run([] {
                 const auto a = with_cancel(background());
                 std::thread([&] { a.cancel(); }).join();
               }),
               "fatal error: cancelling a context");
}

TEST_F(ContextDeathTest, ClosingTheDoneChannelIsNamed) {
  EXPECT_DEATH(run([] {
                 const auto a = with_cancel(background());
                 a.ctx.done().close();
                 a.cancel();
               }),
               "close of closed channel");
}

}  // namespace
}  // namespace warren
