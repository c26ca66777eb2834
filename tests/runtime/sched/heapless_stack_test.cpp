// A program that makes no collected object has no heap linked in, and so not the heap's scavenger: its stacks are looked after all the
// same.
#include <gtest/gtest.h>

#include "runtime/sched/hooks.h"
#include "runtime/sched/scheduler.h"
#include "tests/runtime/goroutine_burst.h"
#include "warren/go.h"
#include "warren/stats.h"

namespace warren {
namespace {

TEST(Heapless, TheMonitorGivesBackFreeStacks) {
  ASSERT_EQ(rt::sched_hooks.heap_scavenger, nullptr) << "something here needs the heap: the test is none";
  run([] {
    constexpr int kBurst = 600;
    warren::testing::goroutine_burst(kBurst, [] {});
    const uint64_t before = read_scheduler_stats().stacks_emptied;
    rt::scheduler::current()->pool().drain(rt::goroutine_pool::lull::no);
    while (read_scheduler_stats().stacks_emptied == before) yield();
    for (scheduler_stats s = read_scheduler_stats(); s.stack_released_bytes != s.stack_idle_bytes; s = read_scheduler_stats()) yield();
    EXPECT_GE(read_scheduler_stats().stacks_emptied - before + 64 * static_cast<uint64_t>(maxprocs()), static_cast<uint64_t>(kBurst) - 64);
  });
}

}  // namespace
}  // namespace warren
