// sysmon: what it does for those who cannot do it themselves, with a stand-in for the collector behind its hooks.
#include <gtest/gtest.h>

#include <atomic>

#include "runtime/os/futex.h"
#include "runtime/sched/hooks.h"
#include "warren/go.h"
#include "warren/stats.h"

namespace warren {
namespace {

std::atomic<int> due{0};
std::atomic<int> collected{0};

class Sysmon : public testing::Test {
 protected:
  void SetUp() override {
    saved_ = rt::sched_hooks;
    due = 0;
    collected = 0;
    rt::sched_hooks.gc_is_due = [] { return due.load() > collected.load(); };
    rt::sched_hooks.forced_gc = [] {
      EXPECT_GT(goroutine_id(), 1u) << "on a goroutine of its own";
      ++collected;
    };
  }
  void TearDown() override { rt::sched_hooks = saved_; }

 private:
  rt::scheduler_hooks saved_;
};

TEST_F(Sysmon, StartsACollectionWhenOneIsDueAndNotOtherwise) {
  run([] {
    for (int i = 0; i < 1000; ++i) yield();
    EXPECT_EQ(collected.load(), 0);
    for (int round = 1; round <= 3; ++round) {
      due = round;
      while (collected < round) yield();
    }
    EXPECT_EQ(collected.load(), 3);
  });
}

TEST_F(Sysmon, TakesThePOfABlockingCallThatLasts) {
  run([] {
    const uint64_t before = read_scheduler_stats().retakes;
    std::atomic<bool> other_ran{false};
    go([&] { other_ran = true; });
    // On one P only a retake lets the other goroutine run while this one blocks; the call ends when it has.
    if (maxprocs() == 1) {
      const bool had_run = other_ran;  // main was put aside before the call
      blocking([&] {
        rt::note never;
        while (!other_ran) never.sleep(100'000);
      });
      if (!had_run) {
        EXPECT_GT(read_scheduler_stats().retakes, before);
      }
    }
    while (!other_ran) yield();
  });
}

}  // namespace
}  // namespace warren
