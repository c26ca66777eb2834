// semaphore: bounds, order, and what cancellation gives back.
#include "warren/semaphore.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::until;

TEST(Semaphore, CountsUnits) {
  run([] {
    semaphore s(3);
    EXPECT_TRUE(s.try_acquire(2));
    EXPECT_FALSE(s.try_acquire(2));
    EXPECT_TRUE(s.try_acquire(0));
    s.acquire();
    EXPECT_FALSE(s.try_acquire());
    s.release(3);
    {
      s.acquire(3);
      const semaphore_guard guard(s, 3);
      EXPECT_FALSE(s.try_acquire());
    }
    EXPECT_TRUE(s.try_acquire(3));
    EXPECT_FALSE(s.try_acquire(4));
  });
}

TEST(Semaphore, NeverMoreThanItsSize) {
  run([] {
    constexpr int64_t kSize = 10;
    semaphore s(kSize);
    std::atomic<int64_t> out{0};
    std::atomic<int> cancelled{0};
    wait_group wg;
    for (int k = 0; k < 2000; ++k)
      wg.go([&, k] {
        const int64_t n = k % (kSize + 1);
        if (k % 3 == 0) {
          const auto c = with_timeout(background(), std::chrono::microseconds(k % 500));
          const cancel_guard guard(c.cancel);
          if (s.acquire(c.ctx, n)) {
            ++cancelled;
            return;
          }
        } else {
          s.acquire(n);
        }
        EXPECT_LE(out += n, kSize);
        yield();
        out -= n;
        s.release(n);
      });
    wg.wait();
    EXPECT_GT(cancelled, 0);
    EXPECT_TRUE(s.try_acquire(kSize)) << "units were lost";
  });
}

// A large request is not overtaken by small ones.
TEST(Semaphore, FirstComeFirstServed) {
  run([] {
    semaphore s(4);
    std::vector<int> order;
    wait_group wg;
    s.acquire(1);
    wg.go([&] {
      s.acquire(4);
      order.push_back(4);
      s.release(4);
    });
    until([&] {
      if (!s.try_acquire(3)) return true;  // it waits: there are units, but not for us
      s.release(3);
      return false;
    });
    EXPECT_FALSE(s.try_acquire(1));
    wg.go([&] {
      s.acquire(1);
      order.push_back(1);
      s.release(1);
    });
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_TRUE(order.empty());
    s.release(1);
    wg.wait();
    EXPECT_EQ(order, (std::vector<int>{4, 1}));
  });
}

TEST(Semaphore, AContextEndsTheWaitAndLetsThoseBehindIn) {
  run([] {
    semaphore s(4);
    s.acquire(1);
    const auto c = with_cancel(background());
    wait_group wg;
    std::atomic<bool> waits{false};
    wg.go([&] { EXPECT_EQ(s.acquire(c.ctx, 4), context_errc::canceled); });
    until([&] {
      if (!s.try_acquire(3)) return true;
      s.release(3);
      return false;
    });
    wg.go([&] {
      waits = true;
      s.acquire(3);
      s.release(3);
    });
    until([&] { return waits.load(); });
    for (int i = 0; i < 100; ++i) yield();
    c.cancel();
    wg.wait();
    EXPECT_EQ(s.acquire(c.ctx), context_errc::canceled) << "an ended context acquires nothing";
    EXPECT_TRUE(s.try_acquire(3));
  });
}

TEST(Semaphore, MoreThanThereCanBeWaitsForTheContext) {
  run([] {
    semaphore s(4);
    EXPECT_EQ(s.acquire(with_timeout(background(), 1ms).ctx, 5), context_errc::deadline_exceeded);
    EXPECT_TRUE(s.try_acquire(4));
    s.release(4);
    EXPECT_EQ(s.acquire(background(), 4), std::error_code());
  });
}

// Served and cancelled at the same time: nothing may be lost or doubled.
TEST(Semaphore, ReleaseRacesWithCancel) {
  run([] {
    for (int i = 0; i < 1000; ++i) {
      semaphore s(2);
      s.acquire(2);
      const auto c = with_cancel(background());
      wait_group wg;
      for (int k = 0; k < 3; ++k)
        wg.go([&, ctx = c.ctx] {
          if (!s.acquire(ctx, 1)) s.release(1);
        });
      wg.go([&] { s.acquire(2), s.release(2); });
      for (int k = 0; k < i % 8; ++k) yield();
      wg.go([cancel = c.cancel] { cancel(); });
      wg.go([&] { s.release(2); });
      wg.wait();
      EXPECT_TRUE(s.try_acquire(2));
    }
  });
}

class SemaphoreDeathTest : public ::testing::Test {
 protected:
  SemaphoreDeathTest() { tests::choose_death_style(); }
};

TEST_F(SemaphoreDeathTest, Misuse) {
  EXPECT_DEATH(run([] {
                 semaphore s(3);
                 s.acquire(1);
                 s.release(2);
               }),
               "fatal error: goroutine 1: release of 2 units of a semaphore of which 1 are out");
  EXPECT_DEATH(run([] { semaphore(3).acquire(4); }), "acquire of 4 units from a semaphore of 3 can never succeed");
  EXPECT_DEATH(run([] { semaphore(3).acquire(-1); }), "acquire of -1 units: the number must not be negative");
}

}  // namespace
}  // namespace warren
