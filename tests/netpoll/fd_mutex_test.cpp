#include "netpoll/fd_mutex.h"

#include <mutex>
#include <vector>

#include "net_test.h"

namespace warren::rt {
struct fd_mutex_test {
  static int queued(fd_mutex& m, bool read) {
    std::lock_guard held(m.queue_lock_);
    int n = 0;
    for (auto* w = read ? m.readers_.head : m.writers_.head; w != nullptr; w = w->next) ++n;
    return n;
  }
};
}  // namespace warren::rt

namespace warren::net_test {
namespace {

using rt::fd_mutex;

void until_queued(fd_mutex& m, bool read, int n) {
  while (rt::fd_mutex_test::queued(m, read) < n) yield();
}

TEST(fd_mutex, last_reference_after_close_destroys) {
  fd_mutex m;
  EXPECT_TRUE(m.incref());
  EXPECT_TRUE(m.incref());
  EXPECT_FALSE(m.decref());
  EXPECT_TRUE(m.close());
  EXPECT_TRUE(m.closed());
  EXPECT_FALSE(m.incref());
  EXPECT_FALSE(m.try_lock(true));
  EXPECT_FALSE(m.decref()) << "close's own reference is left";
  EXPECT_TRUE(m.decref());
}

TEST(fd_mutex, second_close_fails) {
  fd_mutex m;
  EXPECT_TRUE(m.close());
  EXPECT_FALSE(m.close());
  EXPECT_TRUE(m.decref());
}

TEST(fd_mutex, directions_are_independent) {
  fd_mutex m;
  EXPECT_TRUE(m.try_lock(true));
  EXPECT_TRUE(m.try_lock(false));
  EXPECT_FALSE(m.try_lock(true));
  EXPECT_FALSE(m.try_lock(false));
  EXPECT_FALSE(m.unlock(true));
  EXPECT_TRUE(m.try_lock(true));
  EXPECT_FALSE(m.unlock(true));
  EXPECT_FALSE(m.unlock(false));
}

TEST(fd_mutex, unlock_after_close_reports_the_last) {
  fd_mutex m;
  EXPECT_TRUE(m.try_lock(true));
  EXPECT_TRUE(m.close());
  EXPECT_FALSE(m.decref());
  EXPECT_TRUE(m.unlock(true));
}

TEST(fd_mutex, waiters_are_served_in_order) {
  warren::run([] {
    fd_mutex m;
    ASSERT_TRUE(m.lock(true));
    std::vector<int> order;
    latch all(5);
    for (int i = 0; i < 5; ++i) {
      warren::go([&, i] {
        EXPECT_TRUE(m.lock(true));
        order.push_back(i);
        EXPECT_FALSE(m.unlock(true));
        all.done();
      });
      until_queued(m, true, i + 1);
    }
    EXPECT_FALSE(m.unlock(true));
    all.wait();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_TRUE(m.close());
    EXPECT_TRUE(m.decref());
  });
}

TEST(fd_mutex, close_wakes_the_queue) {
  warren::run([] {
    fd_mutex m;
    ASSERT_TRUE(m.lock(false));
    latch all(3);
    for (int i = 0; i < 3; ++i) {
      warren::go([&] {
        EXPECT_FALSE(m.lock(false));
        all.done();
      });
    }
    until_queued(m, false, 3);
    EXPECT_TRUE(m.close());
    all.wait();
    EXPECT_FALSE(m.decref());
    EXPECT_TRUE(m.unlock(false));
  });
}

TEST(fd_mutex, contended_counting) {
  warren::run([] {
    fd_mutex m;
    constexpr int kGoroutines = 20, kRounds = 500;
    int64_t counter = 0;  // guarded by the read lock
    latch all(kGoroutines);
    for (int i = 0; i < kGoroutines; ++i) {
      warren::go([&] {
        for (int k = 0; k < kRounds; ++k) {
          ASSERT_TRUE(m.lock(true));
          ++counter;
          if (k % 16 == 0) yield();  // with the lock held: others queue
          ASSERT_FALSE(m.unlock(true));
        }
        all.done();
      });
    }
    all.wait();
    EXPECT_EQ(counter, kGoroutines * kRounds);
    EXPECT_TRUE(m.close());
    EXPECT_TRUE(m.decref());
  });
}

TEST(fd_mutex_death, misuse_is_named) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        fd_mutex m;
        m.unlock(true);
      },
      "descriptor unlocked that was not locked");
  EXPECT_DEATH(
      {
        fd_mutex m;
        m.decref();
      },
      "released more often than acquired");
}

}  // namespace
}  // namespace warren::net_test
