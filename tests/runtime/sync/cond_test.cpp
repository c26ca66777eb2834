// cond: nobody is missed, nobody is woken for nothing, and time-outs do not swallow signals.
#include "warren/cond.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::until;

TEST(Cond, SignalWakesOneInOrderOfArrival) {
  run([] {
    mutex m;
    cond c;
    std::vector<int> order;
    int waiting = 0;
    wait_group wg;
    for (int i = 0; i < 5; ++i) {
      wg.go([&, i] {
        lock_guard hold(m);
        ++waiting;
        c.wait(m);
        order.push_back(i);
      });
      until([&] {
        lock_guard hold(m);
        return waiting == i + 1;
      });
    }
    for (int i = 0; i < 5; ++i) {
      c.signal();
      until([&] {
        lock_guard hold(m);
        return order.size() == static_cast<size_t>(i + 1);
      });
      for (int k = 0; k < 20; ++k) yield();
      lock_guard hold(m);
      EXPECT_EQ(order.size(), static_cast<size_t>(i + 1)) << "one signal woke two";
    }
    wg.wait();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

TEST(Cond, BroadcastWakesAllWhoWait) {
  run([] {
    mutex m;
    cond c;
    constexpr int kWaiters = 500;
    int waiting = 0, round = 0;
    wait_group wg;
    for (int i = 0; i < kWaiters; ++i)
      wg.go([&] {
        std::unique_lock hold(m);
        for (int r = 1; r <= 3; ++r) {
          ++waiting;
          c.wait(hold, [&] { return round >= r; });
        }
      });
    for (int r = 1; r <= 3; ++r) {
      until([&] {
        lock_guard hold(m);
        return waiting == r * kWaiters;
      });
      m.lock();
      round = r;
      m.unlock();
      c.broadcast();
    }
    wg.wait();
  });
}

TEST(Cond, NobodyThereIsFine) {
  run([] {
    cond c;
    c.signal();
    c.broadcast();
  });
}

TEST(Cond, ABoundedQueueLosesNothing) {
  run([] {
    mutex m;
    cond nonempty, nonfull;
    std::deque<int> queue;
    int64_t got = 0;
    constexpr int kEach = 2000, kProducers = 8;
    wait_group wg;
    for (int p = 0; p < kProducers; ++p) {
      wg.go([&] {
        for (int i = 1; i <= kEach; ++i) {
          lock_guard hold(m);
          nonfull.wait(m, [&] { return queue.size() < 4; });
          queue.push_back(i);
          nonempty.signal();
        }
      });
      wg.go([&] {
        for (int i = 1; i <= kEach; ++i) {
          lock_guard hold(m);
          nonempty.wait(m, [&] { return !queue.empty(); });
          got += queue.front();
          queue.pop_front();
          nonfull.signal();
        }
      });
    }
    wg.wait();
    EXPECT_EQ(got, int64_t{kProducers} * kEach * (kEach + 1) / 2);
  });
}

TEST(CondWaitFor, TimesOutAndHoldsTheMutexAgain) {
  run([] {
    mutex m;
    cond c;
    std::unique_lock hold(m);
    for (auto d : {std::chrono::nanoseconds(1ms), 0ns, std::chrono::nanoseconds(-1ns)}) {
      EXPECT_FALSE(c.wait_for(hold, d));
      EXPECT_FALSE(m.try_lock());
    }
    EXPECT_FALSE(c.wait_for(hold, 1ms, [] { return false; }));
    EXPECT_TRUE(c.wait_for(hold, 1ms, [] { return true; }));
    go([&] {
      lock_guard mine(m);
      c.signal();
    });
    EXPECT_TRUE(c.wait_for(hold, 1h));
    go([&] { c.broadcast(); });
    EXPECT_TRUE(c.wait_for(m, std::chrono::nanoseconds::max()));
  });
}

// Each signal that found somebody waiting is reported by exactly one of the waits, although most of them time out at about that time.
TEST(CondWaitFor, TimeoutsDoNotSwallowSignals) {
  run([] {
    mutex m;
    cond c;
    int tokens = 0, taken = 0, late = 0;
    constexpr int kTokens = 3000;
    wait_group wg;
    for (int k = 0; k < 8; ++k)
      wg.go([&, k] {
        lock_guard hold(m);
        for (int i = 0; taken < kTokens; ++i) {
          if (tokens > 0) {
            --tokens;
            if (++taken == kTokens) c.broadcast();
          } else if (!c.wait_for(m, std::chrono::microseconds((i * 7 + k) % 30))) {
            ++late;
          }
        }
      });
    wg.go([&] {
      for (int i = 0; i < kTokens; ++i) {
        {
          lock_guard hold(m);
          ++tokens;
        }
        c.signal();
        if (i % 8 == 0) yield();
      }
    });
    wg.wait();
    EXPECT_EQ(taken, kTokens);
    EXPECT_GT(late, 0);
  });
}

// A signal is for one that waits with and without limit alike; with a lost one this deadlocks.
TEST(CondWaitFor, ASignalPassesOnFromOneThatIsLate) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      mutex m;
      cond c;
      bool patient_woken = false, impatient_woken = false, ready[2] = {};
      wait_group wg;
      wg.go([&] {
        lock_guard hold(m);
        ready[0] = true;
        impatient_woken = c.wait_for(m, std::chrono::microseconds(i % 40));
      });
      wg.go([&] {
        lock_guard hold(m);
        ready[1] = true;
        c.wait(m);
        patient_woken = true;
      });
      until([&] {
        lock_guard hold(m);
        return ready[0] && ready[1];
      });
      for (int k = 0; k < i % 10; ++k) yield();
      c.signal();
      until([&] {
        lock_guard hold(m);
        return patient_woken || impatient_woken;
      });
      c.signal();
      wg.wait();
    }
  });
}

class CondDeathTest : public ::testing::Test {
 protected:
  CondDeathTest() { tests::choose_death_style(); }
};

TEST_F(CondDeathTest, WaitingWithoutTheLock) {
  EXPECT_DEATH(run([] {
                 mutex m;
                 cond c;
                 c.wait(m);
               }),
               "fatal error: goroutine 1: cond::wait with mutex .*, which is not locked");
  EXPECT_DEATH(run([] {
                 mutex m;
                 cond c;
                 std::unique_lock l(m, std::defer_lock);
                 c.wait(l);
               }),
               "cond::wait with a unique_lock that owns no lock");
}

}  // namespace
}  // namespace warren
