// lock_os_thread: who runs where.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <set>

#include "tests/death_style.h"
#include "warren/chan.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/stats.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

[[gnu::noinline]] long thread_id() { return syscall(SYS_gettid); }

TEST(LockedThread, StaysWhereItIsThroughEveryKindOfWait) {
  run([] {
    std::atomic<bool> end{false};
    std::atomic<int> strangers{0};
    std::atomic<long> reserved{0};
    for (int i = 0; i < 20; ++i)
      go([&] {
        while (!end) {
          if (thread_id() == reserved) ++strangers;
          yield();
        }
      });
    wait_group done;
    done.add(1);
    go([&] {
      lock_os_thread();
      const long mine = thread_id();
      reserved = mine;
      auto c = make_chan<int>();
      go([c] {
        for (int i = 0; i < 100; ++i) c.send(i);
      });
      for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(c.recv().value_or(-1), i);
        EXPECT_EQ(thread_id(), mine);
        if (i % 10 == 0) sleep(100us);
        EXPECT_EQ(thread_id(), mine);
        yield();
        EXPECT_EQ(thread_id(), mine);
        blocking([] { usleep(50); });
        EXPECT_EQ(thread_id(), mine);
        if (i % 20 == 0) gc();
        EXPECT_EQ(thread_id(), mine);
      }
      reserved = 0;
      unlock_os_thread();
      done.done();
    });
    done.wait();
    end = true;
    EXPECT_EQ(strangers.load(), 0);
  });
}

TEST(LockedThread, CallsNest) {
  run([] {
    wait_group done;
    done.add(1);
    go([&] {
      lock_os_thread();
      lock_os_thread();
      const long mine = thread_id();
      unlock_os_thread();
      for (int i = 0; i < 50; ++i) {
        sleep(20us);
        EXPECT_EQ(thread_id(), mine) << "one lock is left";
      }
      unlock_os_thread();
      done.done();
    });
    done.wait();
  });
}

TEST(LockedThread, SurvivesTheLossOfItsP) {
  run([] {
    wait_group done;
    for (int k = 0; k < maxprocs() + 1; ++k) {
      done.add(1);
      go([&] {
        lock_os_thread();
        const long mine = thread_id();
        for (int round = 0; round < 2; ++round) {
          for (int64_t i = 0; i < 30'000'000; ++i) asm volatile("");
          yield();
          EXPECT_EQ(thread_id(), mine);
          usleep(10'000);
          yield();
          EXPECT_EQ(thread_id(), mine);
        }
        unlock_os_thread();
        done.done();
      });
    }
    done.wait();
  });
}

TEST(LockedThread, EndsWithItsGoroutine) {
  run([] {
    std::set<long> used;
    mutex m;
    wait_group done;
    for (int i = 0; i < 8; ++i) {
      done.add(1);
      go([&] {
        lock_os_thread();
        {
          m.lock();
          used.insert(thread_id());
          m.unlock();
        }
        done.done();
      });
      done.wait();
    }
    // No goroutine ever runs on one of these threads again, but on the caller's, which the runtime may not end.
    used.erase(getpid());
    for (int i = 0; i < 200; ++i) {
      done.add(1);
      go([&] {
        EXPECT_EQ(used.count(thread_id()), 0u);
        sleep(10us);
        done.done();
      });
    }
    done.wait();
  });
}

TEST(LockedThread, ManyAtOnceTalkToEachOther) {
  run([] {
    constexpr int n = 16;
    std::array<chan<int>, n + 1> ring;
    for (chan<int>& c : ring) c = make_chan<int>();
    for (int i = 0; i < n; ++i)
      go([in = ring[i], out = ring[i + 1]] {
        lock_os_thread();
        while (auto v = in.recv()) out.send(*v + 1);
        out.close();
      });
    for (int round = 0; round < 50; ++round) {
      ring[0].send(round);
      EXPECT_EQ(ring[n].recv().value_or(-1), round + n);
    }
    ring[0].close();
    EXPECT_FALSE(ring[n].recv().has_value());
  });
}

TEST(LockedThread, TheRunEndsWhileOneSleeps) {
  for (int i = 0; i < 5; ++i)
    run([] {
      go([] {
        lock_os_thread();
        sleep(1h);
      });
      sleep(1ms);
    });
}

class LockedThreadDeathTest : public testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

TEST_F(LockedThreadDeathTest, UnlockWithoutLock) {
  EXPECT_DEATH(run([] { unlock_os_thread(); }), "unlock_os_thread on goroutine 1, which is not locked to a thread");
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(LockedThreadDeathTest, ADeadlockWithOneIsFound) {
  if (tests::emulated()) GTEST_SKIP() << "the emulator has threads of its own";
  EXPECT_EXIT(run([] {
                go([] {
                  lock_os_thread();
                  make_chan<int>().recv();
                });
                sleep(1ms);
                make_chan<int>().recv();
              }),
              testing::ExitedWithCode(2), "all goroutines are asleep - deadlock!");
}
#endif

}  // namespace
}  // namespace warren
