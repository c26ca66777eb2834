// GOMAXPROCS while the program runs: by call, and from the machine.
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>

#include "runtime/sched/maxprocs.h"
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

TEST(Resize, ReturnsWhatItWasAndZeroOnlyAsks) {
  run([] {
    const int was = maxprocs();
    EXPECT_EQ(set_maxprocs(3), was);
    EXPECT_EQ(set_maxprocs(0), 3);
    EXPECT_EQ(set_maxprocs(-1), 3);
    EXPECT_EQ(maxprocs(), 3);
    EXPECT_EQ(set_maxprocs(100'000), 3);
    EXPECT_EQ(maxprocs(), 1024);
    EXPECT_EQ(set_maxprocs(was), 1024);
  });
}

// Queued goroutines, sleepers (whose timers lie in the heaps of Ps that go), allocators, and hogs, while the number goes up and down.
TEST(Resize, NothingIsLost) {
  run([] {
    std::atomic<int> finished{0};
    std::atomic<bool> end{false};
    constexpr int workers = 300;
    for (int i = 0; i < workers; ++i)
      go([&, i] {
        for (int k = 0; k < 30; ++k) {
          auto p = make<int64_t>(i);
          sleep(std::chrono::microseconds(50 + i));
          yield();
          if (*p != i) abort();
          auto c = make_chan<int>();
          go([c, k] { c.send(k); });
          if (c.recv() != k) abort();
        }
        ++finished;
      });
    wait_group hog;
    hog.go([&] {
      while (!end) asm volatile("");
    });
    uint32_t random = 1;
    while (finished < workers) {
      random = random * 1664525 + 1013904223;
      set_maxprocs(static_cast<int>(1 + (random >> 28) % 8));
      yield();
    }
    end = true;
    hog.wait();
  });
}

TEST(Resize, SeveralCallersAtOnce) {
  run([] {
    wait_group done;
    for (int i = 0; i < 10; ++i) {
      done.add(1);
      go([&, i] {
        for (int k = 0; k < 20; ++k) set_maxprocs(1 + (i * 7 + k) % 5);
        done.done();
      });
    }
    done.wait();
    const int n = maxprocs();
    EXPECT_TRUE(n >= 1 && n <= 5) << n;
  });
}

TEST(Resize, ATimerOfAnUnusedPFires) {
  run([] {
    set_maxprocs(4);
    std::atomic<int> woken{0};
    constexpr int n = 64;
    for (int i = 0; i < n; ++i)
      go([&] {
        for (int64_t k = 0; k < 100'000; ++k) asm volatile("");  // so that other Ps take some of them
        sleep(3ms);
        ++woken;
      });
    while (read_scheduler_stats().parks < n) yield();
    set_maxprocs(1);
    while (woken < n) sleep(1ms);
    set_maxprocs(2);
  });
}

TEST(Resize, FollowsTheAffinityMask) {
  if (getenv("WARREN_MAXPROCS") != nullptr || getenv("GOMAXPROCS") != nullptr) GTEST_SKIP() << "the environment decides";
  if (tests::emulated()) GTEST_SKIP();
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (rt::usable_processors() < 2) GTEST_SKIP() << "one processor";
  run([&] {
    const int was = maxprocs();
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &before)) {
        CPU_SET(i, &one);
        break;
      }
    // Of the process: sysmon's thread reads its own mask, and is a thread like others; so all of them.
    ASSERT_EQ(system(("taskset -a -p 1 " + std::to_string(getpid()) + " > /dev/null").c_str()), 0);
    while (maxprocs() != 1) sleep(10ms);
    ASSERT_EQ(system(("taskset -a -p ffff " + std::to_string(getpid()) + " > /dev/null").c_str()), 0);
    while (maxprocs() != was) sleep(10ms);
  });
  sched_setaffinity(0, sizeof before, &before);
}

class QuotaFiles : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/warren-quota-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { ASSERT_EQ(system(("rm -r " + root_).c_str()), 0); }
  void put(const std::string& path, const std::string& text) {
    const std::string full = root_ + "/" + path;
    ASSERT_EQ(system(("mkdir -p $(dirname " + full + ")").c_str()), 0);
    std::ofstream(full) << text;
  }
  int read() { return rt::quota_processors((root_ + "/self").c_str(), (root_ + "/fs").c_str()); }
  std::string root_;
};

TEST_F(QuotaFiles, TheTightestOnTheWayUpHolds) {
  put("self", "0::/a/b/c\n");
  put("fs/a/b/c/cpu.max", "max 100000\n");
  put("fs/a/b/cpu.max", "350000 100000\n");
  put("fs/a/cpu.max", "800000 100000\n");
  EXPECT_EQ(read(), 4);
}

TEST_F(QuotaFiles, InAContainerTheRootAnswers) {
  put("self", "0::/docker/1234\n");
  put("fs/cpu.max", "150000 100000\n");
  EXPECT_EQ(read(), 2);
}

TEST_F(QuotaFiles, VersionOne) {
  put("self", "11:memory:/x\n4:cpu,cpuacct:/x\n");
  put("fs/cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n");
  put("fs/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(read(), 1);
  put("fs/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(read(), 0);
}

TEST_F(QuotaFiles, NonsenseIsNoLimit) {
  EXPECT_EQ(read(), 0);
  put("self", "garbage\n0:\n\n0::/\n");
  put("fs/cpu.max", "lots of it\n");
  EXPECT_EQ(read(), 0);
}

}  // namespace
}  // namespace warren
