// Switches from goroutine to goroutine without the scheduler's stack: that they happen, and that nothing waits for ever because of them.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "runtime/sched/g.h"
#include "runtime/sched/park.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/stats.h"
#include "warren/sync.h"
#include "warren/timer.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

// Two goroutines that have nothing to do but to make way for each other, while the caller waits for `waits`.
template <class F>
void beside_two_that_yield(F&& waits) {
  std::atomic<bool> end{false};
  wait_group wg;
  for (int i = 0; i < 2; ++i)
    wg.go([&] {
      while (!end) yield();
    });
  waits();
  end = true;
  wg.wait();
}

TEST(DirectSwitch, IsTheUsualWayBetweenTwo) {
  run([] {
    set_maxprocs(1);
    const scheduler_stats before = read_scheduler_stats();
    const auto ping = make_chan<int>(), pong = make_chan<int>();
    go([ping, pong] {
      while (const auto v = ping.recv()) pong.send(*v);
      pong.close();
    });
    for (int i = 0; i < 1000; ++i) {
      ping.send(i);
      EXPECT_EQ(pong.recv(), i);
    }
    ping.close();
    EXPECT_FALSE(pong.recv());
    const scheduler_stats after = read_scheduler_stats();
    EXPECT_GT(after.direct_switches - before.direct_switches, (after.switches - before.switches) / 2);
    EXPECT_LT(after.direct_switches, after.switches) << "the loop has its turns, too";
  });
}

TEST(DirectSwitch, TimersFireMeanwhile) {
  run([] {
    set_maxprocs(1);
    beside_two_that_yield([] { sleep(1ms); });
  });
}

TEST(DirectSwitch, TheGlobalQueueIsServedMeanwhile) {
  run([] {
    set_maxprocs(1);
    beside_two_that_yield([] {
      std::atomic<rt::g*> parked{nullptr};
      std::thread stranger([&] {
        while (parked == nullptr) std::this_thread::yield();
        rt::goready(parked);  // a thread without a P has only the global queue
      });
      rt::gopark(
          [](rt::g* gp, void* to) {
            *static_cast<std::atomic<rt::g*>*>(to) = gp;
            return true;
          },
          &parked, rt::wait_reason::other);
      stranger.join();
    });
  });
}

// What was left says in its commit that it need not wait: by then another one runs.
TEST(DirectSwitch, AParkThatIsRefusedGoesOnLater) {
  run([] {
    set_maxprocs(1);
    wait_group wg;
    wg.go([] {});
    wg.wait();  // main has left the calling thread, where nobody else runs and so nobody is switched to
    const uint64_t before = read_scheduler_stats().direct_switches;
    int others = 0;
    for (int i = 0; i < 50; ++i) {
      wg.go([&] { ++others; });
      bool asked = false;
      rt::gopark(
          [](rt::g*, void* a) {
            *static_cast<bool*>(a) = true;
            return false;
          },
          &asked, rt::wait_reason::other);
      EXPECT_TRUE(asked);
    }
    wg.wait();
    EXPECT_EQ(others, 50);
    EXPECT_GT(read_scheduler_stats().direct_switches, before);
  });
}

// The one that is due belongs to another thread.
TEST(DirectSwitch, AGoroutineLockedToAThreadRunsThere) {
  run([] {
    set_maxprocs(1);
    wait_group wg;
    wg.go([&] {
      lock_os_thread();
      const std::thread::id mine = std::this_thread::get_id();
      for (int i = 0; i < 200; ++i) {
        yield();
        EXPECT_EQ(std::this_thread::get_id(), mine);
      }
      unlock_os_thread();
    });
    beside_two_that_yield([&] { wg.wait(); });
  });
}

// Not inline: the address of errno is the thread's, which may change at a switch, and the compiler believes it constant.
[[gnu::noinline]] void set_errno(int e) {
  asm volatile("");
  errno = e;
}
[[gnu::noinline]] int get_errno() {
  asm volatile("");
  return errno;
}

// Exceptions in flight and errno belong to the goroutine, also across a direct switch.
TEST(DirectSwitch, KeepsExceptionsAndErrnoApart) {
  run([] {
    set_maxprocs(1);
    wait_group wg;
    for (int k = 0; k < 3; ++k)
      wg.go([k] {
        for (int i = 0; i < 50; ++i) {
          try {
            throw k;
          } catch (int caught) {
            set_errno(100 + k);
            yield();
            EXPECT_EQ(get_errno(), 100 + k);
            EXPECT_EQ(caught, k);
            try {
              throw;
            } catch (int again) {
              EXPECT_EQ(again, k);
            }
          }
        }
      });
    wg.wait();
  });
}

}  // namespace
}  // namespace warren
