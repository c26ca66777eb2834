// How a program ends when it must: each in a child process.
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "runtime/sched/maxprocs.h"
#include "runtime/sched/park.h"
#include "runtime/sched/stop.h"
#include "tests/death_style.h"
#include "warren/go.h"

namespace warren {
namespace {

class LifecycleDeathTest : public testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

[[noreturn]] void print_then_exit(int status) {
  fputs("code after run\n", stderr);
  _exit(status);
}

TEST_F(LifecycleDeathTest, AllGoroutinesAsleepIsADeadlockThatListsThem) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan has a thread of its own, and a thread that warren did not start could still ready somebody";
#endif
  if (tests::emulated()) GTEST_SKIP() << "the emulator has a thread of its own, which could still ready somebody for all that warren knows";
  EXPECT_EXIT(run([] {
                go([] { rt::gopark(nullptr, nullptr, rt::wait_reason::chan_receive); });
                rt::gopark(nullptr, nullptr, rt::wait_reason::sync_mutex_lock);
              }),
              testing::ExitedWithCode(2),
              "all goroutines are asleep - deadlock!(.|\n)*goroutine 1 \\[sync.Mutex.Lock\\](.|\n)*\\[chan receive\\]");
}

TEST_F(LifecycleDeathTest, AnEscapedExceptionNamesTheGoroutineAndTheException) {
  EXPECT_DEATH(run([] {
                 go([] { throw std::runtime_error("the reason"); });
                 for (;;) yield();
               }),
               "fatal error: goroutine [0-9]+: uncaught exception std::runtime_error: the reason");
}

TEST_F(LifecycleDeathTest, AStackOverflowIsNamed) {
#if !defined(__SANITIZE_ADDRESS__)
  struct deep {
    static int down(int n) {
      volatile char frame[512];
      frame[0] = static_cast<char>(n);
      return n < 0 ? 0 : down(n + 1) + frame[0];
    }
  };
  EXPECT_DEATH(run([] {
                 go([] { deep::down(1); });
                 for (;;) yield();
               }),
               "fatal error: goroutine [0-9]+: stack overflow");
#endif
}

TEST_F(LifecycleDeathTest, TwoReadiesOfOneParkAreNamed) {
  EXPECT_DEATH(run([] {
                 rt::g* self = rt::getg();
                 go([self] {
                   rt::goready(self);
                   rt::goready(self);
                 });
                 rt::gopark(nullptr, nullptr, rt::wait_reason::other);
               }),
               "goready of goroutine 1, which is (runnable|running)");
}

TEST_F(LifecycleDeathTest, AGoroutineOperationInABlockingRegionIsNamed) {
  EXPECT_DEATH(run([] { blocking([] { yield(); }); }), "inside warren::blocking");
}

TEST_F(LifecycleDeathTest, AGoroutineOperationOnAForeignThreadIsNamed) {
  EXPECT_DEATH(run([] {
                 std::thread t([] { go([] {}); });
                 t.join();
               }),
               "on a thread that warren did not start");
}

TEST_F(LifecycleDeathTest, ABadNumberOfPsIsNamed) {
  for (const char* bad : {"0", "-1", "many", "2x", "99999"}) {
    EXPECT_DEATH(
        {
          setenv("WARREN_MAXPROCS", bad, 1);
          run([] {});
        },
        "want a number from 1 to 1024; correct it or unset it");
  }
}

// On one P a goroutine that main gives way to would be on main's thread if any other were ever let there.
TEST_F(LifecycleDeathTest, RunReturnsWhateverOtherGoroutinesDo) {
  setenv("WARREN_MAXPROCS", "1", 1);
  for (void (*occupy)() : {+[] {
                             for (;;) asm volatile("");
                           },
                           +[] {
                             for (;;) pause();
                           },
                           +[] {
                             blocking([] {
                               for (;;) pause();
                             });
                           }}) {
    EXPECT_EXIT(
        {
          static std::atomic<bool> there;
          const int result = run([&] {
            go([&] {
              there = true;
              occupy();
            });
            while (!there) yield();
            yield();
            return 7;
          });
          print_then_exit(result);
        },
        testing::ExitedWithCode(7), "code after run");
  }
  unsetenv("WARREN_MAXPROCS");
}

TEST_F(LifecycleDeathTest, OnlyMainRunsOnTheCallingThread) {
  const pid_t caller = gettid();
  run([&] {
    std::atomic<int> left{1000}, there{0};
    for (int i = 0; i < 1000; ++i)
      go([&] {
        yield();
        there += gettid() == caller;
        --left;
      });
    while (left > 0) yield();
    EXPECT_EQ(there, 0);
  });
}

TEST_F(LifecycleDeathTest, RunInsideRunIsRefused) {
  EXPECT_DEATH(run([] { run([] {}); }), "warren::run inside warren::run");
}

TEST(MaxProcs, ReadsTheCgroupsQuota) {
  EXPECT_EQ(rt::parse_cpu_max("max 100000"), 0);
  EXPECT_EQ(rt::parse_cpu_max("100000 100000"), 1);
  EXPECT_EQ(rt::parse_cpu_max("150000 100000"), 2);
  EXPECT_EQ(rt::parse_cpu_max("50000 100000"), 1);
  EXPECT_EQ(rt::parse_cpu_max(""), 0);
  EXPECT_EQ(rt::parse_cpu_max("x y"), 0);
  EXPECT_EQ(rt::parse_cpu_max("100000 0"), 0);
}

}  // namespace
}  // namespace warren
