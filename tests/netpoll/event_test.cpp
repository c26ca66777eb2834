#include "netpoll/event.h"

#include "net_test.h"
#include "runtime/os/clock.h"

namespace warren::net_test {
namespace {

TEST(event, set_before_wait_counts_once) {
  warren::run([] {
    rt::event e;
    e.set();
    e.set();
    EXPECT_TRUE(e.wait(0));
    EXPECT_FALSE(e.wait(1)) << "a deadline that has passed";
    EXPECT_FALSE(e.wait(rt::nanotime() + 1'000'000)) << "one that passes";
    e.set();
    EXPECT_TRUE(e.wait(1)) << "what has happened counts, also after the deadline";
  });
}

TEST(event, set_by_a_goroutine_and_by_a_thread) {
  warren::run([] {
    rt::event e;
    {
      task setter([&] { e.set(); });
      EXPECT_TRUE(e.wait(0));
    }
    std::thread t([&] { e.set(); });
    EXPECT_TRUE(e.wait(0, true));
    t.join();
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

// The event is destroyed as soon as wait has returned: set() must not touch it after it has let the waiter go.
TEST(event, destroyed_by_its_waiter_while_threads_set) {
  warren::run([] {
    std::atomic<rt::event*> current{nullptr};
    std::atomic<bool> stop{false};
    std::thread setter([&] {
      while (!stop) {
        if (rt::event* e = current.exchange(nullptr)) e->set();
      }
    });
    for (int i = 0; i < 20000; ++i) {
      auto e = std::make_unique<rt::event>();
      current.store(e.get());
      EXPECT_TRUE(e->wait(0, true));
    }
    stop = true;
    setter.join();
  });
}

// Deadlines of a few microseconds against setters: each set is seen once, whether it comes before, with or after the timer.
TEST(event, timers_and_setters_race) {
  warren::run([] {
    rt::event e;
    std::atomic<int> to_set{0};
    std::atomic<bool> stop{false};
    std::thread setter([&] {
      while (!stop) {
        if (to_set.load() > 0) {
          to_set.fetch_sub(1);
          e.set();
        }
      }
    });
    int expired = 0;
    for (int i = 0; i < 5000; ++i) {
      to_set.fetch_add(1);
      while (!e.wait(rt::nanotime() + i % 20 * 1000, true)) ++expired;
    }
    stop = true;
    setter.join();
    EXPECT_EQ(to_set.load(), 0);
    EXPECT_GT(expired, 0) << "the race was not run";
  });
}

TEST(event, waiter_of_an_earlier_run_is_left_alone) {
  static rt::event* e = new rt::event;
  warren::run([] {
    int error = 0;
    rt::poller::get(&error)->attach();
    std::atomic<bool> parking{false};
    warren::go([&] {
      parking = true;
      e->wait(0, true);
    });
    until_parked(1);
  });
  e->set();
  warren::run([] {
    e->set();
    EXPECT_TRUE(e->wait(0));
  });
}

}  // namespace
}  // namespace warren::net_test
