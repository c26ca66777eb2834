// mutex: exclusion, fairness, hand-over; once.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "runtime/os/clock.h"
#include "runtime/sched/g.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

TEST(Mutex, IsLockable) {
  run([] {
    mutex m, n;
    m.lock();
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    {
      std::unique_lock hold(m);
      EXPECT_FALSE(m.try_lock());
    }
    {
      std::scoped_lock both(m, n);
      EXPECT_FALSE(n.try_lock());
    }
    {
      lock_guard hold(m);
      EXPECT_FALSE(m.try_lock());
    }
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

constinit mutex global_mutex;  // usable before and outside any run

TEST(Mutex, AGlobalOne) {
  run([] {
    lock_guard hold(global_mutex);
    EXPECT_FALSE(global_mutex.try_lock());
  });
}

TEST(Mutex, Excludes) {
  for (int goroutines : {2, 10, 100}) {
    run([&] {
      mutex m;
      int64_t counter = 0;  // not atomic: the lock must do
      int inside = 0;
      wait_group wg;
      const int each = 40000 / goroutines;
      for (int k = 0; k < goroutines; ++k)
        wg.go([&] {
          for (int i = 0; i < each; ++i) {
            lock_guard hold(m);
            EXPECT_EQ(++inside, 1);
            ++counter;
            if (i % 64 == 0) yield();  // held across a park
            --inside;
          }
        });
      wg.wait();
      EXPECT_EQ(counter, int64_t{goroutines} * each);
    });
  }
}

TEST(Mutex, MayBeUnlockedByAnother) {
  run([] {
    mutex m;
    m.lock();
    wait_group wg;
    wg.go([&] { m.unlock(); });
    m.lock();
    wg.wait();
    m.unlock();
  });
}

TEST(Mutex, DumpsSayThatItIsWaitedFor) {
  run([] {
    mutex m;
    m.lock();
    std::atomic<rt::g*> gp{nullptr};
    wait_group wg;
    wg.go([&] {
      gp = rt::getg();
      lock_guard hold(m);
    });
    while (gp == nullptr || gp.load()->status.load() != rt::g_status::waiting) yield();
    EXPECT_STREQ(to_string(gp.load()->reason), "sync.Mutex.Lock");
    m.unlock();
    wg.wait();
  });
}

// A goroutine that takes the lock again as soon as it has let it go would, without the starvation mode, keep a waiter out for as long as
// its slice lasts each time.
TEST(Mutex, AGreedyGoroutineDoesNotStarveAnother) {
  run([] {
    mutex m;
    std::atomic<bool> stop{false};
    wait_group wg;
    for (int k = 0; k < 2; ++k)
      wg.go([&] {
        while (!stop) {
          m.lock();
          for (const int64_t t = rt::nanotime(); rt::nanotime() - t < 100'000;) {
          }
          m.unlock();
        }
      });
    for (int i = 0; i < 10; ++i) {
      yield();
      m.lock();  // Go's own test: ten acquisitions; it would take for ever
      m.unlock();
    }
    stop = true;
    wg.wait();
  });
}

// Destroying a mutex is right as soon as its last owner has been seen to unlock: under a reference count, say.
TEST(Mutex, MayDieRightAfterTheLastUnlock) {
  run([] {
    struct shared {
      mutex m;
      int references = 2;
    };
    for (int i = 0; i < 3000; ++i) {
      auto* s = new shared;
      const auto release = [s] {
        s->m.lock();
        const bool last = --s->references == 0;
        s->m.unlock();
        if (last) delete s;
      };
      wait_group wg;
      wg.go(release);
      wg.go(release);
      wg.wait();
    }
  });
}

TEST(Once, CallsOnceAndAllWait) {
  run([] {
    once o;
    int calls = 0;
    bool ready = false;
    wait_group wg;
    for (int k = 0; k < 20; ++k)
      wg.go([&] {
        o.call([&] {
          ++calls;
          for (int i = 0; i < 10; ++i) yield();
          ready = true;
        });
        EXPECT_TRUE(ready);
      });
    wg.wait();
    EXPECT_EQ(calls, 1);
  });
}

TEST(Once, TriesAgainAfterAnException) {
  run([] {
    once o;
    int calls = 0;
    EXPECT_THROW(o.call([&] {
      ++calls;
      throw std::runtime_error("not yet");
    }),
                 std::runtime_error);
    o.call([&] { ++calls; });
    o.call([&] { ++calls; });
    EXPECT_EQ(calls, 2);
  });
}

}  // namespace
}  // namespace warren
