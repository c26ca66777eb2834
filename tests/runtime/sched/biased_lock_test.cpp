// biased: exclusion while locks become biased, lose their bias, and are held by goroutines that have changed their P meanwhile.
#include "runtime/sched/biased_lock.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <mutex>
#include <thread>
#include <vector>

#include <warren/go.h>
#include <warren/sync.h>

#include "runtime/os/mutex.h"

namespace warren::rt {
namespace {

// The underlying lock, which tells how often it was needed.
class counting_lock {
 public:
  void lock() noexcept {
    mutex_.lock();
    ++taken;
  }
  void unlock() noexcept { mutex_.unlock(); }
  bool is_locked() const noexcept { return mutex_.is_locked(); }
  static inline std::atomic<int64_t> taken{0};

 private:
  mutex mutex_;
};

using lock_under_test = biased<counting_lock>;

TEST(BiasedLock, OnePTakesTheUnderlyingLockOnlyAtFirst) {
  if (!has_membarrier) GTEST_SKIP() << "no membarrier here: no lock is ever biased";
  warren::run([] {
    lock_under_test lock;
    counting_lock::taken = 0;
    for (int i = 0; i < 1000; ++i) std::lock_guard hold(lock);
    EXPECT_GE(counting_lock::taken, WARREN_CAPACITY(32, 2));
#ifndef WARREN_TINY                        // there the lock is taken as if without a P one time in eight, which ends the bias
    EXPECT_LT(counting_lock::taken, 200);  // 34, and some more each time that this goroutine was moved to another P
#endif
  });
}

TEST(BiasedLock, AThreadOutsideNeverOwnsABias) {
  lock_under_test lock;
  counting_lock::taken = 0;
  for (int i = 0; i < 1000; ++i) std::lock_guard hold(lock);
  EXPECT_EQ(counting_lock::taken, 1000);
}

// Biased, ended by a thread outside, biased again, …: the thread finds the bias's owner inside the lock, before it and after it.
TEST(BiasedLock, ExcludesAThreadOutsideFromTheOwner) {
  warren::run([] {
    lock_under_test lock;
    int64_t counter = 0;
    constexpr int kOutside = 1000;
    std::atomic<int> outside_begun{0}, outside_done{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
      threads.emplace_back([&] {
        ++outside_begun;
        for (int i = 0; i < kOutside; ++i) {
          {
            std::lock_guard hold(lock);
            const int64_t seen = counter;
            if (i % 64 == 0) sched_yield();
            counter = seen + 1;
          }
          for (int k = 0; k < i % 32; ++k) sched_yield();
          if (i % 128 == 0) std::this_thread::yield();
        }
        ++outside_done;
      });
    int64_t mine = 0;
    while (outside_done < 2) {
      for (int i = 0; i < 100; ++i) {
        std::lock_guard hold(lock);
        const int64_t seen = counter;
        if (mine % 1024 == 0) sched_yield();  // the core goes to a thread that finds the bias's owner inside
        counter = seen + 1;
        ++mine;
      }
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(counter, mine + 2 * kOutside);
  });
}

// Goroutines on all Ps. Now one works alone, so that the lock is biased to its P, now all do.
TEST(BiasedLock, ExcludesTheOwnersOfDifferentPs) {
  warren::run([] {
    lock_under_test lock;
    int64_t counter = 0;
    constexpr int kGoroutines = 6, kRounds = 300;
    wait_group wg;
    for (int g = 0; g < kGoroutines; ++g)
      wg.go([&, g] {
        for (int round = 0; round < kRounds; ++round) {
          const int alone = round % kGoroutines == g ? 200 : 1;
          for (int i = 0; i < alone; ++i) {
            std::lock_guard hold(lock);
            const int64_t seen = counter;
            if (i % 50 == 49) sched_yield();
            counter = seen + 1;
          }
          warren::yield();
        }
      });
    wg.wait();
    EXPECT_EQ(counter, int64_t{kGoroutines} * (kRounds + kRounds / kGoroutines * 199));
  });
}

// On the scheduler's stack the bracket is open already, and stays so.
TEST(BiasedLock, LeavesTheBracketAsItWas) {
  warren::run([] {
    lock_under_test lock;
    for (int i = 0; i < 100; ++i) {
      { std::lock_guard hold(lock); }
      EXPECT_EQ(getm()->in_rt.load(), 0u);
      getm()->in_rt.store(1);
      { std::lock_guard hold(lock); }
      EXPECT_EQ(getm()->in_rt.load(), 1u);
      getm()->in_rt.store(0);
    }
  });
}

// A goroutine loses its P with the lock held by bias (as by a revocation between two of its instructions): the next one on that P must wait
// for it although it is the bias's owner.
TEST(BiasedLock, TheNextOwnerOfThePWaitsForTheHolder) {
  if (!has_membarrier) GTEST_SKIP() << "no membarrier here: no lock is ever biased";
  warren::run([] {
    lock_under_test lock;
    for (int i = 0; i < 100; ++i) std::lock_guard hold(lock);  // most likely biased to this P now
    std::atomic<bool> released{false};
    int64_t guarded = 0;
    lock.lock();
    wait_group wg;
    for (int g = 0; g < 4; ++g)
      wg.go([&] {
        std::lock_guard hold(lock);
        EXPECT_TRUE(released.load());
        ++guarded;
      });
    // The P goes to others while this thread holds the lock.
    warren::blocking([&] {
      for (int i = 0; i < 2000; ++i) sched_yield();
      released = true;
      lock.unlock();
    });
    wg.wait();
    EXPECT_EQ(guarded, 4);
  });
}

}  // namespace
}  // namespace warren::rt
