// wait_group: waits for all, may be destroyed after wait, may be used again.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "runtime/sched/g.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

TEST(WaitGroup, WaitsForAll) {
  run([] {
    wait_group wg;
    wg.wait();  // zero: at once
    int ended[50] = {};
    for (int& e : ended)
      wg.go([&e] {
        yield();
        e = 1;
      });
    wg.wait();
    for (int e : ended) EXPECT_EQ(e, 1);
  });
}

TEST(WaitGroup, ManyWaiters) {
  run([] {
    wait_group work, waiters;
    work.add(3);
    std::atomic<int> passed{0};
    for (int i = 0; i < 10; ++i)
      waiters.go([&] {
        work.wait();
        ++passed;
      });
    work.add(-2);
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_EQ(passed, 0);
    work.done();
    waiters.wait();
    EXPECT_EQ(passed, 10);
  });
}

TEST(WaitGroup, UsedAgain) {
  run([] {
    wait_group wg;
    for (int round = 0; round < 1000; ++round) {
      int sum = 0;
      wg.add(2);
      go([&] {
        sum += 1;
        wg.done();
      });
      wg.done();
      wg.wait();
      EXPECT_EQ(sum, 1);
    }
  });
}

TEST(WaitGroup, MayDieAfterWait) {
  run([] {
    for (int i = 0; i < 3000; ++i) {
      auto wg = std::make_unique<wait_group>();
      wg->go([] {});
      wg->go([] { yield(); });
      wg->wait();
    }
  });
}

TEST(WaitGroup, DumpsSayThatItIsWaitedFor) {
  run([] {
    wait_group wg, outer;
    wg.add(1);
    std::atomic<rt::g*> gp{nullptr};
    outer.go([&] {
      gp = rt::getg();
      wg.wait();
    });
    while (gp == nullptr || gp.load()->status.load() != rt::g_status::waiting) yield();
    EXPECT_STREQ(to_string(gp.load()->reason), "sync.WaitGroup.Wait");
    wg.done();
    outer.wait();
  });
}

}  // namespace
}  // namespace warren
