// Who owes marking and waits: order, parts, the end of the marking, and no wake-up lost.
#include "runtime/gc/assist_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace warren::rt {
namespace {

class AssistQueue : public ::testing::Test {
 protected:
  struct goroutine : assist_queue::waiter {
    AssistQueue* test = nullptr;
    int number = 0;
  };
  void SetUp() override { q.open(); }
  goroutine& owes(int64_t debt) {
    const int n = static_cast<int>(made.size());
    auto& g = made.emplace_back(std::make_unique<goroutine>());
    g->debt = debt;
    g->test = this;
    g->number = n;
    g->wake = [](assist_queue::waiter* w) noexcept {
      auto* const g = static_cast<goroutine*>(w);
      g->test->woken.push_back(g->number);
    };
    return *g;
  }
  void work(int64_t n) {
    q.add(n);
    q.wake_paid();
  }
  using order = std::vector<int>;

  assist_queue q;
  std::vector<std::unique_ptr<goroutine>> made;
  order woken;
};

TEST_F(AssistQueue, CreditPaysInOrderAndInPart) {
  for (const int64_t debt : {100, 10, 50}) EXPECT_TRUE(q.wait(&owes(debt)));
  work(60);
  EXPECT_EQ(woken, order{}) << "paid in part";
  EXPECT_EQ(made[0]->debt, 40);
  EXPECT_EQ(made[1]->debt, 10) << "not before the first";
  work(45);
  EXPECT_EQ(woken, order({0}));
  EXPECT_EQ(made[1]->debt, 5);
  work(1000);
  EXPECT_EQ(woken, order({0, 1, 2}));
  EXPECT_EQ(q.take(10000), 945) << "the rest is credit";
  EXPECT_EQ(q.waits(), 3u);
}

TEST_F(AssistQueue, NobodyOvertakesThoseWhoWait) {
  EXPECT_TRUE(q.wait(&owes(100)));
  work(50);
  EXPECT_EQ(q.take(10), 0);
  EXPECT_TRUE(q.wait(&owes(1)));
  work(50);
  EXPECT_EQ(woken, order({0}));
  work(1);
  EXPECT_EQ(woken, order({0, 1}));
  work(7);
  EXPECT_EQ(q.take(10), 7);
}

TEST_F(AssistQueue, CreditThatIsThereIsTakenInsteadOfWaiting) {
  q.add(70);
  EXPECT_FALSE(q.wait(&owes(70)));
  EXPECT_EQ(made[0]->debt, 0);
  q.add(30);
  EXPECT_TRUE(q.wait(&owes(40)));
  EXPECT_EQ(made[1]->debt, 10);
  work(10);
  EXPECT_EQ(woken, order({1})) << "who did not wait is not woken";
}

TEST_F(AssistQueue, TheEndOfTheMarkingForgivesAll) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(q.wait(&owes(1000)));
  q.close();
  EXPECT_EQ(woken, order{}) << "in the pause nobody is woken";
  q.wake_paid();
  EXPECT_EQ(woken, order({0, 1, 2}));
  for (const auto& g : made) EXPECT_EQ(g->debt, 0);
  EXPECT_FALSE(q.wait(&owes(5))) << "too late to wait";
  EXPECT_EQ(made[3]->debt, 0);
  q.open();
  EXPECT_EQ(q.take(1), 0) << "credit of another cycle";
  EXPECT_TRUE(q.wait(&owes(5)));
  q.forgive();
  q.wake_paid();
  EXPECT_EQ(woken, order({0, 1, 2, 4})) << "the limit is not near any more";
  EXPECT_TRUE(q.wait(&owes(5))) << "but may be again";
  work(5);
  EXPECT_EQ(woken.size(), 5u);
}

// Threads that wait until they are woken, others that pay just as much as is owed: were a wake-up lost, or a byte, this would not end.
TEST_F(AssistQueue, NoWakeUpIsLost) {
  constexpr int kWaiters = 3, kPayers = 2, kRounds = 20'000;
  constexpr int64_t kDebt = 6;
  struct thread : assist_queue::waiter {
    std::atomic<uint32_t> woken{0};
  };
  std::atomic<int64_t> owed{0};  // by those who are about to wait
  std::atomic<bool> over{false};
  std::array<thread, kWaiters> all;  // they outlive who notifies
  std::vector<std::thread> threads, payers;
  for (int t = 0; t < kWaiters; ++t) {
    threads.emplace_back([&, t] {
      thread& me = all[static_cast<size_t>(t)];
      me.wake = [](assist_queue::waiter* w) noexcept {
        auto* const woken = &static_cast<thread*>(w)->woken;
        woken->store(1);
        woken->notify_one();
      };
      for (int i = 0; i < kRounds; ++i) {
        me.debt = kDebt;
        me.woken.store(0);
        owed.fetch_add(kDebt);
        if (q.wait(&me)) me.woken.wait(0);
        ASSERT_EQ(me.debt, 0);
      }
    });
  }
  for (int t = 0; t < kPayers; ++t) {
    payers.emplace_back([&, t] {
      while (!over.load()) {
        int64_t due = owed.load();
        const int64_t part = std::min<int64_t>(due, 1 + t * 3);
        if (part == 0 || !owed.compare_exchange_weak(due, due - part)) {
          std::this_thread::yield();
          continue;
        }
        q.add(part);
        q.wake_paid();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  over = true;
  for (std::thread& t : payers) t.join();
  EXPECT_EQ(q.take(1'000'000), 0);
  EXPECT_EQ(owed.load(), 0);
}

}  // namespace
}  // namespace warren::rt
