// A std::mutex held across a park is reported with both places; what is no fault is not.
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/death_style.h"
#include "warren/chan.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/rwmutex.h"
#include "warren/sync.h"

namespace warren {

// Named, so that they can be found in the backtraces; of external linkage, so that their names are printed.
std::mutex global_mutex;
[[gnu::noinline]] void take_it_here() {
  global_mutex.lock();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void park_here() {
  sleep(std::chrono::microseconds(1));
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void park_elsewhere() {
  sleep(std::chrono::microseconds(2));
  asm volatile("" ::: "memory");
}

namespace {

using namespace std::chrono_literals;

// What `f` writes to standard error.
template <class F>
std::string errors_of(F&& f) {
  ::testing::internal::CaptureStderr();
  f();
  return ::testing::internal::GetCapturedStderr();
}
size_t count(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}
constexpr const char* kReport = "while it holds the ";

TEST(HeldLocks, AMutexAcrossAParkIsReportedWithBothPlaces) {
  const std::string said = errors_of([] {
    run([] {
      take_it_here();
      park_here();
      global_mutex.unlock();
    });
  });
  EXPECT_EQ(count(said, kReport), 1u) << said;
  EXPECT_NE(said.find("warren: goroutine 1 parks (sleep) while it holds the mutex (std::mutex)"), std::string::npos) << said;
  EXPECT_NE(said.find("make it a warren::mutex"), std::string::npos) << said;
  const size_t locked = said.find("locked here:"), parks = said.find("parks here:");
  ASSERT_NE(locked, std::string::npos);
  ASSERT_NE(parks, std::string::npos);
  const size_t taker = said.find("take_it_here"), parker = said.find("park_here");
  EXPECT_TRUE(locked < taker && taker < parks) << said;
  EXPECT_TRUE(parker != std::string::npos && parker > parks) << said;
}

TEST(HeldLocks, EachPairOfPlacesOnce) {
  const std::string said = errors_of([] {
    run([] {
      for (int i = 0; i < 10; ++i) {
        const std::lock_guard hold(global_mutex);
        park_here();
      }
      for (int i = 0; i < 10; ++i) {
        const std::lock_guard hold(global_mutex);
        park_elsewhere();
      }
    });
  });
  EXPECT_EQ(count(said, kReport), 2u) << said;
}

// Every way to take a lock, and every way to leave the P.
TEST(HeldLocks, AllKindsAreSeen) {
  const std::string said = errors_of([] {
    run([] {
      std::recursive_mutex recursive;
      {
        const std::lock_guard a(recursive), b(recursive);
        park_here();  // two
      }
      std::timed_mutex timed;
      if (timed.try_lock_for(1ms)) park_here();
      timed.unlock();
      std::mutex tried;
      if (tried.try_lock()) yield();
      tried.unlock();
      std::shared_mutex shared;
      shared.lock_shared();
      park_here();
      shared.unlock_shared();
      shared.lock();
      park_here();
      shared.unlock();
      std::shared_timed_mutex st;
      if (st.try_lock_shared_for(1ms)) park_here();
      st.unlock_shared();
      if (st.try_lock_for(1ms)) park_here();
      st.unlock();
      const chan<int> c = make_chan<int>();
      go([c] {
        sleep(50ms);  // so that the receiver parks: nothing else can tell it to
        c.send(1);
      });
      const std::lock_guard hold(tried);
      c.recv();
    });
  });
  EXPECT_EQ(count(said, kReport), 9u) << said;
  EXPECT_EQ(count(said, "rwlock (std::shared_mutex), shared,"), 2u) << said;
  EXPECT_EQ(count(said, "make it a warren::rwmutex"), 4u) << said;
  EXPECT_EQ(count(said, "parks (yield)"), 1u) << said;
  EXPECT_EQ(count(said, "parks (chan receive)"), 1u) << said;
}

TEST(HeldLocks, WhatIsNoFaultIsNotReported) {
  const std::string said = errors_of([] {
    std::mutex outside;
    const std::lock_guard before(outside);  // held by the thread that becomes m0, not by a goroutine
    run([] {
      std::mutex m;
      { const std::lock_guard hold(m); }
      park_here();  // given back
      std::unique_lock l(m);
      l.unlock();
      park_here();
      {
        mutex ours;
        rwmutex rw;
        const std::lock_guard a(ours);
        const std::shared_lock b(rw);
        park_here();
      }
      // Waiting for a condition of threads: the lock is given up meanwhile, and held again, and then released.
      std::condition_variable cv;
      bool told = false;
      std::thread other([&] {
        const std::lock_guard hold(m);
        told = true;
        cv.notify_all();
      });
      {
        std::unique_lock hold(m);
        cv.wait(hold, [&] { return told; });
      }
      other.join();
      park_here();
      // Held by somebody else while we park.
      std::thread holder([&] {
        const std::lock_guard hold(m);
        std::this_thread::sleep_for(2ms);
      });
      sleep(1ms);
      holder.join();
      gc();
      // Many goroutines, none of which parks with it.
      wait_group wg;
      for (int i = 0; i < 3000; ++i)
        wg.go([&] {
          for (int k = 0; k < 3; ++k) {
            { const std::lock_guard hold(m); }
            yield();
          }
        });
      wg.wait();
    });
  });
  EXPECT_EQ(said, "");
}

// Nine locks, of which eight are noted; afterwards nothing is left.
TEST(HeldLocks, MoreThanAreNoted) {
  const std::string said = errors_of([] {
    run([] {
      std::vector<std::mutex> many(12);
      for (auto& m : many) m.lock();
      for (auto& m : many) m.unlock();
      park_here();
    });
  });
  EXPECT_EQ(said, "");
}

class HeldLocksDeathTest : public ::testing::Test {
 protected:
  // A fresh process each: the environment is read once.
  HeldLocksDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void park_with_it() {
  run([] {
    const std::lock_guard hold(global_mutex);
    park_here();
  });
}

TEST_F(HeldLocksDeathTest, AbortsIfTold) {
  EXPECT_DEATH(setenv("WARREN_HELD_LOCKS", "abort", 1);
               park_with_it(), "parks \\(sleep\\) while it holds(.|\n)*locked here:(.|\n)*parks here:");
}
TEST_F(HeldLocksDeathTest, SilentIfTold) {
  EXPECT_EXIT(
      {
        setenv("WARREN_HELD_LOCKS", "off", 1);
        park_with_it();
        write(STDERR_FILENO, "done\n", 5);
        _exit(0);
      },
      ::testing::ExitedWithCode(0), "^done\n$");
}
TEST_F(HeldLocksDeathTest, AnotherWordIsRefused) {
  EXPECT_DEATH(setenv("WARREN_HELD_LOCKS", "yes", 1); park_with_it(), "WARREN_HELD_LOCKS=yes: want report, abort or off");
}

}  // namespace
}  // namespace warren
