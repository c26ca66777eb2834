// Goroutines through the public interface: <warren/go.h>.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/os/futex.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/m.h"
#include "runtime/sched/park.h"
#include "warren/go.h"
#include "warren/stats.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

void wait_until(const std::atomic<int>& n, int target) {
  while (n.load() < target) yield();
}

TEST(Run, ReturnsWhatTheMainGoroutineReturned) {
  EXPECT_EQ(run([] { return 42; }), 42);
  EXPECT_EQ(run([] {}), 0);
}

TEST(Run, TheMainGoroutineIsNumberOne) {
  EXPECT_EQ(goroutine_id(), 0u);
  run([] { EXPECT_EQ(goroutine_id(), 1u); });
}

TEST(Run, CanBeRepeatedAndAbandonsWhatStillParks) {
  for (int i = 0; i < 20; ++i) {
    run([] {
      for (int j = 0; j < 50; ++j) go([] { sleep(1h); });
      yield();
    });
  }
}

// The call ends only after the main goroutine has: run waits for its own thread, whichever of them sits in the call.
TEST(Run, LetsABlockingCallEnd) {
  for (int i = 0; i < 5; ++i) {
    rt::note release;
    rt::note main_is_over;
    std::thread outside([&] {
      main_is_over.sleep();
      release.wakeup();
    });
    run([&] {
      std::atomic<bool> inside{false};
      go([&] {
        blocking([&] {
          inside = true;
          release.sleep();
        });
      });
      while (!inside) yield();
      main_is_over.wakeup();
    });
    outside.join();
  }
}

TEST(Go, RunsEveryClosureOnce) {
  run([] {
    constexpr int n = 100'000;
    std::atomic<int> count{0};
    for (int i = 0; i < n; ++i) go([&] { ++count; });
    wait_until(count, n);
    EXPECT_EQ(count.load(), n);
  });
}

TEST(Go, TakesMoveOnlyLargeAndOveralignedClosures) {
  run([] {
    std::atomic<int> done{0};
    go([&done, p = std::make_unique<int>(7)] {
      EXPECT_EQ(*p, 7);
      ++done;
    });
    std::array<int, 1000> large{};
    large[999] = 5;
    go([&done, large] {
      EXPECT_EQ(large[999], 5);
      ++done;
    });
    struct alignas(64) wide {
      int v = 3;
    };
    go([&done, w = wide{}] {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(&w) % 64, 0u);
      EXPECT_EQ(w.v, 3);
      ++done;
    });
    wait_until(done, 3);
  });
}

TEST(Go, DestroysTheClosureWithTheGoroutine) {
  run([] {
    auto shared = std::make_shared<int>(1);
    std::atomic<int> done{0};
    go([shared, &done] { ++done; });
    wait_until(done, 1);
    while (shared.use_count() > 1) yield();
  });
}

TEST(Go, AThrowingConstructionStartsNothing) {
  struct bomb {
    bomb() = default;
    bomb(const bomb&) { throw std::runtime_error("no copy"); }
    void operator()() const { ADD_FAILURE() << "must not run"; }
  };
  run([] {
    bomb b;
    EXPECT_THROW(go(b), std::runtime_error);
    EXPECT_EQ(goroutine_count(), 1 + (goroutine_count() - 1)) << "the count is consistent";
    yield();
  });
}

TEST(Go, HasAllStackSizes) {
  struct deep {
    static int down(int n) {
      volatile char frame[1024];
      frame[0] = static_cast<char>(n);
      return n == 0 ? frame[0] : down(n - 1) + frame[0] * 0 + 1;
    }
  };
  run([] {
    std::atomic<int> done{0};
    go([&] {
      EXPECT_EQ(deep::down(30), 30);
      ++done;
    });
    go(
        [&] {
          EXPECT_EQ(deep::down(200), 200);
          ++done;
        },
        stack_size::large);
    go(
        [&] {
          EXPECT_EQ(deep::down(800), 800);
          ++done;
        },
        stack_size::huge);
    wait_until(done, 3);
  });
}

TEST(Go, NestsDeeply) {
  struct node {
    static void grow(int depth, std::atomic<int>& leaves) {
      if (depth == 0) {
        ++leaves;
        return;
      }
      go([depth, &leaves] { grow(depth - 1, leaves); });
      go([depth, &leaves] { grow(depth - 1, leaves); });
    }
  };
  run([] {
    std::atomic<int> leaves{0};
    node::grow(14, leaves);
    wait_until(leaves, 1 << 14);
  });
}

TEST(Go, StacksAreReused) {
  run([] {
    std::atomic<int> n{0};
    for (int i = 0; i < 10'000; ++i) {
      go([&] { ++n; });
      if (i % 16 == 15) wait_until(n, i + 1);
    }
    wait_until(n, 10'000);
    const scheduler_stats s = read_scheduler_stats();
    EXPECT_GT(s.stacks_reused, s.stacks_taken);
    EXPECT_LT(s.stack_slots, 2'000u);
  });
}

TEST(Sleep, ComesBackNotTooEarly) {
  run([] {
    const auto before = std::chrono::steady_clock::now();
    sleep(5ms);
    EXPECT_GE(std::chrono::steady_clock::now() - before, 5ms);
    sleep(0ms);
    sleep(-1h);
  });
}

TEST(Sleep, ManyAtOnce) {
  run([] {
    std::atomic<int> n{0};
    for (int i = 0; i < 10'000; ++i)
      go([&, i] {
        sleep(std::chrono::microseconds(i % 1'000));
        ++n;
      });
    wait_until(n, 10'000);
    EXPECT_GE(read_scheduler_stats().timers_fired, 9'000u);
  });
}

TEST(Blocking, MoreCallsThanPsRunAtOnce) {
  run([] {
    const int calls = 4 * maxprocs();
    std::atomic<int> inside{0};
    std::atomic<int> done{0};
    rt::note all_inside[64];
    ASSERT_LE(calls, 64);
    for (int i = 0; i < calls; ++i)
      go([&, i] {
        const int r = blocking([&] {
          ++inside;
          all_inside[i].sleep();
          return i;
        });
        EXPECT_EQ(r, i);
        ++done;
      });
    wait_until(inside, calls);  // all of them sit in the kernel, and we still run
    for (int i = 0; i < calls; ++i) all_inside[i].wakeup();
    wait_until(done, calls);
    const scheduler_stats s = read_scheduler_stats();
    EXPECT_EQ(s.blocking_calls, static_cast<uint64_t>(calls));
    EXPECT_GT(s.threads, static_cast<uint32_t>(maxprocs()));
    EXPECT_GT(s.retakes, 0u);
    EXPECT_GT(s.handoffs, 0u);
  });
}

TEST(Blocking, AnExceptionPassesThrough) {
  run([] { EXPECT_THROW(blocking([]() -> int { throw std::runtime_error("from inside"); }), std::runtime_error); });
}

TEST(Park, ReadyMayComeBeforeParkHasFinished) {
  run([] {
    struct slot {
      std::atomic<rt::g*> waiter{nullptr};
      static bool publish(rt::g* gp, void* arg) {
        static_cast<slot*>(arg)->waiter.store(gp, std::memory_order_release);
        return true;
      }
    };
    constexpr int rounds = 20'000;
    auto s = std::make_unique<slot>();
    std::atomic<int> woken{0};
    go([&] {
      for (int i = 0; i < rounds; ++i) {
        rt::gopark(&slot::publish, s.get(), rt::wait_reason::other);
        ++woken;
      }
    });
    for (int i = 0; i < rounds; ++i) {
      rt::g* gp;
      while ((gp = s->waiter.exchange(nullptr, std::memory_order_acquire)) == nullptr) yield();
      rt::goready(gp);
    }
    wait_until(woken, rounds);
  });
}

TEST(Park, ACancelledCommitGoesOnAtOnce) {
  run([] {
    int calls = 0;
    rt::gopark(
        [](rt::g*, void* n) {
          ++*static_cast<int*>(n);
          return false;
        },
        &calls, rt::wait_reason::other);
    EXPECT_EQ(calls, 1);
  });
}

TEST(Park, AForeignThreadMayReady) {
  run([] {
    std::atomic<rt::g*> waiter{nullptr};
    std::thread outside([&] {
      rt::g* gp;
      while ((gp = waiter.load(std::memory_order_acquire)) == nullptr) std::this_thread::yield();
      rt::goready(gp);
    });
    rt::gopark(
        [](rt::g* gp, void* w) {
          static_cast<std::atomic<rt::g*>*>(w)->store(gp, std::memory_order_release);
          return true;
        },
        &waiter, rt::wait_reason::other);
    blocking([&] { outside.join(); });
    EXPECT_GE(read_scheduler_stats().foreign_readies, 1u);
  });
}

TEST(Park, TheHookFiresOnceWhenThePIsFirstLeft) {
  run([] {
    int fired = 0;
    rt::set_park_hook([](void* n) { ++*static_cast<int*>(n); }, &fired);
    EXPECT_EQ(fired, 0);
    sleep(1us);
    EXPECT_EQ(fired, 1);
    sleep(1us);
    EXPECT_EQ(fired, 1);
    EXPECT_FALSE(rt::clear_park_hook());
    rt::set_park_hook([](void* n) { ++*static_cast<int*>(n); }, &fired);
    EXPECT_TRUE(rt::clear_park_hook());
    sleep(1us);
    EXPECT_EQ(fired, 1);
    rt::set_park_hook([](void* n) { ++*static_cast<int*>(n); }, &fired);
    blocking([] {});
    EXPECT_EQ(fired, 2);
    rt::set_park_hook([](void* n) { ++*static_cast<int*>(n); }, &fired);
    yield();
    EXPECT_EQ(fired, 3);
    rt::set_park_hook([](void* n) { ++*static_cast<int*>(n); }, &fired);
    rt::getm()->requests.fetch_or(rt::request_preempt);
    go([] {});  // a safepoint
    EXPECT_EQ(fired, 4);
  });
}

// The caller of gopark holds a lock while the hook runs: a goroutine put aside there would hang everybody who wants the lock (it did).
TEST(Park, TheHookIsNoSafepoint) {
  run([] {
    struct scene {
      rt::mutex lock;
      std::atomic<bool> other_ran{false};
      bool ran_during_hook = false;
      static void hook(void* arg) {
        auto* s = static_cast<scene*>(arg);
        rt::getm()->requests.fetch_or(rt::request_preempt);
        go([s] { s->other_ran = true; });
        s->ran_during_hook = s->other_ran.load();
      }
      static bool commit(rt::g*, void* arg) {
        auto* s = static_cast<scene*>(arg);
        s->lock.unlock();
        return false;
      }
    };
    for (int i = 0; i < 100; ++i) {
      scene s;
      s.lock.lock();
      rt::set_park_hook(&scene::hook, &s);
      rt::gopark(&scene::commit, &s, rt::wait_reason::other);
      if (maxprocs() == 1) {
        EXPECT_FALSE(s.ran_during_hook);
      }
      while (!s.other_ran) yield();
    }
  });
}

TEST(Preempt, AGoroutineThatOnlySpawnsGivesWayAfterItsSlice) {
  run([] {
    std::atomic<int> ran{0};
    std::atomic<bool> stop{false};
    // One hog per P that comes to safepoints but never parks.
    for (int i = 0; i < maxprocs(); ++i)
      go([&] {
        while (!stop) go([&] { ++ran; });
      });
    yield();
    while (ran < 100) yield();
    while (read_scheduler_stats().preemptions == 0) yield();
    stop = true;
  });
}

struct rethrow_case {
  static void inside_catch() {
    for (int round = 0; round < 20; ++round) {
      const int mine = static_cast<int>(goroutine_id()) * 1000 + round;
      try {
        try {
          throw mine;
        } catch (...) {
          sleep(std::chrono::microseconds(mine % 300));
          yield();
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          throw;
        }
      } catch (int got) {
        EXPECT_EQ(got, mine);
      }
    }
  }
};

TEST(Exceptions, AGoroutineSleepsInsideCatchMigratesAndRethrows) {
  run([] {
    std::atomic<int> done{0};
    constexpr int n = 500;
    for (int i = 0; i < n; ++i)
      go([&] {
        rethrow_case::inside_catch();
        ++done;
      });
    wait_until(done, n);
  });
}

// __errno_location is declared const: within one function a compiler keeps its result across a park. Hence the calls; hence no interface of
// warren reports through errno.
[[gnu::noinline]] void set_errno(int v) {
  errno = v;
  asm volatile("");
}
[[gnu::noinline]] int get_errno() {
  asm volatile("");
  return errno;
}

TEST(Errno, BelongsToTheGoroutine) {
  run([] {
    std::atomic<int> done{0};
    for (int i = 1; i <= 100; ++i)
      go([&, i] {
        set_errno(i);
        yield();
        sleep(10us);
        EXPECT_EQ(get_errno(), i);
        ++done;
      });
    wait_until(done, 100);
  });
}

}  // namespace
}  // namespace warren
