// chan_lock on plain threads: exclusion, and no sleeper is forgotten.
#include "runtime/sync/chan_lock.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <mutex>
#include <thread>
#include <vector>

namespace warren::detail {
namespace {

TEST(ChanLock, Excludes) {
  chan_lock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();

  constexpr int kThreads = 6, kEach = 20000;
  int64_t counter = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        std::lock_guard hold(lock);
        ++counter;
        // Gives the core away inside: the others spin in vain, and sleep.
        if (i % 512 == t) sched_yield();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(counter, int64_t{kThreads} * kEach);
}

// All sleep before the lock is let go; then each wakes the next. A lost wake-up would hang.
TEST(ChanLock, SleepersWakeOneAfterTheOther) {
  for (int round = 0; round < 20; ++round) {
    chan_lock lock;
    lock.lock();
    std::atomic<int> begun{0};
    int passed = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t)
      threads.emplace_back([&] {
        ++begun;
        std::lock_guard hold(lock);
        ++passed;
      });
    while (begun != 6) sched_yield();
    for (int i = 0; i < round * 100; ++i) sched_yield();  // so that some are asleep, some spin, some have just begun
    lock.unlock();
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(passed, 6);
  }
}

}  // namespace
}  // namespace warren::detail
