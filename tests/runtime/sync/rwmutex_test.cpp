// rwmutex: who is inside with whom, whose turn it is, and that the last release is the last access.
#include "warren/rwmutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

using testing::until;

TEST(RwMutex, IsSharedLockable) {
  run([] {
    rwmutex m;
    m.lock_shared();
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock());
    m.unlock_shared();
    m.unlock_shared();
    EXPECT_TRUE(m.try_lock());
    EXPECT_FALSE(m.try_lock());
    EXPECT_FALSE(m.try_lock_shared());
    m.unlock();
    {
      std::shared_lock a(m), b(m);
      EXPECT_FALSE(m.try_lock());
    }
    {
      std::unique_lock a(m);
      EXPECT_FALSE(m.try_lock_shared());
    }
    {
      shared_lock_guard a(m);
      shared_lock_guard b(m);
      EXPECT_FALSE(m.try_lock());
    }
    {
      rw_lock_guard a(m);
      EXPECT_FALSE(m.try_lock_shared());
    }
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// A goroutine that waits is one that has been seen to keep the others out.
void until_a_writer_waits(rwmutex& m) {
  until([&] {
    if (!m.try_lock_shared()) return true;
    m.unlock_shared();
    return false;
  });
}

TEST(RwMutex, AWaitingWriterKeepsNewReadersOutAndComesFirst) {
  run([] {
    rwmutex m;
    std::vector<int> order;
    wait_group wg;
    m.lock_shared();
    wg.go([&] {
      m.lock();
      order.push_back(1);
      m.unlock();
    });
    until_a_writer_waits(m);
    for (int i = 0; i < 3; ++i)
      wg.go([&] {
        m.lock_shared();
        EXPECT_EQ(order, std::vector<int>{1});
        m.unlock_shared();
      });
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_TRUE(order.empty());
    m.unlock_shared();
    wg.wait();
  });
}

TEST(RwMutex, ReadersThatWaitedComeBeforeTheNextWriter) {
  run([] {
    const int procs = set_maxprocs(1);  // so that who is given a turn by yield comes to where it waits
    rwmutex m;
    mutex guard;
    std::vector<char> order;
    std::atomic<int> waiting{0};
    wait_group wg;
    const auto note = [&](char c) {
      lock_guard hold(guard);
      order.push_back(c);
    };
    m.lock();
    wg.go([&] {
      ++waiting;
      m.lock();
      note('w');
      m.unlock();
    });
    until([&] { return waiting == 1; });
    for (int i = 0; i < 100; ++i) yield();  // it waits, on whichever P
    for (int i = 0; i < 3; ++i)
      wg.go([&] {
        ++waiting;
        m.lock_shared();
        note('r');
        yield();
        m.unlock_shared();
      });
    until([&] { return waiting == 4; });
    for (int i = 0; i < 1000; ++i) yield();
    m.unlock();
    wg.wait();
    EXPECT_EQ(order.size(), 4u);
    EXPECT_EQ(order.back(), 'w') << std::string(order.begin(), order.end());
    set_maxprocs(procs);
  });
}

TEST(RwMutex, Excludes) {
  for (int goroutines : {2, 10, 200}) {
    run([&] {
      rwmutex m;
      int64_t a = 0, b = 0;  // equal whenever nobody writes
      std::atomic<int> readers{0}, most{0};
      wait_group wg;
      const int each = 40000 / goroutines;
      for (int k = 0; k < goroutines; ++k)
        wg.go([&, k] {
          for (int i = 0; i < each; ++i) {
            if ((i + k) % 5 == 0) {
              rw_lock_guard hold(m);
              EXPECT_EQ(readers, 0);
              ++a;
              if (i % 64 == 0) yield();  // held across a park
              ++b;
            } else if ((i + k) % 7 == 0) {
              if (m.try_lock()) {
                ++a;
                ++b;
                m.unlock();
              }
            } else {
              shared_lock_guard hold(m);
              const int now = ++readers;
              if (now > most) most = now;
              EXPECT_EQ(a, b);
              if (i % 32 == 0) yield();
              --readers;
            }
          }
        });
      wg.wait();
      EXPECT_EQ(a, b);
      EXPECT_TRUE(m.try_lock());
      if (goroutines > 2) {
        EXPECT_GT(most, 1) << "readers were never inside together";
      }
    });
  }
}

TEST(RwMutex, ReadersDoNotStarveAWriter) {
  run([] {
    rwmutex m;
    std::atomic<bool> over{false};
    wait_group wg;
    for (int k = 0; k < 8; ++k)
      wg.go([&] {
        while (!over) {
          shared_lock_guard hold(m);
          yield();  // so there is always one inside
        }
      });
    for (int i = 0; i < 100; ++i) {
      rw_lock_guard hold(m);
    }
    over = true;
    wg.wait();
  });
}

TEST(RwMutex, WritersDoNotStarveAReader) {
  run([] {
    rwmutex m;
    std::atomic<bool> over{false};
    wait_group wg;
    for (int k = 0; k < 8; ++k)
      wg.go([&] {
        while (!over) {
          rw_lock_guard hold(m);
          yield();
        }
      });
    for (int i = 0; i < 100; ++i) {
      shared_lock_guard hold(m);
    }
    over = true;
    wg.wait();
  });
}

TEST(RwMutex, MayBeReleasedByAnother) {
  run([] {
    rwmutex m;
    wait_group wg;
    m.lock();
    wg.go([&] { m.unlock(); });
    m.lock_shared();
    wg.go([&] { m.unlock_shared(); });
    m.lock();
    wg.wait();
    m.unlock();
  });
}

TEST(RwMutex, MayDieRightAfterTheLastRelease) {
  run([] {
    struct shared {
      rwmutex m;
      std::atomic<int> references{6};
    };
    for (int round = 0; round < 500; ++round) {
      auto* s = new shared;
      wait_group wg;
      for (int k = 0; k < 6; ++k)
        wg.go([&, s, k] {
          bool last;
          if (k % 2 == 0) {
            s->m.lock_shared();
            last = false;
            yield();
            s->m.unlock_shared();
          }
          s->m.lock();
          last = --s->references == 0;
          s->m.unlock();
          if (last) delete s;
        });
      wg.wait();
    }
  });
}

class RwMutexDeathTest : public ::testing::Test {
 protected:
  RwMutexDeathTest() { tests::choose_death_style(); }
};

TEST_F(RwMutexDeathTest, ReleaseWithoutLock) {
  EXPECT_DEATH(run([] {
                 rwmutex m;
                 m.unlock();
               }),
               "fatal error: goroutine 1: unlock of an rwmutex that no writer holds");
  EXPECT_DEATH(run([] {
                 rwmutex m;
                 m.unlock_shared();
               }),
               "fatal error: goroutine 1: unlock_shared of an rwmutex that no reader holds");
  EXPECT_DEATH(run([] {
                 rwmutex m;
                 m.lock_shared();
                 m.unlock();
               }),
               "unlock of an rwmutex that no writer holds");
  EXPECT_DEATH(run([] {
                 rwmutex m;
                 m.lock();
                 m.unlock_shared();
               }),
               "unlock_shared of an rwmutex that no reader holds");
}

TEST_F(RwMutexDeathTest, DumpsSayWhatIsWaitedFor) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan has a thread of its own, and a thread that warren did not start could still ready somebody";
#endif
  if (tests::emulated()) GTEST_SKIP() << "the emulator has a thread of its own, which could still ready somebody for all that warren knows";
  EXPECT_DEATH(run([] {
                 rwmutex m;
                 m.lock_shared();
                 go([&] {
                   until_a_writer_waits(m);
                   m.lock_shared();
                 });
                 m.lock();
               }),
               "goroutine 1 \\[sync.RWMutex.Lock\\](.|\n)*\\[sync.RWMutex.RLock\\]");
}

}  // namespace
}  // namespace warren
