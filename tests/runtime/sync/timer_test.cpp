// timer, ticker, after_func: when they fire, and that nothing comes after stop and reset.
#include "warren/timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "runtime/os/clock.h"
#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/select.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::until;

timer::time_point now() { return timer::time_point(std::chrono::nanoseconds(rt::nanotime())); }

// The timers of every P have been run up to this moment: a timer that was due has fired.
void let_due_timers_fire() {
  const timer t(0ns);
  t.c().recv();
}

TEST(Timer, DeliversTheTimeNotBeforeItIsDue) {
  run([] {
    const auto start = now();
    const timer t(2ms);
    const auto at = t.c().recv();
    ASSERT_TRUE(at);
    EXPECT_GE(*at, start + 2ms);
    EXPECT_LE(*at, now());
    EXPECT_FALSE(t.stop());
  });
}

TEST(Timer, NotPositiveFiresAtOnce) {
  run([] {
    for (auto d : {0ns, -1ns, std::chrono::nanoseconds::min()}) EXPECT_TRUE(timer(d).c().recv());
  });
}

TEST(Timer, NeverIsNeverLate) {
  run([] {
    const timer t(std::chrono::nanoseconds::max());
    EXPECT_EQ(select(recv(t.c()), after(1ms)), 1);
    EXPECT_TRUE(t.stop());
  });
}

TEST(Timer, StopPreventsAndSaysSoOnce) {
  run([] {
    const timer t(1h);
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.c().try_recv());
    EXPECT_FALSE(t.reset(0ns));
    EXPECT_TRUE(t.c().recv());
  });
}

TEST(Timer, TheChannelIsUnbufferedToWhoeverAsks) {
  run([] {
    const timer t(0ns);
    let_due_timers_fire();
    until([&] { return t.c().raw()->count() == 1; });
    EXPECT_EQ(t.c().size(), 0u);
    EXPECT_EQ(t.c().capacity(), 0u);
    EXPECT_TRUE(t.c().try_recv());
    EXPECT_FALSE(t.c().try_recv());
  });
}

// The value lies in the buffer, nobody has received it: as far as anybody can tell it never was.
TEST(Timer, StopDiscardsAValueNobodyReceived) {
  run([] {
    const timer t(0ns);
    until([&] { return t.c().raw()->count() == 1; });
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.c().try_recv());
    EXPECT_FALSE(t.stop());
  });
}

TEST(Timer, ResetDiscardsAValueNobodyReceived) {
  run([] {
    const timer t(0ns);
    until([&] { return t.c().raw()->count() == 1; });
    EXPECT_TRUE(t.reset(1h));
    EXPECT_FALSE(t.c().try_recv());
    EXPECT_TRUE(t.stop());
  });
}

TEST(Timer, ResetMovesIt) {
  run([] {
    const timer t(1h);
    EXPECT_TRUE(t.reset(1ms));
    EXPECT_TRUE(t.c().recv());
    EXPECT_FALSE(t.reset(1ms));
    EXPECT_TRUE(t.c().recv());
  });
}

TEST(Timer, AHandleCopiedIsTheSameTimer) {
  run([] {
    const timer t(1h);
    const timer u = t;
    EXPECT_TRUE(t.c() == u.c());
    EXPECT_TRUE(u.stop());
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(timer());
    EXPECT_FALSE(timer().c());
  });
}

TEST(Timer, AUserWhoClosesTheChannelGetsNoValueAndNoHarm) {
  run([] {
    const timer t(1ms);
    t.c().close();
    sleep(3ms);
    EXPECT_FALSE(t.c().recv());
    EXPECT_TRUE(t.stop());
  });
}

// Stop and reset against a firing that is under way, again and again: a value that comes after stop has returned is stale, and so is a
// time from before the reset.
TEST(Timer, NoStaleValuesUnderARace) {
  run([] {
    int prevented = 0, received = 0;
    const timer t(1h);
    for (int i = 0; i < 3000; ++i) {
      t.reset(std::chrono::microseconds(i % 30));
      std::optional<timer::time_point> before;
      switch (i % 3) {
        case 0: break;
        case 1:
          for (int k = 0; k < i % 17; ++k) yield();
          break;
        case 2: before = t.c().try_recv(); break;
      }
      const bool stopped = t.stop();
      EXPECT_FALSE(t.c().try_recv()) << "a value after stop";
      EXPECT_NE(stopped, before.has_value()) << "either prevented or received";
      (stopped ? prevented : received) += 1;
      const auto reset_at = now();
      t.reset(std::chrono::microseconds(i % 20));
      const auto at = t.c().recv();
      ASSERT_TRUE(at);
      EXPECT_GE(*at, reset_at) << "a value from before reset";
    }
    EXPECT_GT(prevented, 0);
  });
}

TEST(Timer, ManyGoroutinesStopAndResetOne) {
  run([] {
    const timer t(1h);
    std::atomic<int> received{0}, prevented{0}, starts{1};
    std::atomic<bool> over{false};
    wait_group work, receivers;
    for (int k = 0; k < 3; ++k)
      receivers.go([&, t] {
        while (!over) select(recv(t.c(), [&](std::optional<timer::time_point>) { ++received; }), after(100us));
      });
    for (int k = 0; k < 8; ++k)
      work.go([&, t, k] {
        for (int i = 0; i < 300; ++i) {
          if ((i + k) % 3 == 0) {
            prevented += t.stop();
          } else {
            prevented += t.reset(std::chrono::microseconds((i * 7 + k) % 40));
            ++starts;
          }
          if (i % 8 == 0) yield();
        }
      });
    work.wait();
    prevented += t.stop();
    over = true;
    receivers.wait();
    // Each start ended in exactly one way.
    EXPECT_EQ(received + prevented, starts);
  });
}

TEST(Timer, ThousandsAtOnce) {
  run([] {
    constexpr int kTimers = 5000;
    wait_group wg;
    std::atomic<int> fired{0};
    for (int i = 0; i < kTimers; ++i)
      wg.go([&, i] {
        const timer t(std::chrono::microseconds(i * 7 % 3000));
        if (i % 4 == 0) {
          fired += !t.stop();
        } else {
          fired += t.c().recv().has_value();
        }
      });
    wg.wait();
    EXPECT_GE(fired, kTimers * 3 / 4);
  });
}

// Nobody holds the timer, somebody waits in its channel.
TEST(Timer, TheChannelKeepsTheTimer) {
  run([] {
    wait_group wg;
    for (int i = 0; i < 50; ++i) {
      wg.go([] {
        const auto c = time_after(20ms);
        EXPECT_TRUE(c.recv());
      });
    }
    for (int i = 0; i < 4; ++i) {
      gc();
      for (int k = 0; k < 1000; ++k) *make<int>() = k;
    }
    wg.wait();
  });
}

uint64_t finalizers_run() { return read_mem_stats().gc.finalizers_run; }

[[gnu::noinline]] void make_and_forget(int n, std::chrono::nanoseconds d) {
  for (int i = 0; i < n; ++i) {
    if (i % 2 == 0) {
      ticker t(d);
    } else {
      timer t(d);
    }
  }
}
[[gnu::noinline]] void overwrite_the_stack() {
  volatile char junk[4096];
  for (size_t i = 0; i < sizeof junk; ++i) junk[i] = 0;
}

// Forgotten tickers are Go's classic leak; not any more since 1.23, and not here.
TEST(Timer, ForgottenOnesAreCollectedWhileTheyAreArmed) {
  run([] {
    constexpr int kMade = 400;
    for (auto d : {std::chrono::nanoseconds(1h), std::chrono::nanoseconds(50us)}) {
      const uint64_t before = finalizers_run();
      make_and_forget(kMade, d);
      overwrite_the_stack();
      testing::collect_until([&] { return finalizers_run() - before >= kMade * 9 / 10; });
      EXPECT_GE(finalizers_run() - before, kMade * 9u / 10);  // conservative stacks may remember a few
    }
  });
}

// Armed in one run, looked at in the next, whose Ps are others.
TEST(Timer, AfterItsRunATimerIsNotArmed) {
  struct holder {
    timer t, f;
    ticker k;
  };
  root<holder> kept;
  std::atomic<int> called{0};
  run([&] {
    kept = make<holder>(timer(1h), after_func(1h, [&] { ++called; }), ticker(1h));
    make_and_forget(10, 1h);
  });
  run([&] {
    gc();
    gc();
    const ptr<holder> h = kept;
    EXPECT_FALSE(h->t.stop());
    EXPECT_FALSE(h->f.stop());
    h->k.stop();
    EXPECT_FALSE(h->t.reset(0ns));
    EXPECT_TRUE(h->t.c().recv());
    EXPECT_FALSE(h->f.reset(0ns));
    until([&] { return called == 1; });
    h->k.reset(1ms);
    EXPECT_TRUE(h->k.c().recv());
    h->k.stop();
  });
}

TEST(Ticker, TicksUntilItIsStopped) {
  run([] {
    const auto start = now();
    const ticker t(1ms);
    timer::time_point last = start;
    for (int i = 1; i <= 5; ++i) {
      const auto at = t.c().recv();
      ASSERT_TRUE(at);
      EXPECT_GE(*at, start + i * 1ms);
      EXPECT_GT(*at, last);
      last = *at;
    }
    t.stop();
    EXPECT_FALSE(t.c().try_recv());
    EXPECT_EQ(select(recv(t.c()), after(5ms)), 1);
    t.reset(1ms);
    EXPECT_TRUE(t.c().recv());
    t.stop();
  });
}

TEST(Ticker, ASlowReceiverMissesTicks) {
  run([] {
    const ticker t(100us);
    sleep(5ms);
    until([&] { return t.c().raw()->count() == 1; });
    EXPECT_TRUE(t.c().try_recv());
    t.stop();
    EXPECT_FALSE(t.c().try_recv());
  });
}

TEST(Ticker, ResetLeavesNoTickOfTheOldPeriod) {
  run([] {
    const ticker t(20us);
    for (int i = 0; i < 200; ++i) {
      const auto reset_at = now();
      t.reset(i % 2 == 0 ? 50us : 20us);
      const auto at = t.c().recv();
      ASSERT_TRUE(at);
      EXPECT_GE(*at, reset_at + 20us);
    }
    t.stop();
  });
}

TEST(Ticker, TickOfNothingIsNil) {
  run([] {
    EXPECT_FALSE(tick(0ns));
    int n = 0;
    for (auto at : tick(200us)) {
      (void)at;
      if (++n == 3) break;
    }
    EXPECT_EQ(n, 3);
  });
}

TEST(AfterFunc, RunsOnAGoroutineOfItsOwn) {
  run([] {
    const chan<uint64_t> c = make_chan<uint64_t>();
    const timer t = after_func(1ms, [c] {
      yield();  // it may park
      c.send(goroutine_id());
    });
    EXPECT_FALSE(t.c());
    const auto id = c.recv();
    EXPECT_NE(*id, goroutine_id());
    EXPECT_NE(*id, 0u);
    EXPECT_FALSE(t.stop());
  });
}

TEST(AfterFunc, StopPreventsAndResetRunsItAgain) {
  run([] {
    std::atomic<int> n{0};
    const int64_t goroutines = goroutine_count();
    const timer t = after_func(1h, [&] { ++n; });
    EXPECT_EQ(goroutine_count(), goroutines) << "an armed timer is no goroutine";
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.stop());
    EXPECT_EQ(goroutine_count(), goroutines);
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.reset(0ns));
    until([&] { return n == 1; });
    EXPECT_FALSE(t.reset(0ns));
    until([&] { return n == 2; });
    until([&] { return goroutine_count() == goroutines; });
  });
}

struct counted {
  std::shared_ptr<int> alive = std::make_shared<int>(1);
  ptr<int> value;
};

// What the functions captured is kept while the timers are armed, by nothing but the timers, and destroyed some time after.
[[gnu::noinline]] void start_timers(int n, std::atomic<int>& right, std::vector<std::weak_ptr<int>>& alive) {
  for (int i = 0; i < n; ++i) {
    counted c;
    c.value = make<int>(4711);
    alive.push_back(c.alive);
    after_func(10ms, [c, &right] { right += *c.value == 4711; });
  }
}
TEST(AfterFunc, KeepsWhatItCaptured) {
  run([] {
    constexpr int kTimers = 100;
    std::atomic<int> right{0};
    std::vector<std::weak_ptr<int>> alive;
    start_timers(kTimers, right, alive);
    overwrite_the_stack();
    for (int i = 0; i < 5; ++i) {
      gc();
      for (int k = 0; k < 1000; ++k) *make<int>() = -1;
    }
    for (int i = 0; i < 1000 && right < kTimers; ++i) sleep(1ms);
    EXPECT_EQ(right, kTimers);
    const auto expired = [&] { return std::count_if(alive.begin(), alive.end(), [](const auto& a) { return a.expired(); }); };
    testing::collect_until([&] { return expired() >= kTimers * 9 / 10; });
    EXPECT_GE(expired(), kTimers * 9 / 10);  // conservative stacks may remember a few
  });
}

// Each start runs the function once, or its stop said true.
TEST(AfterFunc, StopAndFiringAgreeUnderARace) {
  run([] {
    std::atomic<int> ran{0};
    int prevented = 0, starts = 0;
    const timer t = after_func(1h, [&] { ++ran; });
    ++starts;
    for (int i = 0; i < 3000; ++i) {
      prevented += t.reset(std::chrono::microseconds(i % 25));
      ++starts;
      for (int k = 0; k < i % 13; ++k) yield();
      if (i % 5 == 0) prevented += t.stop();
    }
    prevented += t.stop();
    until([&] { return ran + prevented == starts; });
    EXPECT_GT(ran, 0);
    EXPECT_GT(prevented, 0);
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_EQ(ran + prevented, starts);
  });
}

class TimerDeathTest : public ::testing::Test {
 protected:
  TimerDeathTest() { tests::choose_death_style(); }
};

TEST_F(TimerDeathTest, Misuse) {
  EXPECT_DEATH(run([] { ticker t(0ns); }), "fatal error: goroutine 1: ticker with period 0 ns: it must be positive");
  EXPECT_DEATH(run([] { ticker(1s).reset(-1ns); }), "ticker with period -1 ns");
  EXPECT_DEATH(run([] { timer().stop(); }), "timer::stop of a nil timer: make it");
  EXPECT_DEATH(run([] { ticker().stop(); }), "ticker::stop of a nil ticker");
}

}  // namespace
}  // namespace warren
