// The scavenger over a heap whose system and clock are the test's.
#include "runtime/heap/scavenger.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "runtime/heap/mheap.h"

namespace warren::rt {
namespace {

struct given {
  uintptr_t at;
  size_t bytes;
};
std::vector<given> asked;  // of the system
int answer = 0;
int64_t now = 0;
int64_t cost = 0;  // of a call
int fake_advise(void* at, size_t bytes) {
  asked.push_back({reinterpret_cast<uintptr_t>(at), bytes});
  now += cost;
  if (answer != 0) return answer;
  return madvise(at, bytes, MADV_DONTNEED) == 0 ? 0 : errno;
}
int64_t fake_clock() { return now; }

constexpr uint64_t kMB = 1 << 20;

class Scavenger : public ::testing::Test {
 protected:
  Scavenger() : heap_({.reserve = size_t{256} << 20}), cache_(heap_.new_mcache()) {
    asked.clear();
    answer = 0;
    now = 0;
    cost = 0;
    heap_.scavenging().set_system_for_testing(&fake_advise, &fake_clock);
  }
  ~Scavenger() override { heap_.delete_mcache(cache_); }

  // Touched from end to end.
  mspan* large(size_t bytes) {
    mspan* const s = heap_.alloc_large(*cache_, bytes, scan_kind::noscan);
    if (s != nullptr) memset(reinterpret_cast<void*>(s->base), 0xab, s->bytes());
    return s;
  }
  // What a collection does: nothing is marked, all is swept.
  void drop_all() {
    heap_.flush(*cache_);
    heap_.set_live_bytes(0);
    heap_.begin_sweep();
    while (heap_.sweep_one()) {
    }
  }

  mheap heap_;
  mcache* cache_;
};

TEST_F(Scavenger, GivesBackTheHighestFirstAndOnlyWhatIsFree) {
  mspan* const keep = large(10 * kMB);
  ASSERT_NE(large(50 * kMB), nullptr);
  keep->try_mark(0);
  drop_all();
  const uint64_t before = heap_.resident_bytes();
  EXPECT_EQ(heap_.idle_resident_bytes(), 50 * kMB);
  EXPECT_EQ(heap_.scavenging().give_back(4 * kMB), 4 * kMB);
  EXPECT_EQ(heap_.resident_bytes(), before - 4 * kMB);
  uintptr_t below = ~uintptr_t{0};
  for (const given& g : asked) {
    EXPECT_LT(g.at, below);
    below = g.at;
    EXPECT_GE(g.at, keep->limit());
    EXPECT_LE(g.bytes, 64 * kPageSize);
    EXPECT_EQ(g.at % kPageSize, 0u);
  }
  EXPECT_EQ(heap_.scavenging().give_back(~uint64_t{0}), 46 * kMB);
  EXPECT_EQ(heap_.idle_resident_bytes(), 0u);
  EXPECT_EQ(heap_.resident_bytes(), keep->bytes());
  EXPECT_EQ(heap_.scavenging().total_bytes(), 50 * kMB);
  EXPECT_EQ(heap_.scavenging().give_back(1), 0u);
}

TEST_F(Scavenger, WhatComesFromTheSystemAgainIsZeroAndKnownToBe) {
  ASSERT_NE(large(8 * kMB), nullptr);
  drop_all();
  mspan* s = heap_.alloc_large(*cache_, 8 * kMB, scan_kind::noscan);
  EXPECT_TRUE(s->needzero) << "old contents";
  drop_all();
  heap_.scavenging().give_back(~uint64_t{0});
  s = heap_.alloc_large(*cache_, 4 * kMB, scan_kind::noscan);
  ASSERT_NE(s, nullptr);
  EXPECT_FALSE(s->needzero);
  for (uintptr_t a = s->base; a < s->limit(); a += 8) ASSERT_EQ(*reinterpret_cast<uint64_t*>(a), 0u);
  EXPECT_EQ(heap_.resident_bytes(), heap_.used_bytes() - heap_.released_bytes());
  EXPECT_EQ(heap_.released_bytes(), heap_.used_bytes() - 4 * kMB) << "an allocation counts as resident";
}

TEST_F(Scavenger, InTheBackgroundTakesOnePercentAndStopsAtItsGoal) {
  ASSERT_NE(large(64 * kMB), nullptr);
  drop_all();
  EXPECT_EQ(heap_.scavenging().tick(now), INT64_MAX) << "no goal";
  heap_.scavenging().set_goal(16 * kMB);
  cost = 40'000;
  int64_t spent = 0;
  int ticks = 0;
  for (;; ++ticks) {
    const int64_t began = now;
    const int64_t rest = heap_.scavenging().tick(now);
    spent += now - began;
    EXPECT_LE(now - began, 140'000) << "a slice";
    if (rest == INT64_MAX) break;
    ASSERT_LT(ticks, 1000);
    if (heap_.resident_bytes() > 16 * kMB) {
      const size_t calls = asked.size();
      heap_.scavenging().tick(now + rest / 2);
      EXPECT_EQ(asked.size(), calls) << "not before its time";
    }
    now += rest;
  }
  EXPECT_LE(heap_.resident_bytes(), 16 * kMB);
  EXPECT_GE(heap_.resident_bytes(), 15 * kMB);
  EXPECT_LE(static_cast<double>(spent), 0.0101 * static_cast<double>(now));
}

TEST_F(Scavenger, ARefusalIsToldOnceAndTriedAgainLater) {
  ASSERT_NE(large(8 * kMB), nullptr);
  drop_all();
  answer = EINVAL;
  heap_.scavenging().set_goal(0);
  const uint64_t resident = heap_.resident_bytes();
  ::testing::internal::CaptureStderr();
  const int64_t rest = heap_.scavenging().tick(now);
  heap_.scavenging().give_back(kMB);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(rest, 60'000'000'000);
  EXPECT_EQ(said,
            "warren: the system does not take free memory of the heap back (madvise of 512 KiB: Invalid argument); the program goes on and "
            "keeps it. Is its memory locked (mlockall)?\n");
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_EQ(heap_.scavenging().failures(), 2u);
  EXPECT_EQ(heap_.resident_bytes(), resident);
  answer = 0;
  EXPECT_EQ(heap_.scavenging().tick(now + rest - 1), 1);
  heap_.scavenging().tick(now + rest);
  EXPECT_LT(heap_.resident_bytes(), resident);
  ASSERT_NE(large(8 * kMB), nullptr) << "the heap is whole";
}

TEST_F(Scavenger, WhoAllocatesKeepsTheLimit) {
  ASSERT_NE(large(20 * kMB), nullptr);
  mspan* const wall = large(4 * kMB);
  wall->try_mark(0);
  drop_all();
  EXPECT_EQ(heap_.resident_bytes(), 24 * kMB);
  heap_.scavenging().set_limit(40 * kMB);
  ASSERT_NE(large(32 * kMB), nullptr) << "does not fit below the wall";
  EXPECT_EQ(heap_.resident_bytes(), 40 * kMB);
  EXPECT_EQ(heap_.scavenging().total_bytes(), 16 * kMB);
  EXPECT_GE(heap_.used_bytes(), 56 * kMB);
  // Small spans count too, a page cache at a time.
  heap_.scavenging().set_limit(37 * kMB);
  for (int i = 0; i < 400; ++i) ASSERT_NE(large(40'000), nullptr);
  EXPECT_EQ(heap_.idle_resident_bytes(), 0u) << "they are more than there is room for: all that is free has gone";
}

TEST_F(Scavenger, ALimitBelowWhatIsInUseCostsNoMemory) {
  heap_.scavenging().set_limit(kMB);
  ASSERT_NE(large(8 * kMB), nullptr);
  ASSERT_NE(large(8 * kMB), nullptr);
  EXPECT_EQ(heap_.resident_bytes() - heap_.idle_resident_bytes(), 16 * kMB);
}

// An arena of stacks beside the heap's: pages of 64 KiB, each of which counts as one page of the heap.
class StackArena : public Scavenger {
 protected:
  static constexpr size_t kStride = 64 * 1024;
  static constexpr size_t kStacks = 1024;
  StackArena()
      : memory_(mmap(nullptr, kStacks * kStride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
        stacks_({.base = reinterpret_cast<uintptr_t>(memory_), .count = kStacks, .stride = kStride}) {
    stacks_.lock.lock();
    stacks_.grow(0, kStacks);
    stacks_.lock.unlock();
    heap_.scavenging().add(stacks_);
  }
  ~StackArena() override {
    heap_.scavenging().remove(stacks_);
    munmap(memory_, kStacks * kStride);
  }
  void take(size_t n) {
    stacks_.lock.lock();
    for (; n > 0; --n) *stacks_.address(stacks_.pages.alloc(1)) = std::byte{1};
    stacks_.publish();
    stacks_.lock.unlock();
  }
  void drop(size_t first, size_t n) {
    stacks_.lock.lock();
    stacks_.pages.free(first, n);
    stacks_.publish();
    stacks_.lock.unlock();
  }

  void* memory_;
  page_arena stacks_;
};

TEST_F(StackArena, FreeStacksGoFirstHighestFirstAndAreCountedAsPages) {
  ASSERT_NE(large(8 * kMB), nullptr);
  drop_all();
  const uint64_t heap = heap_.resident_bytes();
  take(100);
  EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 100 * kPageSize);
  EXPECT_EQ(heap_.scavenging().resident_bytes(), heap + 100 * kPageSize);
  drop(10, 80);
  EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 100 * kPageSize) << "free, and still there";
  EXPECT_EQ(heap_.scavenging().idle_bytes(), 8 * kMB + 80 * kPageSize);
  EXPECT_EQ(heap_.scavenging().give_back(80 * kPageSize), 80 * kPageSize);
  ASSERT_EQ(asked.size(), 2u) << "a group of 64 at most";
  EXPECT_EQ(asked[0].at, reinterpret_cast<uintptr_t>(stacks_.address(64)));
  EXPECT_EQ(asked[0].bytes, 26 * kStride);
  EXPECT_EQ(asked[1].at, reinterpret_cast<uintptr_t>(stacks_.address(10)));
  EXPECT_EQ(asked[1].bytes, 54 * kStride);
  EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 20 * kPageSize);
  EXPECT_EQ(heap_.resident_bytes(), heap) << "the heap's turn comes after";
  EXPECT_EQ(*stacks_.address(9), std::byte{1});
  EXPECT_EQ(*stacks_.address(10), std::byte{0});
  EXPECT_EQ(stacks_.given_back(), 80u);
  EXPECT_EQ(heap_.scavenging().give_back(kMB), kMB);
  EXPECT_EQ(heap_.resident_bytes(), heap - kMB);
}

TEST_F(StackArena, InTheBackgroundStacksNeedNoGoalAndKeepThePace) {
  take(kStacks);
  drop(0, kStacks);
  ASSERT_NE(large(kMB), nullptr);
  drop_all();
  const uint64_t heap = heap_.resident_bytes();
  cost = 40'000;
  int64_t spent = 0;
  for (;;) {
    const int64_t began = now;
    const int64_t rest = heap_.scavenging().tick(now);
    spent += now - began;
    EXPECT_LE(now - began, 140'000) << "a slice";
    if (rest == INT64_MAX) break;
    now += rest;
  }
  EXPECT_EQ(stacks_.released(), kStacks);
  EXPECT_EQ(heap_.resident_bytes(), heap) << "it has no goal";
  EXPECT_LE(static_cast<double>(spent), 0.0101 * static_cast<double>(now));
}

TEST_F(StackArena, WhoAllocatesKeepsTheLimitOfBoth) {
  take(512);
  drop(0, 512);
  heap_.scavenging().set_limit(8 * kMB);
  ASSERT_NE(large(6 * kMB), nullptr);
  EXPECT_LE(heap_.scavenging().resident_bytes(), 8 * kMB);
  EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 2 * kMB) << "what had to go, by whole groups";
  drop_all();
}

TEST_F(StackArena, AnArenaThatGoesIsNotCountedAnyMore) {
  take(10);
  {
    page_arena more({.base = reinterpret_cast<uintptr_t>(memory_), .count = 64, .stride = kStride});
    more.lock.lock();
    more.grow(0, 64);
    more.pages.alloc(3);
    more.publish();
    more.lock.unlock();
    heap_.scavenging().add(more);
    EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 13 * kPageSize) << "what it had before counts, too";
    heap_.scavenging().remove(more);
  }
  EXPECT_EQ(heap_.scavenging().stacks_resident_bytes(), 10 * kPageSize);
  drop(0, 10);
  EXPECT_EQ(heap_.scavenging().give_back(~uint64_t{0}), 10 * kPageSize) << "the others are looked after as before";
}

// remove returns when nobody is at work on the arena any more: its memory may go.
TEST_F(StackArena, RemoveWaitsForWhoIsAtWork) {
  static std::atomic<int> inside;
  static std::atomic<bool> gone;
  inside = 0, gone = false;
  take(64);
  drop(0, 64);
  heap_.scavenging().set_system_for_testing(
      [](void*, size_t) {
        inside = 1;
        while (inside == 1) sched_yield();
        EXPECT_FALSE(gone);
        return 0;
      },
      &fake_clock);
  std::thread at_work([&] { heap_.scavenging().give_back(1); });
  while (inside != 1) sched_yield();
  std::thread remover([&] {
    heap_.scavenging().remove(stacks_);
    gone = true;
  });
  while (heap_.scavenging().stacks_resident_bytes() != 0) sched_yield();  // taken from the list
  EXPECT_FALSE(gone);
  inside = 2;
  at_work.join();
  remover.join();
  EXPECT_EQ(stacks_.held, 0u);
  heap_.scavenging().add(stacks_);
}

// The whole reservation goes round between one who allocates and a scavenger; what the scavenger holds is never missing.
TEST_F(Scavenger, HeldPagesAreWaitedForNotMissed) {
  std::atomic<bool> done{false};
  std::atomic<uint64_t> given_back{0};
  heap_.scavenging().set_system_for_testing([](void* at, size_t n) { return madvise(at, n, MADV_DONTNEED) == 0 ? 0 : errno; }, &fake_clock);
  std::thread other([&] {
    while (!done.load()) given_back += heap_.scavenging().give_back(16 * kMB);
  });
  const size_t all = heap_.space().bytes();
  for (int round = 0; round < 30 || given_back.load() == 0; ++round) {
    mspan* const s = heap_.alloc_large(*cache_, all - kPageSize, scan_kind::noscan);
    ASSERT_NE(s, nullptr) << round;
    for (uintptr_t a = s->base; a < s->limit(); a += 64 * kPageSize) *reinterpret_cast<volatile char*>(a) = 1;
    drop_all();
  }
  done = true;
  other.join();
  heap_.scavenging().give_back(~uint64_t{0});
  EXPECT_EQ(heap_.resident_bytes(), 0u);
}

}  // namespace
}  // namespace warren::rt
