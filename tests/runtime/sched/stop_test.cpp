// Stopping the world, and what it shows.
#include "runtime/sched/stop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "runtime/os/futex.h"
#include "runtime/sched/m.h"
#include "warren/go.h"
#include "warren/stats.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

TEST(Stop, NothingRunsWhileTheWorldStands) {
  run([] {
    std::atomic<bool> end{false};
    std::atomic<uint64_t> steps{0};
    for (int i = 0; i < 50; ++i)
      go([&] {
        while (!end) {
          ++steps;
          yield();
        }
      });
    for (int round = 0; round < 200; ++round) {
      rt::stop_the_world("test");
      const uint64_t before = steps;
      for (int i = 0; i < 20'000; ++i) asm volatile("");
      EXPECT_EQ(steps.load(), before);
      rt::start_the_world();
      yield();
    }
    end = true;
    EXPECT_GE(read_scheduler_stats().world_stops, 200u);
  });
}

TEST(Stop, SeveralStoppersTakeTurns) {
  run([] {
    std::atomic<int> inside{0};
    std::atomic<int> done{0};
    constexpr int n = 40;
    for (int i = 0; i < n; ++i)
      go([&] {
        for (int j = 0; j < 20; ++j) {
          rt::stop_the_world("test");
          EXPECT_EQ(++inside, 1);
          --inside;
          rt::start_the_world();
        }
        ++done;
      });
    while (done < n) yield();
  });
}

TEST(Stop, BlockingRegionsAndSleepersSurviveIt) {
  run([] {
    std::atomic<int> done{0};
    constexpr int n = 60;
    for (int i = 0; i < n; ++i)
      go([&] {
        for (int j = 0; j < 20; ++j) {
          blocking([] {
            rt::note nobody;
            nobody.sleep(50'000);
          });
          sleep(20us);
        }
        ++done;
      });
    while (done < n) {
      rt::stop_the_world("test");
      rt::start_the_world();
      yield();
    }
  });
}

TEST(Stop, EveryStackAndUnstartedClosureIsVisited) {
  run([] {
    struct finder {
      uintptr_t wanted[3];
      int found[3] = {};
      // Reads whole stacks, red zones included.
      __attribute__((no_sanitize("address"))) static void look(void* ctx, const void* lo, const void* hi) {
        auto* f = static_cast<finder*>(ctx);
        for (auto* w = static_cast<const uintptr_t*>(lo); w < static_cast<const uintptr_t*>(hi); ++w)
          for (int i = 0; i < 3; ++i)
            if (*w == ~f->wanted[i]) ++f->found[i];  // stored inverted, so that the finder does not find itself
      }
    } f;
    const uintptr_t parked = 0x5eed0001'00c0ffeeu;
    const uintptr_t in_blocking = 0x5eed0002'00c0ffeeu;
    const uintptr_t unstarted = 0x5eed0003'00c0ffeeu;
    f.wanted[0] = ~parked;
    f.wanted[1] = ~in_blocking;
    f.wanted[2] = ~unstarted;
    std::atomic<int> ready{0};
    rt::note release;
    std::atomic<bool> finished{false};
    go([&] {
      volatile uintptr_t v = parked;
      ++ready;
      sleep(100ms);
      EXPECT_EQ(v, parked);
    });
    go([&] {
      volatile uintptr_t v = in_blocking;
      blocking([&] {
        ++ready;
        release.sleep();
      });
      EXPECT_EQ(v, in_blocking);
      finished = true;
    });
    while (ready < 2) yield();
    rt::stop_the_world("test");
    // Spawned while the world stands: it cannot have started.
    go([v = unstarted] { EXPECT_NE(v, 0u); });
    rt::systemstack([](void* ctx) { rt::for_each_stack(&finder::look, ctx); }, &f);
    rt::start_the_world();
    EXPECT_GT(f.found[0], 0);
    EXPECT_GT(f.found[1], 0);
    EXPECT_GT(f.found[2], 0);
    release.wakeup();
    while (!finished) yield();
  });
}

// The time slice of the goroutine that stopped the world ends while it stands: the safepoints it meets must not stop it, too (it hung).
TEST(Stop, TheStopperIsNotPreempted) {
  run([] {
    rt::stop_the_world("test");
    rt::getm()->requests.fetch_or(rt::request_preempt);
    std::atomic<bool> ran{false};
    go([&] { ran = true; });  // a safepoint
    EXPECT_FALSE(ran);
    rt::start_the_world();
    while (!ran) yield();
  });
}

// The main goroutine ends while others stop the world, or are about to: Ms that leave never come to the stop (the stopper waited for them
// for ever).
TEST(Stop, TheRunMayEndDuringAStop) {
  for (int round = 0; round < 50; ++round) {
    run([round] {
      for (int i = 0; i < 4; ++i)
        go([] {
          for (;;) {
            rt::stop_the_world("test");
            rt::start_the_world();
          }
        });
      for (int i = 0; i < round % 3; ++i) yield();  // each waits for the others' time slices
    });
  }
}

// A goroutine that is just coming out of a blocking region when the run ends must hear of it.
TEST(Stop, TheRunMayEndWhileOthersLeaveBlockingRegions) {
  for (int round = 0; round < 50; ++round) {
    run([round] {
      for (int i = 0; i < 4; ++i)
        go([] {
          for (;;) blocking([] {});
        });
      for (int i = 0; i < round % 3; ++i) yield();  // each waits for the others' time slices
    });
  }
}

}  // namespace
}  // namespace warren
