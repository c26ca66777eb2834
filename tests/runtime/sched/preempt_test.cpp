// Taking the P from goroutines that do not give it: loops, undeclared blocking calls, whatever they are in the middle of.
// Every test runs with the number of Ps it is given; those that matter most on one P set it themselves through CTest (WARREN_MAXPROCS=1).
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sched/stop.h"
#include "tests/death_style.h"
#include "warren/chan.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/ptr.h"
#include "warren/stats.h"
#include "warren/sync.h"

namespace warren {
namespace {

using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__)
// TSan delivers a signal at the next call it intercepts: a loop that calls nothing never gets it.
constexpr bool kSignalsAreDelayed = true;
#else
constexpr bool kSignalsAreDelayed = false;
#endif

// Busy goroutines, one more than there are Ps, that call nothing of the runtime while this exists.
class hogs {
 public:
  template <class Work>
  explicit hogs(Work work, int n = maxprocs() + 1) : running_(n) {
    for (int i = 0; i < n; ++i)
      go([this, work] {
        while (!end_.load(std::memory_order_relaxed)) work();
        --running_;
      });
  }
  ~hogs() {
    end_ = true;
    while (running_ > 0) sleep(1ms);
  }

 private:
  std::atomic<bool> end_{false};
  std::atomic<int> running_;
};

// The main goroutine gets its turn again and again: with sleeps, timers, channels.
void expect_progress(int rounds) {
  for (int i = 0; i < rounds; ++i) sleep(1ms);
  auto c = make_chan<int>();
  go([c]() mutable { c.send(7); });
  EXPECT_EQ(c.recv().value_or(0), 7);
}

TEST(Preempt, ALoopThatCallsNothingLosesItsP) {
  run([] {
    const auto before = read_scheduler_stats();
    hogs busy([] { asm volatile(""); });
    expect_progress(5);
    const auto after = read_scheduler_stats();
    EXPECT_GT(after.hogs_revoked, before.hogs_revoked);
    EXPECT_GT(after.hogs, 0u);
  });
}

TEST(Preempt, HogsComeBackThroughTheQueueAndLoseNothing) {
  run([] {
    std::atomic<int> ended{0};
    std::atomic<uint64_t> made{0};
    const int n = maxprocs() + 2;
    for (int i = 0; i < n; ++i)
      go([&] {
        for (int round = 0; round < 4; ++round) {
          for (int64_t k = 0; k < 40'000'000; ++k) asm volatile("");
          // Each a different way into the runtime for a goroutine without a P.
          made += *make<int>(1);
          yield();
          mutex m;
          m.lock();
          m.unlock();
          sleep(1us);
          auto c = make_chan<int>(1);
          c.send(1);
          c.recv();
          go([&] { made += 1; });
          blocking([] { usleep(10); });
        }
        ++ended;
      });
    while (ended < n) sleep(1ms);
    while (made < static_cast<uint64_t>(n) * 8) yield();
    EXPECT_EQ(read_scheduler_stats().hogs, 0u);
  });
}

TEST(Preempt, AnUndeclaredBlockingCallLosesItsPWithoutASignal) {
  run([] {
    std::atomic<int> slept{0};
    const int n = maxprocs() + 1;
    const auto before = read_scheduler_stats();
    for (int i = 0; i < n; ++i)
      go([&] {
        // A signal would end it early: usleep is never restarted.
        const auto start = std::chrono::steady_clock::now();
        const bool whole = usleep(100'000) == 0;
        // With a slice of 100 µs the computing before it may have been a hog's, and the signal on its way.
        if (getenv("WARREN_SLICE_US") == nullptr) {
          EXPECT_TRUE(whole);
          EXPECT_GE(std::chrono::steady_clock::now() - start, 100ms);
        }
        ++slept;
      });
    expect_progress(3);
    EXPECT_LT(slept.load(), n) << "the others ran only after the calls had ended";
    while (slept < n) sleep(1ms);
    EXPECT_GT(read_scheduler_stats().blocked_revoked, before.blocked_revoked);
  });
}

TEST(Preempt, AnUndeclaredReadFromAPipe) {
  run([] {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::vector<char> got(maxprocs() + 1);
    wait_group done;
    for (char& c : got) {
      done.add(1);
      go([&] {
        EXPECT_EQ(read(ends[0], &c, 1), 1);
        done.done();
      });
    }
    sleep(5ms);  // while they hold every P, until they are taken
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(write(ends[1], "x", 1), 1);
    done.wait();
    close(ends[0]);
    close(ends[1]);
  });
}

// ---- in the middle of other people's code -----------------------------------------------------------------------------------------------

TEST(Preempt, InsideMalloc) {
  run([] {
    hogs busy([] {
      void* p[32];
      for (size_t i = 0; i < 32; ++i) p[i] = malloc(16 + i * 40);
      for (void* q : p) free(q);
    });
    for (int i = 0; i < 20; ++i) {
      std::string s(100 + i, 'x');  // the main goroutine wants the same locks
      sleep(1ms);
      EXPECT_EQ(s.back(), 'x');
    }
  });
}

TEST(Preempt, InsideThrow) {
  run([] {
    hogs busy([] {
      try {
        throw std::runtime_error("x");
      } catch (const std::exception& e) {
        if (*e.what() != 'x') abort();
      }
    });
    for (int i = 0; i < 10; ++i) {
      try {
        throw i;
      } catch (int n) {
        sleep(1ms);
        EXPECT_EQ(n, i);
      }
    }
  });
}

TEST(Preempt, InsidePrintf) {
  run([] {
    FILE* null = fopen("/dev/null", "w");
    std::atomic<bool> end{false};
    std::atomic<int> left{0};
    const int n = maxprocs() + 1;
    for (int i = 0; i < n; ++i)
      go([&] {
        while (!end) fprintf(null, "%d %s\n", 42, "a line of text");
        ++left;
      });
    for (int i = 0; i < 10; ++i) {
      fprintf(null, "main %d\n", i);
      sleep(1ms);
    }
    end = true;
    while (left < n) sleep(1ms);
    fclose(null);
  });
}

TEST(Preempt, InsideDlopen) {
  run([] {
    hogs busy([] {
      void* lib = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
      if (lib == nullptr || dlsym(lib, "cos") == nullptr) abort();
      dlclose(lib);
    });
    for (int i = 0; i < 10; ++i) {
      void* lib = dlopen("libm.so.6", RTLD_LAZY);
      ASSERT_NE(lib, nullptr);
      dlclose(lib);
      sleep(1ms);
    }
  });
}

TEST(Preempt, InsideAStdMutexThatOthersWaitFor) {
  run([] {
    std::mutex m;
    std::atomic<uint64_t> turns{0};
    hogs busy(
        [&] {
          const std::lock_guard guard(m);
          for (int i = 0; i < 200'000; ++i) asm volatile("");
          ++turns;
        },
        8);
    expect_progress(20);
    EXPECT_GT(turns.load(), 0u);
  });
}

// ---- the world stops all the same
// --------------------------------------------------------------------------------------------------------

TEST(Preempt, TheWorldStopsALoop) {
  if (kSignalsAreDelayed) GTEST_SKIP() << "TSan delivers no signal to a loop";
  run([] {
    std::atomic<uint64_t> steps{0};
    hogs busy([&] { steps.fetch_add(1, std::memory_order_relaxed); });
    for (int round = 0; round < 30; ++round) {
      rt::stop_the_world("test");
      const uint64_t before = steps;
      for (int i = 0; i < 200'000; ++i) asm volatile("");
      EXPECT_EQ(steps.load(), before) << "a goroutine runs while the world stands";
      rt::start_the_world();
      if (round % 3 == 0) sleep(1ms);
    }
    const uint64_t after = steps;
    while (steps == after) sleep(100us);
  });
}

struct node {
  ptr<node> next;
  int64_t value = 0;
};

// What a loop holds in registers and on its stack only is alive, wherever the signal finds it, with a P and without.
TEST(Preempt, TheCollectorSeesWhatALoopHolds) {
  if (kSignalsAreDelayed) GTEST_SKIP() << "TSan delivers no signal to a loop";
  run([] {
    std::atomic<bool> end{false};
    std::atomic<int> bad{0};
    std::atomic<int> ended{0};
    const int n = maxprocs() + 1;
    for (int i = 0; i < n; ++i)
      go([&, i] {
        ptr<node> head;
        for (int k = 0; k < 1000; ++k) {
          auto p = make<node>();
          p->value = i;
          p->next = head;
          head = p;
        }
        while (!end.load(std::memory_order_relaxed)) {
          const node* raw = head.get();
          int count = 0;
          while (raw != nullptr) {
            if (raw->value != i) ++bad;
            raw = raw->next.get();
            ++count;
          }
          if (count != 1000) ++bad;
        }
        ++ended;
      });
    for (int round = 0; round < 40; ++round) {
      for (int k = 0; k < 2000; ++k) make<node>()->value = -1;  // over what was freed by mistake
      gc();
    }
    end = true;
    while (ended < n) sleep(1ms);
    EXPECT_EQ(bad.load(), 0);
  });
}

// Held goroutines may hold malloc's lock, and the scheduler may need it to start a thread: the stop lets go and tries again.
TEST(Preempt, CollectionsAmongMallocHogs) {
  if (kSignalsAreDelayed) GTEST_SKIP() << "TSan delivers no signal to a loop";
  run([] {
    hogs busy(
        [] {
          void* p = malloc(100'000);
          free(malloc(24));
          free(p);
        },
        maxprocs() * 2);
    for (int round = 0; round < 50; ++round) {
      for (int k = 0; k < 100; ++k) make<node>()->value = -1;
      go([] { blocking([] { usleep(100); }); });
      gc();
    }
  });
}

TEST(Preempt, BlockedWithoutAPAndStillScanned) {
  if (kSignalsAreDelayed) GTEST_SKIP() << "TSan delivers no signal to a loop";
  run([] {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::atomic<int> good{0};
    const int n = maxprocs() + 1;
    for (int i = 0; i < n; ++i)
      go([&] {
        auto kept = make<node>();
        kept->value = 4711;
        char c;
        EXPECT_EQ(read(ends[0], &c, 1), 1);  // restarted: collections interrupt it
        if (kept->value == 4711) ++good;
      });
    for (int round = 0; round < 20; ++round) {
      for (int k = 0; k < 2000; ++k) make<node>()->value = -1;
      gc();
      sleep(200us);
    }
    for (int i = 0; i < n; ++i) EXPECT_EQ(write(ends[1], "x", 1), 1);
    while (good < n) sleep(1ms);
    close(ends[0]);
    close(ends[1]);
  });
}

// ---- limits and reports -----------------------------------------------------------------------------------------------------------------

class PreemptDeathTest : public testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

TEST_F(PreemptDeathTest, BeyondTheCapAHogKeepsItsPAndIsReported) {
  if (kSignalsAreDelayed || tests::emulated()) GTEST_SKIP();
  EXPECT_EXIT(
      {
        setenv("WARREN_MAX_HOGS", "1", 1);
        setenv("WARREN_REPORT", "1", 1);
        setenv("WARREN_MAXPROCS", "1", 1);
        static std::atomic<bool> end{false};  // the main goroutine may be gone before a loop on the calling thread has seen it
        run([] {
          // A thread outside ends it: with one hog allowed and one P, the second keeps the P, and nobody else gets a turn.
          std::thread watch([] {
            std::this_thread::sleep_for(300ms);
            fprintf(stderr, "revoked %d\n", static_cast<int>(read_scheduler_stats().hogs_revoked));
            end = true;
          });
          for (int i = 0; i < 2; ++i)
            go([] {
              while (!end.load(std::memory_order_relaxed)) asm volatile("");
            });
          yield();
          watch.join();
        });
        _exit(0);
      },
      testing::ExitedWithCode(0),
      "goroutine [0-9]+ computes for [0-9]+ ms without a call of the runtime, and 1 goroutines .WARREN_MAX_HOGS. run without a P "
      "already.*Spawned at .*\n  #0 .*revoked 1");
}

TEST_F(PreemptDeathTest, ABlockedGoroutineIsReportedWithTheNameOfTheCall) {
  if (tests::emulated()) GTEST_SKIP() << "the emulator sleeps in calls of its own";
  EXPECT_EXIT(
      {
        setenv("WARREN_REPORT", "1", 1);
        setenv("WARREN_SLICE_US", "10000", 1);
        setenv("WARREN_MAXPROCS", "1", 1);
        run([] {
          go([] { usleep(50'000); });
          sleep(20ms);
        });
        _exit(0);
      },
      testing::ExitedWithCode(0),
      "goroutine [0-9]+ blocks its thread for [0-9]+ ms so far in clock_nanosleep without warren::blocking.*Spawned at ");
}

TEST_F(PreemptDeathTest, ASignalThatIsTakenIsNotTakenOver) {
  EXPECT_EXIT(
      {
        char number[16];
        snprintf(number, sizeof number, "%d", SIGRTMIN + 9);
        setenv("WARREN_PREEMPT_SIGNAL", number, 1);
        signal(SIGRTMIN + 9, [](int) {});
        run([] {});
      },
      testing::KilledBySignal(SIGABRT), "WARREN_PREEMPT_SIGNAL=[0-9]+ is in use");
  EXPECT_EXIT(
      {
        setenv("WARREN_PREEMPT_SIGNAL", "11", 1);
        run([] {});
      },
      testing::KilledBySignal(SIGABRT), "WARREN_PREEMPT_SIGNAL=11: want a real-time signal");
}

TEST(Preempt, AForeignSignalOfThatNumberDoesNothing) {
  run([] {
    // Sent by kill, not by us; to the process, so some thread gets it.
    for (int s = SIGRTMIN + 6; s < SIGRTMIN + 7; ++s) kill(getpid(), s);
    expect_progress(3);
  });
}

TEST(Preempt, AThreadThatInheritedABlockedMaskIsPreemptedAllTheSame) {
  if (kSignalsAreDelayed) GTEST_SKIP() << "TSan delivers no signal to a loop";
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  run([] {
    const auto was = read_scheduler_stats().hogs_revoked;
    hogs busy([] { asm volatile(""); });
    expect_progress(3);
    EXPECT_GT(read_scheduler_stats().hogs_revoked, was);
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace warren
