// The 4-ary heap against a sorted model, then stop against a firing that is under way.
#include "runtime/sched/timer_heap.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "runtime/os/clock.h"
#include "runtime/os/cpu.h"
#include "warren/go.h"

namespace warren::rt {
namespace {

struct recorder {
  std::vector<uintptr_t> fired;
  static void fire(void* arg, uintptr_t seq) { static_cast<recorder*>(arg)->fired.push_back(seq); }
};

TEST(TimerHeap, FiresInOrderOfTimeAndReportsTheNext) {
  timer_heap h;
  recorder r;
  timer t[3];
  const int64_t when[] = {30, 10, 20};
  for (int i = 0; i < 3; ++i) {
    t[i].fn = &recorder::fire;
    t[i].arg = &r;
    t[i].seq = static_cast<uintptr_t>(when[i]);
    t[i].when = when[i];
    h.add(&t[i]);
  }
  EXPECT_EQ(h.earliest(), 10);
  int64_t next;
  EXPECT_EQ(h.run(9, &next), 0u);
  EXPECT_EQ(next, 10);
  EXPECT_EQ(h.run(20, &next), 2u);
  EXPECT_EQ(next, 30);
  EXPECT_EQ(r.fired, (std::vector<uintptr_t>{10, 20}));
  EXPECT_EQ(h.run(31, &next), 1u);
  EXPECT_EQ(next, 0);
  EXPECT_TRUE(h.empty());
}

TEST(TimerHeap, AgreesWithASortedListUnderRandomAddsAndRemovals) {
  std::mt19937 random(42);
  timer_heap h;
  recorder r;
  constexpr int n = 2'000;
  std::vector<timer> t(n);
  std::vector<uintptr_t> expected;
  for (int i = 0; i < n; ++i) {
    t[i].fn = &recorder::fire;
    t[i].arg = &r;
    t[i].when = 1 + static_cast<int64_t>(random() % 100'000);
    t[i].seq = static_cast<uintptr_t>(t[i].when);
    h.add(&t[i]);
  }
  for (int i = 0; i < n; ++i) {
    if (random() % 2 == 0) {
      std::lock_guard guard(h.lock());
      ASSERT_TRUE(h.remove(&t[i]));
      ASSERT_FALSE(h.remove(&t[i]));
    } else {
      expected.push_back(t[i].seq);
    }
  }
  std::sort(expected.begin(), expected.end());
  int64_t next;
  for (int64_t now = 0; now <= 100'000; now += 977) h.run(now, &next);
  h.run(200'000, &next);
  EXPECT_EQ(r.fired, expected);
}

TEST(TimerHeap, APeriodicTimerSkipsWhatItMissed) {
  timer_heap h;
  recorder r;
  timer t;
  t.fn = &recorder::fire;
  t.arg = &r;
  t.when = 10;
  t.period = 10;
  h.add(&t);
  int64_t next;
  EXPECT_EQ(h.run(35, &next), 1u);
  EXPECT_EQ(next, 40);
  EXPECT_EQ(h.run(40, &next), 1u);
  EXPECT_EQ(next, 50);
}

TEST(TimerHeap, ASecondRunnerLeavesItToTheFirst) {
  timer_heap h;
  struct gate {
    std::atomic<bool> entered{false};
    std::atomic<bool> go_on{false};
    static void fire(void* arg, uintptr_t) {
      auto* g = static_cast<gate*>(arg);
      g->entered = true;
      while (!g->go_on) cpu_pause();
    }
  } g;
  timer t;
  t.fn = &gate::fire;
  t.arg = &g;
  t.when = 1;
  h.add(&t);
  std::thread runner([&] {
    int64_t next;
    h.run(5, &next);
  });
  while (!g.entered) std::this_thread::yield();
  EXPECT_EQ(h.running(), &t);
  timer other;
  other.fn = &recorder::fire;
  recorder r;
  other.arg = &r;
  other.when = 2;
  h.add(&other);
  int64_t next;
  EXPECT_EQ(h.run(5, &next), 0u);
  EXPECT_EQ(next, 5) << "the caller must come back soon";
  g.go_on = true;
  runner.join();
  EXPECT_EQ(r.fired.size(), 1u) << "the first runner goes on with what became due meanwhile";
}

// A periodic timer is back in its heap while its function runs: taking it out there is not all of stopping it.
TEST(TimerStop, SyncWaitsForTheFunctionOfAPeriodicTimer) {
  struct gate {
    std::atomic<bool> inside{false};
    std::atomic<bool> go_on{false};
    std::atomic<int> fired{0};
    static void fire(void* arg, uintptr_t) {
      auto* g = static_cast<gate*>(arg);
      g->inside = true;
      ++g->fired;
      while (!g->go_on) sched_yield();
      g->inside = false;
    }
  };
  warren::run([] {
    if (warren::maxprocs() < 2) warren::set_maxprocs(2);  // the function occupies one of them
    for (const int64_t period : {int64_t{0}, int64_t{1'000'000}, int64_t{3'600'000'000'000}}) {
      gate g;
      timer t;
      t.fn = &gate::fire;
      t.arg = &g;
      t.when = nanotime();
      t.period = period;
      timer_start(&t);
      while (!g.inside) warren::yield();
      std::atomic<bool> stopping{false};
      std::thread opener([&] {
        while (!stopping) std::this_thread::yield();
        for (int i = 0; i < 2000; ++i) std::this_thread::yield();  // a stop that does not wait is through by now
        g.go_on = true;
      });
      stopping = true;
      const bool prevented = timer_stop_sync(&t);
      EXPECT_FALSE(g.inside) << "period " << period;
      EXPECT_EQ(prevented, period != 0);
      opener.join();
      const int fired = g.fired;
      warren::sleep(std::chrono::milliseconds(3));
      EXPECT_EQ(g.fired, fired) << "period " << period;
      EXPECT_FALSE(timer_stop_sync(&t)) << "period " << period;
    }
  });
}

}  // namespace
}  // namespace warren::rt
