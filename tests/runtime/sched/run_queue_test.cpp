// The local run queue by itself, then with a thief.
#include "runtime/sched/run_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "runtime/sched/g.h"

namespace warren::rt {
namespace {

std::vector<runnable> make_items(size_t n) { return std::vector<runnable>(n); }

TEST(RunQueue, IsFirstInFirstOut) {
  if (run_queue::kCapacity < 16) GTEST_SKIP() << "needs a ring of 16";
  run_queue q;
  auto items = make_items(10);
  run_queue::spill over;
  for (auto& r : items) ASSERT_TRUE(q.put(&r, false, &over));
  EXPECT_EQ(q.size(), 10u);
  bool inherit;
  for (auto& r : items) {
    EXPECT_EQ(q.get(&inherit), &r);
    EXPECT_FALSE(inherit);
  }
  EXPECT_EQ(q.get(&inherit), nullptr);
  EXPECT_TRUE(q.empty());
}

TEST(RunQueue, RunnextComesFirstAndPushesItsPredecessorToTheTail) {
  run_queue q;
  auto items = make_items(3);
  run_queue::spill over;
  q.put(&items[0], false, &over);
  q.put(&items[1], true, &over);
  q.put(&items[2], true, &over);
  bool inherit;
  EXPECT_EQ(q.get(&inherit), &items[2]);
  EXPECT_TRUE(inherit);
  EXPECT_EQ(q.get(&inherit), &items[0]);
  EXPECT_EQ(q.get(&inherit), &items[1]);
}

TEST(RunQueue, RunnextWinsAtMostThreeTimesInARowWhileOthersWait) {
  run_queue q;
  auto items = make_items(6);
  run_queue::spill over;
  bool inherit;
  q.put(&items[5], false, &over);  // the one that must not starve
  for (int i = 0; i < 3; ++i) {
    q.put(&items[i], true, &over);
    EXPECT_EQ(q.get(&inherit), &items[i]);
  }
  q.put(&items[3], true, &over);
  EXPECT_EQ(q.get(&inherit), &items[5]);
  EXPECT_EQ(q.get(&inherit), &items[3]);
}

TEST(RunQueue, RunnextAloneIsTakenForEver) {
  run_queue q;
  auto items = make_items(1);
  run_queue::spill over;
  bool inherit;
  for (int i = 0; i < 20; ++i) {
    q.put(&items[0], true, &over);
    EXPECT_EQ(q.get(&inherit), &items[0]);
  }
}

TEST(RunQueue, AFullRingGivesHalfAwayInOrder) {
  run_queue q;
  constexpr size_t n = run_queue::kCapacity;
  auto items = make_items(n + 1);
  run_queue::spill over;
  for (size_t i = 0; i < n; ++i) ASSERT_TRUE(q.put(&items[i], false, &over));
  ASSERT_FALSE(q.put(&items[n], false, &over));
  EXPECT_EQ(over.count, n / 2 + 1);
  runnable* r = over.head;
  for (size_t i = 0; i < n / 2; ++i, r = r->next) ASSERT_EQ(r, &items[i]);
  EXPECT_EQ(r, &items[n]);
  EXPECT_EQ(r, over.tail);
  EXPECT_EQ(r->next, nullptr);
  EXPECT_EQ(q.size(), n / 2);
}

TEST(RunQueue, AThiefTakesHalfRoundedUp) {
  if (run_queue::kCapacity < 16) GTEST_SKIP() << "needs a ring of 16";
  run_queue q;
  run_queue mine;
  auto items = make_items(7);
  run_queue::spill over;
  for (auto& r : items) q.put(&r, false, &over);
  uint32_t moved;
  runnable* r = mine.empty() ? q.steal_into(mine, false, &moved) : nullptr;
  ASSERT_NE(r, nullptr);
  EXPECT_EQ(moved, 4u);
  EXPECT_EQ(mine.size(), 3u);
  EXPECT_EQ(q.size(), 3u);
}

TEST(RunQueue, AThiefLeavesRunnextUnlessAskedFor) {
  run_queue q;
  run_queue mine;
  auto items = make_items(1);
  run_queue::spill over;
  q.put(&items[0], true, &over);
  uint32_t moved;
  EXPECT_EQ(q.steal_into(mine, false, &moved), nullptr);
  EXPECT_EQ(q.steal_into(mine, true, &moved), &items[0]);
  EXPECT_TRUE(q.empty());
}

// One owner puts and gets, two thieves steal: every item is seen exactly once.
TEST(RunQueue, NothingIsLostOrDoubledUnderTheft) {
  constexpr size_t n = 200'000;
  auto items = std::make_unique<runnable[]>(n);
  auto seen = std::make_unique<std::atomic<int>[]>(n);
  run_queue q;
  std::atomic<bool> done{false};
  std::atomic<size_t> count{0};
  auto note = [&](runnable* r) {
    seen[static_cast<size_t>(r - items.get())].fetch_add(1, std::memory_order_relaxed);
    count.fetch_add(1, std::memory_order_relaxed);
  };
  auto thief = [&](bool take_next) {
    run_queue mine;
    bool inherit;
    while (!done.load(std::memory_order_acquire) || !q.empty()) {
      uint32_t moved;
      if (runnable* r = q.steal_into(mine, take_next, &moved)) {
        note(r);
        while ((r = mine.get(&inherit)) != nullptr) note(r);
      }
    }
  };
  std::thread a(thief, false);
  std::thread b(thief, true);
  bool inherit;
  for (size_t i = 0; i < n; ++i) {
    run_queue::spill over;
    if (!q.put(&items[i], i % 3 == 0, &over)) {
      for (runnable* r = over.head; r != nullptr;) {
        runnable* next = r->next;
        note(r);
        r = next;
      }
    }
    if (i % 5 == 0)
      if (runnable* r = q.get(&inherit)) note(r);
  }
  while (runnable* r = q.get(&inherit)) note(r);
  done.store(true, std::memory_order_release);
  a.join();
  b.join();
  EXPECT_EQ(count.load(), n);
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(seen[i].load(), 1) << i;
}

}  // namespace
}  // namespace warren::rt
