// The limit on threads, the line before it, and the retirement of idle ones. CTest sets WARREN_MAX_THREADS=12 and WARREN_IDLE_THREAD_MS=20.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "runtime/os/futex.h"
#include "tests/death_style.h"
#include "warren/go.h"
#include "warren/stats.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

class ThreadLimit : public testing::Test {
 protected:
  void SetUp() override {
    setenv("WARREN_MAX_THREADS", "12", 1);
    setenv("WARREN_IDLE_THREAD_MS", "20", 1);
    setenv("WARREN_MAXPROCS", "2", 1);
  }
};

TEST_F(ThreadLimit, AFloodOfBlockingCallsWaitsInLineAndOthersRun) {
  run([] {
    constexpr int n = 200;
    std::atomic<int> inside{0}, most{0}, done{0}, ordinary{0};
    std::atomic<uint32_t> open{0};
    for (int i = 0; i < n; ++i)
      go([&] {
        blocking([&] {
          const int now = ++inside;
          for (int m = most; now > m && !most.compare_exchange_weak(m, now);) {
          }
          while (open.load() == 0) rt::futex_wait(&open, 0);
          --inside;
        });
        ++done;
      });
    // The line has formed: the calls inside are as many as they can be, and goroutines that only compute are not held up.
    while (read_scheduler_stats().thread_waiters == 0) yield();
    for (int i = 0; i < 1000; ++i) go([&] { ++ordinary; });
    while (ordinary < 1000) yield();
    EXPECT_EQ(done.load(), 0);
    EXPECT_LE(read_scheduler_stats().threads, 12u);
    open = 1;
    rt::futex_wake(&open, 1000);
    while (done < n) sleep(1ms);
    EXPECT_LE(most.load(), 12);
    EXPECT_GE(most.load(), 6);
    EXPECT_EQ(read_scheduler_stats().thread_waiters, 0u);
    EXPECT_GT(read_scheduler_stats().thread_waits, 0u);
  });
}

TEST_F(ThreadLimit, IdleThreadsRetireAndAreReplaced) {
  setenv("WARREN_MAX_THREADS", "100", 1);
  run([] {
    for (int round = 0; round < 3; ++round) {
      std::atomic<int> inside{0}, done{0};
      std::atomic<uint32_t> open{0};
      constexpr int n = 30;
      for (int i = 0; i < n; ++i)
        go([&] {
          blocking([&] {
            ++inside;
            while (open.load() == 0) rt::futex_wait(&open, 0);
          });
          ++done;
        });
      while (inside < n) sleep(100us);
      EXPECT_GE(read_scheduler_stats().threads, static_cast<uint32_t>(n));
      open = 1;
      rt::futex_wake(&open, 1000);
      while (done < n) sleep(1ms);
      // Kept are one per P and four, beside those that run, poll, or are the caller's.
      while (read_scheduler_stats().threads > 12) sleep(5ms);
    }
    EXPECT_GE(read_scheduler_stats().threads_retired, 3 * 18u);
  });
}

class ThreadLimitDeathTest : public testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

TEST_F(ThreadLimitDeathTest, ALimitThatLeavesNoThreadToRunOnIsRefused) {
  EXPECT_DEATH(
      {
        setenv("WARREN_MAXPROCS", "4", 1);
        setenv("WARREN_MAX_THREADS", "5", 1);
        run([] {});
      },
      "WARREN_MAX_THREADS=5: want a number from 10 to 100000");
}

}  // namespace
}  // namespace warren
