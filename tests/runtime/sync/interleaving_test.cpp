// The places between lock and park, claim and wake, fire and stop, with the schedule disturbed at each of them.
//
// runtime/sync is compiled into this program once more, with WARREN_SYNC_TEST_POINTS: at each marked place a generator decides whether
// the thread goes on, spins, or gives its core away. The seed decides about the sequence of decisions, not about the schedule the kernel
// makes of them; it is printed all the same. Run with several Ps on few cores.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/os/cpu.h"
#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/chan.h"
#include "warren/cond.h"
#include "warren/context.h"
#include "warren/go.h"
#include "warren/rwmutex.h"
#include "warren/select.h"
#include "warren/semaphore.h"
#include "warren/sync.h"
#include "warren/timer.h"

namespace warren {
namespace {

std::atomic<uint64_t> sequence{0};
std::atomic<uint64_t> disturbed{0};

uint64_t next_random() noexcept {  // splitmix64 over a shared counter
  uint64_t z = sequence.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

namespace detail {
void sync_test_point() noexcept {
  disturbed.fetch_add(1, std::memory_order_relaxed);
  const uint64_t r = next_random();
  switch (r % 16) {
    case 0:
    case 1:
      for (uint64_t i = (r >> 8) % 4; i <= 3; ++i) sched_yield();
      break;
    case 2:
    case 3:
      for (uint64_t i = (r >> 8) % 4096; i > 0; --i) rt::cpu_pause();
      break;
    case 4:
    case 5:
    case 6:
      for (uint64_t i = (r >> 8) % 128; i > 0; --i) rt::cpu_pause();
      break;
    default: break;
  }
}
}  // namespace detail

namespace {

using testing::receivers;
using testing::senders;
using testing::until;

// A seed starts 24 runtimes, and that is where the time of an emulated run goes: 0.2 s each.
int seeds() { return tests::emulated() ? 5 : 20; }

class Interleaving : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    sequence = static_cast<uint64_t>(GetParam()) * 0x2545f4914f6cdd1d;
    disturbed = 0;
  }
  void TearDown() override { EXPECT_GT(disturbed.load(), 0u) << "the library's own runtime/sync was linked: this test tests nothing"; }
};

// Selects that send and receive on shared channels with timeouts that fire at about the same time, plain operations between them, and a
// close at the end. Each value that was sent arrives once; nothing waits in a queue afterwards.
TEST_P(Interleaving, SelectTimerSendReceiveClose) {
  for (size_t capacity : {0, 1}) {
    run([&] {
      constexpr int kEach = 60;
      chan<int> a = make_chan<int>(capacity), b = make_chan<int>(capacity);
      chan<unit> done = make_chan<unit>();
      std::atomic<int64_t> sent{0}, received{0};
      std::atomic<int> sends{0}, receives{0};
      wait_group sending, receiving;
      for (int s = 0; s < 4; ++s)
        sending.go([&, s] {
          for (int i = 0; i < kEach; ++i) {
            const int v = s * kEach + i + 1;
            const auto timeout = std::chrono::microseconds(next_random() % 40);
            const int r = i % 4 == 0   ? (a.send(v), 0)
                          : i % 4 == 1 ? select(send(a, v), send(b, v))
                          : i % 4 == 2 ? select(send(b, v), send(a, v), after(timeout))
                                       : select(send(a, v), send(a, v), send(b, v), after(timeout));
            if (r == 2 && i % 4 == 2) continue;
            if (r == 3) continue;
            sent += v;
            ++sends;
          }
        });
      for (int r = 0; r < 4; ++r)
        receiving.go([&, r] {
          bool over = false;
          const auto take = [&](std::optional<int> v) {
            received += v.value();
            ++receives;
          };
          while (!over) {
            const auto timeout = std::chrono::microseconds(next_random() % 40);
            if (r % 2 == 0) {
              select(recv(a, take), recv(b, take), recv(done, [&] { over = true; }), after(timeout));
            } else {
              select(recv(done, [&] { over = true; }), recv(b, take), recv(a, take), recv(b, take));
            }
          }
        });
      sending.wait();
      until([&] { return receives == sends; });
      done.close();
      receiving.wait();
      EXPECT_EQ(sent, received);
      EXPECT_EQ(senders(a.raw()) + receivers(a.raw()) + senders(b.raw()) + receivers(b.raw()) + receivers(done.raw()), 0u);
    });
  }
}

// Close against receivers that are just about to park, or select.
TEST_P(Interleaving, CloseMissesNobody) {
  for (int round = 0; round < 20; ++round) {
    run([] {
      chan<int> c = make_chan<int>(), never = make_chan<int>();
      std::atomic<int> ended{0};
      wait_group wg;
      for (int i = 0; i < 8; ++i)
        wg.go([&, i] {
          if (i % 2 == 0) {
            EXPECT_FALSE(c.recv());
          } else {
            EXPECT_EQ(select(recv(never), recv(c), recv(c)) > 0, true);
          }
          ++ended;
        });
      wg.go([&] { c.close(); });
      wg.wait();  // "all goroutines are asleep" if one was missed
      EXPECT_EQ(ended, 8);
    });
  }
}

// The lock's waiters, its spinning newcomers, try_lock, and its end.
TEST_P(Interleaving, MutexExcludesAndLosesNobody) {
  run([] {
    for (int round = 0; round < 10; ++round) {
      struct shared {
        mutex m;
        int references = 6;
        int64_t counter = 0;
      };
      auto* s = new shared;
      std::atomic<int64_t> expected{0};
      std::atomic<int64_t> counted{-1};
      wait_group wg;
      for (int k = 0; k < 6; ++k)
        wg.go([&, k] {
          for (int i = 0; i < 40; ++i) {
            if (k == 0) {
              if (!s->m.try_lock()) continue;
            } else {
              s->m.lock();
            }
            ++s->counter;
            ++expected;
            if (next_random() % 8 == 0) yield();
            s->m.unlock();
          }
          s->m.lock();
          const bool last = --s->references == 0;
          if (last) counted = s->counter;
          s->m.unlock();
          if (last) delete s;
        });
      wg.wait();
      EXPECT_EQ(counted, expected);
    }
  });
}

// done() against wait(), the object gone right afterwards.
TEST_P(Interleaving, WaitGroupEndsOnce) {
  run([] {
    for (int round = 0; round < 100; ++round) {
      auto wg = std::make_unique<wait_group>();
      std::atomic<int> ended{0};
      for (int i = 0; i < 3; ++i) wg->go([&] { ++ended; });
      wg->wait();
      EXPECT_EQ(ended, 3);
      wg.reset();
    }
  });
}

// Readers, writers and those who only try; the last one destroys the lock.
TEST_P(Interleaving, RwMutexExcludesAndLosesNobody) {
  run([] {
    for (int round = 0; round < 10; ++round) {
      struct shared {
        rwmutex m;
        int references = 6;
        int64_t a = 0, b = 0;
      };
      auto* s = new shared;
      std::atomic<int64_t> expected{0}, counted{-1};
      wait_group wg;
      for (int k = 0; k < 6; ++k)
        wg.go([&, k] {
          for (int i = 0; i < 40; ++i) {
            if ((i + k) % 3 != 0) {
              if (k == 1) {
                if (!s->m.try_lock_shared()) continue;
              } else {
                s->m.lock_shared();
              }
              EXPECT_EQ(s->a, s->b);
              if (next_random() % 8 == 0) yield();
              s->m.unlock_shared();
            } else {
              if (k == 0) {
                if (!s->m.try_lock()) continue;
              } else {
                s->m.lock();
              }
              ++s->a;
              ++expected;
              if (next_random() % 8 == 0) yield();
              ++s->b;
              s->m.unlock();
            }
          }
          s->m.lock();
          const bool last = --s->references == 0;
          if (last) counted = s->a;
          s->m.unlock();
          if (last) delete s;
        });
      wg.wait();
      EXPECT_EQ(counted, expected);
    }
  });
}

// Signals between enqueueing, unlocking and parking, timers at the same time: every token is taken, or this deadlocks.
TEST_P(Interleaving, CondLosesNoSignal) {
  run([] {
    mutex m;
    cond c;
    int tokens = 0;
    constexpr int kEach = 60;
    wait_group wg;
    for (int k = 0; k < 4; ++k) {
      wg.go([&, k] {
        for (int i = 0; i < kEach; ++i) {
          lock_guard hold(m);
          while (tokens == 0) {
            if (k % 2 == 0) {
              c.wait(m);
            } else {
              c.wait_for(m, std::chrono::microseconds(next_random() % 40));
            }
          }
          --tokens;
        }
      });
      wg.go([&, k] {
        for (int i = 0; i < kEach; ++i) {
          {
            lock_guard hold(m);
            ++tokens;
          }
          if (k == 0) {
            c.broadcast();
          } else {
            c.signal();
          }
        }
      });
    }
    wg.wait();
    EXPECT_EQ(tokens, 0);
  });
}

// A signal that comes between a waiter's time-out and its leaving the queue is for the next one, who waits without limit: nobody looks at a
// condition again here, so a swallowed signal is a deadlock.
TEST_P(Interleaving, CondSignalPassesOnFromOneThatIsLate) {
  run([] {
    for (int round = 0; round < 60; ++round) {
      mutex m;
      cond c;
      std::atomic<int> waiting{0}, woken{0};
      wait_group wg;
      constexpr int kLate = 3;
      for (int k = 0; k <= kLate; ++k)
        wg.go([&, k] {
          lock_guard hold(m);
          ++waiting;
          if (k < kLate) {
            woken += c.wait_for(m, std::chrono::microseconds(next_random() % 40));
          } else {
            c.wait(m);
            ++woken;
          }
        });
      until([&] { return waiting == kLate + 1; });
      for (uint64_t i = next_random() % 4096; i > 0; --i) rt::cpu_pause();
      m.lock();  // so they wait, or are late
      m.unlock();
      c.signal();
      until([&] { return woken >= 1; });
      for (int i = 0; i < kLate; ++i) c.signal();
      wg.wait();
    }
  });
}

TEST_P(Interleaving, SemaphoreLosesNoUnit) {
  run([] {
    semaphore s(3);
    std::atomic<int64_t> out{0};
    wait_group wg;
    for (int k = 0; k < 6; ++k)
      wg.go([&, k] {
        for (int i = 0; i < 30; ++i) {
          const int64_t n = 1 + (i + k) % 3;
          if (k % 2 == 0) {
            s.acquire(n);
          } else {
            const auto c = with_timeout(background(), std::chrono::microseconds(next_random() % 60));
            const cancel_guard guard(c.cancel);
            if (s.acquire(c.ctx, n)) continue;
          }
          EXPECT_LE(out += n, 3);
          if (next_random() % 4 == 0) yield();
          out -= n;
          s.release(n);
        }
      });
    wg.wait();
    EXPECT_TRUE(s.try_acquire(3));
  });
}

// A firing between its heap and its channel, against stop and reset. Each start ends in exactly one way, and nothing is stale.
TEST_P(Interleaving, TimerStopAndFiring) {
  run([] {
    const timer t(std::chrono::hours(1));
    std::atomic<int> received{0};
    std::atomic<bool> over{false};
    int prevented = 0, starts = 1;
    wait_group wg;
    wg.go([&] {
      while (!over) select(recv(t.c(), [&] { ++received; }), after(std::chrono::microseconds(50)));
    });
    for (int i = 0; i < 150; ++i) {
      prevented += t.reset(std::chrono::microseconds(next_random() % 30));
      ++starts;
      for (uint64_t k = next_random() % 8; k > 0; --k) yield();
      if (i % 3 == 0) prevented += t.stop();
    }
    prevented += t.stop();
    over = true;
    wg.wait();
    EXPECT_EQ(received + prevented, starts);
    EXPECT_FALSE(t.c().try_recv());
  });
}

// A tree that is ended from several sides while it grows.
TEST_P(Interleaving, ContextsEndOnce) {
  run([] {
    for (int round = 0; round < 10; ++round) {
      const auto top = with_cancel(background());
      std::atomic<int> hooks{0}, called{0}, stopped{0};
      wait_group wg;
      for (int k = 0; k < 4; ++k)
        wg.go([&, ctx = top.ctx] {
          context mine = ctx;
          for (int i = 0; i < 8; ++i) {
            const auto c = i % 2 == 0 ? with_cancel(mine) : with_timeout(mine, std::chrono::microseconds(next_random() % 200));
            const context_hook h = after_func(c.ctx, [&] { ++called; });
            ++hooks;
            if (next_random() % 4 == 0) stopped += h.stop();
            if (next_random() % 4 == 0) {
              c.cancel();
            } else {
              mine = c.ctx;
            }
          }
          mine.done().recv();
          EXPECT_TRUE(mine.err());
        });
      if (next_random() % 2 == 0) yield();
      top.cancel();
      wg.wait();
      until([&] { return called + stopped == hooks; });
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Seeds, Interleaving, ::testing::Range(1, seeds() + 1));

}  // namespace
}  // namespace warren
