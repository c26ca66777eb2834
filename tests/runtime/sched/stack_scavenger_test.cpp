// What gives stack memory back, and what measures how much of it is used.
#include "runtime/sched/stack_scavenger.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "runtime/os/clock.h"
#include "runtime/os/membarrier.h"
#include "runtime/sched/m.h"
#include "runtime/sched/park.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/stats.h"
#include "warren/sync.h"

namespace warren {
namespace {

using rt::g;
using rt::getg;

constexpr int64_t kSecond = 1'000'000'000;

rt::scheduler& sched() { return *rt::scheduler::current(); }

size_t resident_bytes(const std::byte* from, const std::byte* to) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> exists(static_cast<size_t>(to - from) / page);
  EXPECT_EQ(mincore(const_cast<std::byte*>(from), exists.size() * page, exists.data()), 0);
  return page * static_cast<size_t>(std::count_if(exists.begin(), exists.end(), [](unsigned char c) { return (c & 1) != 0; }));
}
size_t resident_stack(const g* gp) { return resident_bytes(gp->slot + rt::kStackGuard, gp->slot + rt::stack_slot_size(gp->stack_class)); }

// Writes `bytes` of stack below the caller.
[[gnu::noinline]] void go_deep(size_t bytes) {
  auto* frame = static_cast<volatile char*>(__builtin_alloca(bytes));
  for (size_t i = 0; i < bytes; i += 64) frame[i] = 1;
}

struct parked {
  std::atomic<g*> who{nullptr};
  std::atomic<bool> woken{false};
  void park() {
    rt::gopark(
        [](g* gp, void* self) {
          static_cast<parked*>(self)->who.store(gp);
          return true;
        },
        this, rt::wait_reason::other);
  }
  g* wait() {
    while (who.load() == nullptr) yield();
    return who.load();
  }
};

class Scavenger : public testing::Test {
 protected:
  void SetUp() override {
    if (!rt::has_membarrier) GTEST_SKIP() << "no membarrier here: stacks are not claimed, so nothing is cut";
  }
};

TEST_F(Scavenger, WhatLiesBelowAParkedGoroutineIsGivenBackOncePerWait) {
  run([] {
    constexpr size_t kDeep = 40'000;
    parked a;
    std::string seen;
    go([&] {
      char mine[256];
      strcpy(mine, "what lies above the stack pointer stays");
      go_deep(kDeep);
      a.park();
      seen = mine;
      go_deep(kDeep);  // the pages come back
      a.woken = true;
    });
    g* gp = a.wait();
    ASSERT_GE(resident_stack(gp), kDeep);

    const uint64_t before = read_scheduler_stats().stacks_cut;
    sched().scavenger().pass(1000 * kSecond, 10 * kSecond);
    EXPECT_GE(resident_stack(gp), kDeep) << "seen for the first time: it may have parked a moment ago";
    sched().scavenger().pass(1005 * kSecond, 10 * kSecond);
    EXPECT_GE(resident_stack(gp), kDeep) << "not long enough";
    sched().scavenger().pass(1010 * kSecond, 10 * kSecond);
    EXPECT_LE(resident_stack(gp), 2u * static_cast<size_t>(sysconf(_SC_PAGESIZE)) * rt::kStackScale);
    EXPECT_EQ(gp->waiting_since.load(), 1000 * kSecond);
    const uint64_t after = read_scheduler_stats().stacks_cut;
    EXPECT_GT(after, before);
    sched().scavenger().pass(2000 * kSecond, 10 * kSecond);
    EXPECT_EQ(gp->cut_parks, gp->parks.load()) << "once for each wait";

    goready(gp);
    while (!a.woken) yield();
    EXPECT_EQ(seen, "what lies above the stack pointer stays");
  });
}

TEST_F(Scavenger, ANewWaitBeginsANewAge) {
  run([] {
    parked a;
    go([&] {
      for (int i = 0; i < 2; ++i) {
        go_deep(20'000);
        a.park();
      }
      a.woken = true;
    });
    g* gp = a.wait();
    sched().scavenger().pass(1000 * kSecond, 10 * kSecond);
    a.who = nullptr;
    goready(gp);
    ASSERT_EQ(a.wait(), gp);
    sched().scavenger().pass(1020 * kSecond, 10 * kSecond);
    EXPECT_GE(resident_stack(gp), 20'000u) << "this wait was first seen now";
    EXPECT_EQ(gp->waiting_since.load(), 1020 * kSecond);
    a.who = nullptr;
    goready(gp);
    while (!a.woken) yield();
  });
}

// The claim's two sides, many times at every offset: goroutines that park and are readied, while a thread cuts whatever waits. Each keeps
// data above its stack pointer and writes new data below: a cut of a running stack would lose it.
TEST_F(Scavenger, NothingIsTakenFromAGoroutineThatRuns) {
  run([] {
    constexpr int kPairs = 8;
    constexpr int kRounds = 4000;
    std::atomic<int> running{2 * kPairs};
    std::atomic<int> damaged{0};
    struct local {
      // Writes 8 KiB below the caller, gives way in the middle, and looks whether it is still there.
      [[gnu::noinline]] static bool intact(uint64_t mark, const chan<int>& in, const chan<int>& out, bool first) {
        volatile uint64_t frame[1024];
        for (auto& w : frame) w = mark;
        if (first) out.send(1);
        in.recv();
        if (!first) out.send(1);
        for (const auto& w : frame)
          if (w != mark) return false;
        return true;
      }
    };
    for (int i = 0; i < kPairs; ++i) {
      const auto a = make_chan<int>(), b = make_chan<int>();
      for (const bool first : {true, false}) {
        go([=, &running, &damaged] {
          for (int r = 0; r < kRounds; ++r)
            if (!local::intact(static_cast<uint64_t>(r) * 2 + 1, first ? a : b, first ? b : a, first)) ++damaged;
          --running;
        });
      }
    }
    int64_t now = 1000 * kSecond;
    std::atomic<bool> cutter_done{false};
    go([&] {
      while (running > 0) {
        // Everything that waits now has waited "for long": the second pass of each pair cuts it.
        sched().scavenger().pass(now, 0);
        now += kSecond;
        yield();
      }
      cutter_done = true;
    });
    while (!cutter_done) yield();
    EXPECT_EQ(damaged, 0);
    EXPECT_GT(read_scheduler_stats().stacks_cut, 0u);
  });
}

TEST_F(Scavenger, AClaimedGoroutineWaitsAndRunningOnesAreNotClaimed) {
  run([] {
    parked a;
    go([&] {
      a.park();
      a.woken = true;
    });
    g* const sleeper = a.wait();
    std::atomic<g*> busy{nullptr};
    std::atomic<bool> end{false};
    const bool two = maxprocs() > 1;
    if (two) {
      go([&] {
        busy = getg();
        while (!end) {
        }
      });
      while (busy == nullptr) yield();
    }
    g* list[3] = {getg(), sleeper, two ? busy.load() : getg()};
    ASSERT_EQ(rt::claim_stacks(list, two ? 3 : 2), 1u);
    EXPECT_EQ(list[0], sleeper);
    end = true;
    goready(sleeper);
    if (two) {
      // The other P takes it and waits at the claim; this goroutine needs no P but its own.
      while (sleeper->status.load() == rt::g_status::waiting) rt::cpu_pause();
      for (int i = 0; i < 100'000; ++i) EXPECT_FALSE(a.woken);
    }
    rt::release_stacks(list, 1);
    while (!a.woken) yield();
  });
}

// So many goroutines at once, which have all ended on return.
void burst(int n) {
  const auto end = make_chan<unit>();
  wait_group wg;
  std::atomic<int> begun{0};
  wg.add(n);
  for (int i = 0; i < n; ++i)
    go([&, end] {
      ++begun;
      end.recv();
      wg.done();
    });
  while (begun < n) yield();
  end.close();
  wg.wait();
}

// Free stacks are given back until so many cost nothing: by hand, and by the monitor, who may hold some for a moment.
scheduler_stats give_back_stacks(uint64_t empty) {
  for (;;) {
    sched().page_scavenger().give_back(~uint64_t{0});
    const scheduler_stats s = read_scheduler_stats();
    if (s.stacks_empty >= empty && s.stack_idle_bytes == s.stack_released_bytes) return s;
    yield();
  }
}

#if defined(__SANITIZE_THREAD__)
constexpr int kBurst = 800;  // making a fiber takes TSan milliseconds, and sysmon makes passes of its own every ten seconds
#else
constexpr int kBurst = 5000;
#endif
// Of a burst, those that are not kept for the next goroutines.
uint64_t most_of_a_burst() { return static_cast<uint64_t>(kBurst) - 300 - 64 * static_cast<uint64_t>(maxprocs()); }

TEST(StackPool, ABurstGivesItsMemoryBack) {
  run([] {
    burst(kBurst);
    const uint64_t slots = read_scheduler_stats().stack_slots;
    ASSERT_GE(slots, static_cast<uint64_t>(kBurst));
    sched().scavenger().pass(rt::nanotime(), INT64_MAX);
    EXPECT_EQ(read_scheduler_stats().stacks_emptied, 0u) << "they were in use since the pass before";
    sched().scavenger().pass(rt::nanotime(), INT64_MAX);
    const scheduler_stats s = give_back_stacks(most_of_a_burst());
    EXPECT_GE(s.stacks_emptied, most_of_a_burst());
    EXPECT_EQ(s.stack_inuse_bytes + s.stack_idle_bytes, s.stack_bytes);
    EXPECT_GE(s.stack_released_bytes, s.stacks_empty * rt::stack_slot_size(0));
    uint64_t resident = 0;  // slots with memory
    for (uint32_t i = 0; i < sched().pool().g_count(); ++i) {
      const std::byte* slot = sched().pool().stacks().slot_of(sched().pool().g_at(i));
      resident += resident_bytes(slot + rt::kStackGuard, slot + rt::stack_slot_size(sched().pool().stacks().class_of(slot))) > 0 ? 1 : 0;
    }
    EXPECT_LE(resident, s.stack_slots - s.stacks_empty);
    // And they serve again, in the same places.
    burst(kBurst);
    const scheduler_stats again = read_scheduler_stats();
    EXPECT_EQ(again.stack_slots, slots) << "the free ones come before new ones";
    EXPECT_LT(again.stacks_empty, s.stacks_empty);
  });
}

// Nobody makes a pass by hand, the clock is the monitor's own, and once the burst is over nothing happens that would call for one.
TEST(StackPool, WhatABurstLeftIsComeBackForThoughNothingHappensAnyMore) {
  if (!rt::has_membarrier) GTEST_SKIP() << "no membarrier here: waits stay young for ever, and keep passes coming";
  run([] {
    rt::stack_scavenger& s = sched().scavenger();
    int64_t now = rt::nanotime();
    const auto whole_pass = [&] {
      now += 1000 * kSecond;
      do s.tick(now);
      while (s.may_sleep(0) == 0);
    };
    burst(600);
    for (int i = 0; i < 4; ++i) whole_pass();  // who waits has waited for long now, and the pool has what is always kept
    burst(600);
    whole_pass();
    ASSERT_TRUE(sched().pool().may_trim());
    EXPECT_LT(s.may_sleep(0), INT64_MAX) << "the next pass is due, whatever happens until then";
    whole_pass();
    EXPECT_FALSE(sched().pool().may_trim());
  });
}

// For who is short of memory: at once, without a pass.
TEST(StackPool, DrainedPoolsKeepWhatALullShouldOrNothing) {
  run([] {
    burst(kBurst);
    sched().pool().drain(rt::goroutine_pool::lull::keep);
    const scheduler_stats some = give_back_stacks(most_of_a_burst());
    sched().pool().drain(rt::goroutine_pool::lull::no);
    give_back_stacks(some.stacks_empty + 256);
    burst(kBurst);
    EXPECT_EQ(read_scheduler_stats().stack_slots, some.stack_slots);
  });
}

// A claimant that saw the goroutine alive may be held up for any time before it looks again: the word it wrote must stay.
TEST(StackPool, AStackThatSomebodyClaimsIsNotFreed) {
  run([] {
    burst(1000);
    rt::goroutine_pool& pool = sched().pool();
    const uint64_t in_use = read_scheduler_stats().stack_inuse_bytes;
    std::vector<g*> claimed;
    for (uint32_t i = 0; i < pool.g_count(); ++i) {
      uint32_t nobody = 0;
      g* const gp = pool.g_at(i);
      if (gp->status == rt::g_status::dead && gp->stack_claimed.compare_exchange_strong(nobody, 1)) claimed.push_back(gp);
    }
    ASSERT_GT(claimed.size(), 500u);
    pool.drain(rt::goroutine_pool::lull::no);
    EXPECT_EQ(read_scheduler_stats().stack_inuse_bytes, in_use);
    for (g* gp : claimed) gp->stack_claimed = 0;
    pool.drain(rt::goroutine_pool::lull::no);
    EXPECT_LT(read_scheduler_stats().stack_inuse_bytes, in_use);
    // Now the pool has claimed them itself, and gives them up to the next goroutines.
    g* list[1] = {claimed[claimed.size() / 2]};
    EXPECT_EQ(rt::claim_stacks(list, 1), 0u);
    burst(1000);
  });
}

TEST(StackPool, NewbornsOfABurstAreGivenBack) {
  run([] {
    constexpr int kBurst = 40'000;
    constexpr size_t kSlabNewborns = 512;
    constexpr size_t kSlabBytes = kSlabNewborns * sizeof(detail::newborn);
    // Returns how many lay there at once: thieves, and a slice that ends meanwhile, make them fewer.
    auto burst = [] {
      std::atomic<int> ran{0};
      getg()->no_safepoint = true;  // so that they pile up
      for (int i = 0; i < kBurst; ++i) go([&] { ++ran; });
      getg()->no_safepoint = false;
      const int piled = kBurst - ran;
      while (ran < kBurst) yield();
      return static_cast<size_t>(piled);
    };
    const size_t piled = burst();
    rt::newborn_pool& pool = sched().pool().newborns();
    pool.trim();
    const size_t freed = pool.trim();
    EXPECT_EQ(freed % kSlabBytes, 0u) << "whole slabs";
    if (maxprocs() == 1) {
      std::set<uintptr_t> held;  // slabs from which the P has a newborn in its list, two for each: they need not be aligned to their size
      for (const rt::runnable* nb = sched().first_p()->free_newborns; nb != nullptr; nb = nb->next)
        held.insert({reinterpret_cast<uintptr_t>(nb) / kSlabBytes, reinterpret_cast<uintptr_t>(nb) / kSlabBytes + 1});
      const size_t stay = 8 * 1024 / kSlabNewborns + 2 + held.size();  // a megabyte, what is begun, what the P holds
      EXPECT_GE(freed / kSlabBytes + stay, piled / kSlabNewborns);
    }
    EXPECT_EQ(pool.trim(), 0u);
    burst();
  });
}

TEST(StackUse, IsMeasuredBySpawnSite) {
  setenv("WARREN_STACKSAMPLE", "1", 1);
  run([] {
    wait_group wg;
    for (int i = 0; i < 10; ++i) {
      wg.add(2);
      go([&] {
        go_deep(1000);
        wg.done();
      });
      go({.stack = stack_size::large}, [&, i] {
        go_deep(20'000 + static_cast<size_t>(i) * 1000);
        wg.done();
      });
    }
    wg.wait();
    yield();
    std::vector<stack_use> sites = read_stack_use();
    std::sort(sites.begin(), sites.end(), [](const stack_use& a, const stack_use& b) { return a.deepest > b.deepest; });
    ASSERT_GE(sites.size(), 2u);
    EXPECT_GE(sites[0].samples, 9u);  // the last may not have reached its end
    EXPECT_GE(sites[0].deepest, 28'000u);
    EXPECT_LE(sites[0].deepest, 29'000u + 16'000 * rt::kStackScale);
    EXPECT_GE(sites[0].mean, 20'000u);
    EXPECT_LT(sites[0].mean, sites[0].deepest);
    EXPECT_LT(sites[0].limit, rt::stack_slot_size(1) - rt::kStackGuard);
    EXPECT_GT(sites[0].limit, rt::stack_slot_size(1) - rt::kStackGuard - 2048);
    EXPECT_NE(sites[0].function.find("IsMeasuredBySpawnSite"), std::string::npos) << sites[0].function;
    const bool shallow_too =
        std::any_of(sites.begin(), sites.end(), [](const stack_use& u) { return u.deepest < 20'000 && u.samples >= 9; });
    EXPECT_TRUE(shallow_too);
  });
  unsetenv("WARREN_STACKSAMPLE");
}

TEST(StackUse, OptionsChooseTheClass) {
  run([] {
    const auto sizes = make_chan<int>(3);
    go({}, [=] { sizes.send(getg()->stack_class); });
    EXPECT_EQ(sizes.recv(), 0);
    go({.stack = stack_size::large}, [=] { sizes.send(getg()->stack_class); });
    EXPECT_EQ(sizes.recv(), 1);
    go({.stack = stack_size::huge}, [=] {
      go_deep(900 * 1024 * rt::kStackScale);
      sizes.send(getg()->stack_class);
    });
    EXPECT_EQ(sizes.recv(), 2);
  });
}

TEST(StackUse, SitesBeyondTheTableAreCountedTogether) {
  auto table = std::make_unique<rt::stack_use_table>();
  for (uintptr_t i = 1; i <= rt::stack_use_table::kSites + 3; ++i) table->record(reinterpret_cast<void*>(i * 16), i, 65536);
  size_t sites = 0, others = 0;
  table->for_each([&](const void* pc, const rt::stack_use_table::site& s) {
    ++sites;
    if (pc == nullptr) others = s.samples.load();
  });
  EXPECT_EQ(sites, rt::stack_use_table::kSites + 1);
  EXPECT_EQ(others, 3u);
}

// What the pool relies on when it takes an emptied g for a new one.
TEST(StackPool, ANewGIsZeroButForWhatIsSetAtReuse) {
  alignas(g) static std::byte fresh[sizeof(g)], emptied[sizeof(g)];
  ::new (fresh) g;
  reinterpret_cast<g*>(emptied)->sleep_timer.index = -1;  // which g_get sets
  for (size_t i = 0; i < sizeof(g); ++i) EXPECT_EQ(fresh[i], emptied[i]) << "at offset " << i;
}

}  // namespace
}  // namespace warren
