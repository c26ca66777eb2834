#include "netpoll/event.h"

#include <memory>

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
    int error = 0;
    ASSERT_NE(rt::poller::get(&error), nullptr);
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

// set() by a thread outside has taken the waiter out, and now the run ends, or has ended, or the next one has begun. The thread is stopped
// at that point; that the run waits for it once it holds the run, and not before, is scheduler_guest_test's.
TEST(event, run_ends_while_a_thread_sets) {
  struct gate {
    std::atomic<bool> inside{false}, go_on{false};
  };
  static gate* stopped_at;
  for (const bool next_run : {false, true}) {
    gate g;
    stopped_at = &g;
    rt::event_test_hook = [] {
      gate* const at = stopped_at;
      if (at == nullptr || rt::getg() != nullptr) return;
      stopped_at = nullptr;
      at->inside = true;
      while (!at->go_on) std::this_thread::yield();
    };
    // Not on the waiter's stack, which goes with its run.
    const auto e = std::make_unique<rt::event>();
    std::thread setter;
    warren::run([&] {
      rt::event parked;
      warren::go([&] {
        parked.set();
        e->wait(0, true);
      });
      EXPECT_TRUE(parked.wait(0));
      until_parked(1);
      setter = std::thread([&] { e->set(); });
      while (!g.inside) yield();
    });
    if (next_run) {
      warren::run([&] {
        g.go_on = true;
        while (setter.joinable()) {
          setter.join();
          yield();
        }
        for (int i = 0; i < 100; ++i) yield();  // the abandoned goroutine does not run
      });
    } else {
      g.go_on = true;
      setter.join();
    }
    rt::event_test_hook = nullptr;
    warren::run([&] { EXPECT_TRUE(e->wait(0)) << "it was set"; });
  }
}

// The same without stops: runs that end while threads set what their goroutines wait for.
TEST(event, runs_end_under_fire) {
  constexpr int kEvents = 8;
  std::array<rt::event, kEvents> events;
  std::atomic<bool> stop{false};
  std::thread setter([&] {
    for (unsigned i = 0; !stop; ++i) {
      events[i % kEvents].set();
      if (i % 1024 == 0) std::this_thread::yield();
    }
  });
  for (int run = 0; run < 40; ++run) {
    warren::run([&] {
      std::atomic<int> woken{0};
      for (rt::event& e : events) {
        warren::go([&] {
          for (;;) {
            e.wait(0, true);
            ++woken;
          }
        });
      }
      while (woken < 50) yield();
    });
  }
  stop = true;
  setter.join();
}

}  // namespace
}  // namespace warren::net_test
