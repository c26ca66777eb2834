// select: which case runs, that exactly one does, fairness, timeouts, and the many ways the same channel can take part.
#include "warren/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/os/clock.h"
#include "runtime/sched/g.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/gc.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::receivers;
using testing::senders;
using testing::until;
using testing::until_receivers;
using testing::until_senders;

TEST(Select, TakesTheOneThatIsReady) {
  run([] {
    chan<int> a = make_chan<int>(1), b = make_chan<int>(1);
    for (int i = 0; i < 50; ++i) {
      b.send(i);
      int got = -1;
      EXPECT_EQ(select(recv(a, [&](std::optional<int>) { FAIL(); }), recv(b, [&](std::optional<int> v) { got = *v; })), 1);
      EXPECT_EQ(got, i);
    }
    bool sent = false;
    EXPECT_EQ(select(send(a, 7, [&] { sent = true; }), recv(b, [&] { FAIL(); })), 0);
    EXPECT_TRUE(sent);
    EXPECT_EQ(a.recv(), 7);
  });
}

TEST(Select, OtherwiseRunsOnlyIfNothingIsReady) {
  run([] {
    chan<int> a = make_chan<int>(1), b = make_chan<int>();
    int ran = 0;
    EXPECT_EQ(select(recv(a), send(b, 1), otherwise([&] { ++ran; })), 2);
    EXPECT_EQ(select(recv(a), otherwise([&] { ++ran; })), 1);
    EXPECT_EQ(select(otherwise([&] { ++ran; })), 0);
    EXPECT_EQ(ran, 3);
    a.send(1);
    EXPECT_EQ(select(recv(a), send(b, 1), otherwise([&] { ++ran; })), 0);
    EXPECT_EQ(ran, 3);
  });
}

TEST(Select, NilCasesNeverProceed) {
  run([] {
    chan<int> nil, a = make_chan<int>(1);
    EXPECT_EQ(select(recv(nil), send(nil, 1), otherwise()), 2);
    EXPECT_EQ(select(recv(nil), send(nil, 1), send(a, 2)), 2);
    EXPECT_EQ(select(recv(nil), send(nil, 1), recv(a)), 2);
    EXPECT_EQ(select(recv(nil), after(1ms)), 1);
  });
}

TEST(Select, WithoutCasesWaitsForEver) {
  run([] {
    bool passed = false;
    std::atomic<rt::g*> gp{nullptr};
    go([&] {
      gp = rt::getg();
      select();
      passed = true;
    });
    until([&] { return gp != nullptr && gp.load()->status.load() == rt::g_status::waiting; });
    EXPECT_STREQ(to_string(gp.load()->reason), "select (no cases)");
    EXPECT_FALSE(passed);
  });
}

TEST(Select, ParkedUntilASenderComes) {
  run([] {
    chan<int> a = make_chan<int>(), b = make_chan<int>();
    wait_group wg;
    int index = -1, got = -1;
    std::atomic<rt::g*> gp{nullptr};
    wg.go([&] {
      gp = rt::getg();
      index = select(recv(a, [&](std::optional<int> v) { got = *v; }), recv(b, [&](std::optional<int> v) { got = *v; }));
    });
    until_receivers(b, 1);
    until_receivers(a, 1);
    EXPECT_STREQ(to_string(gp.load()->reason), "select");
    b.send(4);
    wg.wait();
    EXPECT_EQ(index, 1);
    EXPECT_EQ(got, 4);
    EXPECT_EQ(receivers(a.raw()), 0u);  // nothing is left behind
    EXPECT_EQ(receivers(b.raw()), 0u);
  });
}

TEST(Select, ParkedUntilAReceiverComes) {
  for (size_t capacity : {0, 2}) {
    run([&] {
      chan<std::string> a = make_chan<std::string>(capacity), b = make_chan<std::string>(capacity);
      while (a.try_send("full")) {
      }
      while (b.try_send("full")) {
      }
      wait_group wg;
      int index = -1;
      wg.go([&] { index = select(send(a, "to a"), send(b, "to b")); });
      until_senders(a, 1);
      until_senders(b, 1);
      for (size_t i = 0; i < capacity; ++i) {
        EXPECT_EQ(b.recv(), "full");
      }
      EXPECT_EQ(b.recv(), "to b");
      wg.wait();
      EXPECT_EQ(index, 1);
      EXPECT_EQ(senders(a.raw()), 0u);
    });
  }
}

TEST(Select, ReceivingFromAClosedChannelIsReady) {
  run([] {
    chan<int> a = make_chan<int>(1), b = make_chan<int>();
    a.send(3);
    a.close();
    std::optional<int> got = -1;
    EXPECT_EQ(select(recv(a, [&](std::optional<int> v) { got = v; }), recv(b)), 0);
    EXPECT_EQ(got, 3);
    EXPECT_EQ(select(recv(a, [&](std::optional<int> v) { got = v; }), recv(b)), 0);
    EXPECT_EQ(got, std::nullopt);
  });
}

TEST(Select, CloseWakesAParkedSelect) {
  run([] {
    chan<int> a = make_chan<int>();
    chan<unit> done = make_chan<unit>();
    wait_group wg;
    int woken[10] = {};
    for (int& w : woken)
      wg.go([&, pw = &w] {
        select(recv(a, [&](std::optional<int>) { FAIL(); }), recv(done, [&](std::optional<unit> v) { *pw = v ? 2 : 1; }));
      });
    until_receivers(done, 10);
    done.close();
    wg.wait();
    for (int w : woken) EXPECT_EQ(w, 1);
    EXPECT_EQ(receivers(a.raw()), 0u);
  });
}

TEST(Select, ChoosesEvenlyAmongTheReady) {
  run([] {
    constexpr int kRounds = 20000;
    chan<int> c[4];
    for (auto& x : c) x = make_chan<int>(1);
    int count[4] = {};
    for (auto& x : c) x.send(0);
    for (int i = 0; i < kRounds; ++i) {
      const int k = select(recv(c[0]), recv(c[1]), recv(c[2]), recv(c[3]));
      ++count[k];
      c[k].send(0);
    }
    // 5000 expected, standard deviation 61: 500 is 8 of them.
    for (int n : count) EXPECT_NEAR(n, kRounds / 4, 500);
  });
}

TEST(Select, ChoosesEvenlyAlsoOnTheLockedPath) {
  // With `otherwise` and everything ready the first look finds one; so make each look a choice among waiting senders.
  run([] {
    constexpr int kRounds = 4000;
    chan<int> a = make_chan<int>(), b = make_chan<int>(), stop = make_chan<int>();
    wait_group wg;
    for (auto* c : {&a, &b})
      for (int i = 0; i < 2; ++i)
        wg.go([&, c] {
          while (select(send(*c, 1), recv(stop)) == 0) {
          }
        });
    int count[2] = {};
    for (int i = 0; i < kRounds; ++i) {
      until_senders(a, 2);
      until_senders(b, 2);
      ++count[select(recv(a), recv(b))];
    }
    stop.close();
    wg.wait();
    EXPECT_NEAR(count[0], kRounds / 2, 300);  // 9 standard deviations
  });
}

TEST(Select, TheSameChannelSeveralTimes) {
  run([] {
    chan<int> c = make_chan<int>();
    wait_group wg;
    int count[3] = {};
    for (int i = 0; i < 300; ++i) {
      int index = -1, got = 0;
      auto take = [&](std::optional<int> v) { got = *v; };
      wg.go([&] { index = select(recv(c, take), recv(c, take), recv(c, take)); });
      until_receivers(c, 3);
      c.send(i + 1);
      wg.wait();
      EXPECT_EQ(got, i + 1);
      EXPECT_EQ(receivers(c.raw()), 0u);
      ++count[index];
    }
    for (int n : count) EXPECT_GT(n, 30);
  });
}

TEST(Select, SendAndReceiveOnOneChannelNeverMeetThemselves) {
  run([] {
    chan<int> c = make_chan<int>();
    wait_group wg;
    int index = -1;
    wg.go([&] { index = select(send(c, 1), recv(c)); });
    until_receivers(c, 1);
    until_senders(c, 1);
    c.send(2);
    wg.wait();
    EXPECT_EQ(index, 1);
    wg.go([&] { index = select(send(c, 1), recv(c)); });
    until_senders(c, 1);
    EXPECT_EQ(c.recv(), 1);
    wg.wait();
    EXPECT_EQ(index, 0);

    // Two of them meet each other.
    int other = -1;
    wg.go([&] { index = select(send(c, 1), recv(c)); });
    wg.go([&] { other = select(send(c, 2), recv(c)); });
    wg.wait();
    EXPECT_EQ(index + other, 1);
    EXPECT_EQ(receivers(c.raw()) + senders(c.raw()), 0u);
  });
}

TEST(Select, AnRvalueIsMovedOnlyIfItsCaseIsChosen) {
  run([] {
    chan<std::unique_ptr<int>> a = make_chan<std::unique_ptr<int>>(), b = make_chan<std::unique_ptr<int>>(1);
    auto x = std::make_unique<int>(1), y = std::make_unique<int>(2);
    EXPECT_EQ(select(send(a, std::move(x)), send(b, std::move(y))), 1);
    ASSERT_TRUE(x);
    EXPECT_FALSE(y);
    EXPECT_EQ(**b.recv(), 2);
    EXPECT_EQ(select(send(a, std::move(x)), after(1ms)), 1);
    ASSERT_TRUE(x);
    EXPECT_EQ(*x, 1);
    EXPECT_EQ(select(send(b, nullptr)), 0);  // converted in place
    EXPECT_FALSE(*b.recv());
  });
}

TEST(Select, AnExceptionOfTheFunctionPasses) {
  run([] {
    chan<int> a = make_chan<int>(1);
    a.send(1);
    EXPECT_THROW(select(recv(a, [](std::optional<int>) { throw std::string("mine"); })), std::string);
    EXPECT_FALSE(a.try_recv());
  });
}

// --- timeouts
// ----------------------------------------------------------------------------------------------------------------------------------

TEST(SelectAfter, RunsWhenNothingComes) {
  run([] {
    chan<int> a = make_chan<int>();
    const int64_t begin = rt::nanotime();
    bool late = false;
    EXPECT_EQ(select(recv(a), after(5ms, [&] { late = true; })), 1);
    EXPECT_TRUE(late);
    EXPECT_GE(rt::nanotime() - begin, 5'000'000);
    EXPECT_EQ(receivers(a.raw()), 0u);
    EXPECT_EQ(select(after(1ms)), 0);
    EXPECT_EQ(select(after(10s), after(1ms), recv(a)), 1);  // the shortest
  });
}

TEST(SelectAfter, NotPositiveIsAsOtherwise) {
  run([] {
    chan<int> a = make_chan<int>(1);
    EXPECT_EQ(select(recv(a), after(0s)), 1);
    EXPECT_EQ(select(recv(a), after(-1s)), 1);
    a.send(1);
    EXPECT_EQ(select(recv(a), after(0s)), 0);
  });
}

TEST(SelectAfter, NeverIsNeverLate) {
  run([] {
    chan<int> a = make_chan<int>();
    wait_group wg;
    int index = -1;
    wg.go([&] { index = select(recv(a), after(std::chrono::nanoseconds::max())); });
    until_receivers(a, 1);
    a.send(1);
    wg.wait();
    EXPECT_EQ(index, 0);
  });
}

// The timer and a sender reach for the same select.
TEST(SelectAfter, OneOfTimerAndSenderWins) {
  run([] {
    chan<int> c = make_chan<int>();
    wait_group wg;
    std::atomic<int> sent{0}, received{0}, late{0};
    std::mt19937 random(1);
    std::vector<int> delays(400);
    for (int& d : delays) d = static_cast<int>(random() % 200);
    wg.go([&] {
      for (int d : delays) {
        if (select(recv(c), after(std::chrono::microseconds(d))) == 0) {
          ++received;
        } else {
          ++late;
        }
      }
    });
    wg.go([&] {
      for (int d : delays) {
        if (select(send(c, d), after(std::chrono::microseconds(100))) == 0) ++sent;
      }
    });
    wg.wait();
    EXPECT_EQ(sent, received);
    EXPECT_EQ(received + late, 400);
    EXPECT_EQ(receivers(c.raw()) + senders(c.raw()), 0u);
  });
}

// --- many cases, and a number known only at run time
// ------------------------------------------------------------------------------------------------

TEST(SelectDynamic, SixtyFourCases) {
  run([] {
    constexpr int kCases = 64;
    std::vector<root_chan<int>> c(kCases);
    for (auto& x : c) x = root_chan<int>(make_chan<int>());
    wait_group wg;
    std::vector<int> order(kCases);
    for (int i = 0; i < kCases; ++i) order[static_cast<size_t>(i)] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    wg.go([&] {
      for (int i : order) {
        until_receivers(c[static_cast<size_t>(i)].get(), 1);
        c[static_cast<size_t>(i)].send(i);
      }
    });
    std::vector<std::unique_ptr<recv_case<int>>> cases;
    std::vector<select_case*> list;
    for (auto& x : c) {
      cases.push_back(std::make_unique<recv_case<int>>(x.get()));
      list.push_back(cases.back().get());
    }
    for (int i : order) {
      EXPECT_EQ(select(list), i);
      EXPECT_EQ(cases[static_cast<size_t>(i)]->take(), i);
      EXPECT_EQ(cases[static_cast<size_t>(i)]->take(), std::nullopt);
    }
    wg.wait();
    after_case soon(1ms);
    otherwise_case none;
    list.push_back(&soon);
    EXPECT_EQ(select(list), kCases);
    list.push_back(&none);
    EXPECT_EQ(select(list), kCases + 1);
  });
}

TEST(SelectDynamic, AValueNobodyTookIsDestroyed) {
  run([] {
    chan<std::shared_ptr<int>> c = make_chan<std::shared_ptr<int>>(2);
    auto p = std::make_shared<int>(1);
    {
      recv_case<std::shared_ptr<int>> r(c);
      select_case* const list[] = {&r};
      c.send(p);
      c.send(p);
      EXPECT_EQ(p.use_count(), 3);
      EXPECT_EQ(select(list), 0);
      EXPECT_EQ(select(list), 0);
      EXPECT_EQ(p.use_count(), 2);
    }
    EXPECT_EQ(p.use_count(), 1);
  });
}

// --- many goroutines
// ------------------------------------------------------------------------------------------------------------------------------

// Every value that was sent is received exactly once, whatever way both sides chose.
TEST(SelectStress, NothingLostNothingTwice) {
  for (size_t capacity : {0, 1, 5}) {
    run([&] {
      constexpr int kChannels = 4, kSenders = 8, kReceivers = 8, kEach = 2000;
      chan<int> c[kChannels];
      for (auto& x : c) x = make_chan<int>(capacity);
      chan<unit> done = make_chan<unit>();
      wait_group sending, receiving;
      std::atomic<int64_t> sum{0};
      std::atomic<int> count{0};
      for (int s = 0; s < kSenders; ++s)
        sending.go([&, s] {
          for (int i = 0; i < kEach; ++i) {
            const int v = s * kEach + i;
            switch (i % 3) {
              case 0: c[v % kChannels].send(v); break;
              case 1: select(send(c[0], v), send(c[1], v), send(c[2], v), send(c[3], v)); break;
              case 2:
                while (select(send(c[1], v), send(c[3], v), after(std::chrono::microseconds(50))) == 2) {
                }
            }
          }
        });
      for (int r = 0; r < kReceivers; ++r)
        receiving.go([&] {
          bool over = false;
          const auto take = [&](std::optional<int> v) {
            sum += v.value();
            ++count;
          };
          while (!over) {
            select(recv(c[3], take), recv(c[2], take), recv(c[1], take), recv(c[0], take), recv(done, [&] { over = true; }));
          }
        });
      sending.wait();
      until([&] { return count == kSenders * kEach; });
      done.close();
      receiving.wait();
      const int64_t n = kSenders * kEach;
      EXPECT_EQ(sum, n * (n - 1) / 2);
      for (auto& x : c) EXPECT_EQ(receivers(x.raw()) + senders(x.raw()), 0u);
    });
  }
}

// Goroutines that send and receive on the same channels, in opposite orders: no deadlock between their locks.
TEST(SelectStress, LockOrder) {
  run([] {
    chan<int> a = make_chan<int>(), b = make_chan<int>();
    chan<unit> done = make_chan<unit>();
    wait_group wg;
    std::atomic<int> sent{0}, received{0};
    for (int k = 0; k < 6; ++k)
      wg.go([&, k] {
        for (int i = 0; i < 3000; ++i) {
          const int r = k % 2 == 0 ? select(send(a, i), recv(b), recv(done)) : select(send(b, i), recv(a), recv(done));
          if (r == 2) return;
          ++(r == 0 ? sent : received);
        }
      });
    // Whoever is left at the end waits for partners that are gone.
    until([&] { return sent + received >= 6000; });
    done.close();
    wg.wait();
    EXPECT_EQ(sent, received);
  });
}

// With timeouts alone nothing but the timer holds the frame: it may be gone before the park's commit has finished (which once read it
// afterwards).
TEST(Select, OnlyATimeoutManyTimesAtOnce) {
  run([] {
    wait_group wg;
    for (int i = 0; i < 200; ++i)
      wg.go([] {
        for (int j = 0; j < 20; ++j) EXPECT_EQ(select(after(std::chrono::microseconds(1))), 0);
      });
    wg.wait();
  });
}

}  // namespace
}  // namespace warren
