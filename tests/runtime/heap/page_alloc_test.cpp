// The page allocator against a naive model, driven by seeded random operations.
#include "runtime/heap/page_alloc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace warren::rt {
namespace {

// First fit over a vector of booleans, and beside it which of the free pages are scavenged.
class model {
 public:
  explicit model(size_t pages) : free_(pages, false), scavenged_(pages, false) {}
  void set(size_t first, size_t n, bool free) {
    for (size_t i = first; i < first + n; ++i) {
      ASSERT_NE(free_[i], free);
      free_[i] = free;
    }
  }
  size_t find(size_t n) const {
    size_t run = 0;
    for (size_t i = 0; i < free_.size(); ++i) {
      run = free_[i] ? run + 1 : 0;
      if (run == n) return i + 1 - n;
    }
    return page_alloc::kNone;
  }
  size_t longest() const {
    size_t best = 0, run = 0;
    for (const bool f : free_) {
      run = f ? run + 1 : 0;
      best = std::max(best, run);
    }
    return best;
  }
  size_t count() const { return static_cast<size_t>(std::count(free_.begin(), free_.end(), true)); }
  bool free(size_t i) const { return free_[i]; }

  void scavenge(size_t first, size_t n, bool on) {
    for (size_t i = first; i < first + n; ++i) scavenged_[i] = on;
  }
  bool scavenged(size_t i) const { return scavenged_[i]; }
  bool all_scavenged(size_t first, size_t n) const {
    for (size_t i = first; i < first + n; ++i)
      if (!scavenged_[i]) return false;
    return true;
  }
  size_t scavenged_count() const { return static_cast<size_t>(std::count(scavenged_.begin(), scavenged_.end(), true)); }
  // The highest run of whole units that are free and not scavenged, within a group of 64.
  page_run idle(size_t unit) const {
    const auto whole = [&](size_t u) {
      for (size_t i = u * unit; i < (u + 1) * unit; ++i)
        if (!free_[i] || scavenged_[i]) return false;
      return true;
    };
    for (size_t end = free_.size() / unit; end > 0; --end) {
      if (!whole(end - 1)) continue;
      size_t first = end - 1;
      while (first * unit % 64 != 0 && whole(first - 1)) --first;
      return {first * unit, (end - first) * unit};
    }
    return {};
  }

 private:
  std::vector<bool> free_, scavenged_;
};

struct run {
  size_t first, n;
};

void compare(const page_alloc& a, const model& m, size_t pages) {
  ASSERT_EQ(a.free_pages(), m.count());
  ASSERT_EQ(a.longest_run(), m.longest());
  ASSERT_EQ(a.scavenged_pages(), m.scavenged_count());
  for (size_t i = 0; i < pages; ++i) {
    ASSERT_EQ(a.in_use(i), !m.free(i)) << i;
    ASSERT_EQ(a.scavenged(i), m.scavenged(i)) << i;
  }
}

void random_walk(uint32_t seed, size_t pages, size_t largest, int steps) {
  std::mt19937 rng(seed);
  page_alloc a(pages);
  model m(pages);
  size_t grown = 0;
  std::vector<run> taken;
  for (int step = 0; step < steps; ++step) {
    const uint32_t what = rng() % 100;
    if (grown < pages && what < 3) {
      const size_t n = std::min<size_t>(pages - grown, kPagesPerChunk * (1 + rng() % 3));
      a.grow(grown, n);
      m.set(grown, n, true);
      m.scavenge(grown, n, true);
      grown += n;
    } else if (what < 55) {
      size_t n = 1 + rng() % (rng() % 8 == 0 ? largest : 16);
      const size_t expected = m.find(n);
      bool zero = false;
      const size_t got = a.alloc(n, &zero);
      ASSERT_EQ(got, expected) << "seed " << seed << " step " << step << " n " << n;
      if (got == page_alloc::kNone) continue;
      ASSERT_EQ(zero, m.all_scavenged(got, n));
      m.set(got, n, false);
      m.scavenge(got, n, false);
      taken.push_back({got, n});
    } else if (what < 62) {
      page_cache c = a.alloc_to_cache();
      const size_t lowest = m.find(1);
      if (lowest == page_alloc::kNone) {
        ASSERT_TRUE(c.empty());
        continue;
      }
      ASSERT_EQ(c.first(), lowest / 64 * 64);
      for (size_t i = 0; i < 64; ++i) {
        if (c.first() + i >= pages) break;
        ASSERT_EQ((c.free_bits() >> i) & 1, m.free(c.first() + i) ? 1u : 0u);
        ASSERT_EQ((c.scavenged_bits() >> i) & 1, m.scavenged(c.first() + i) ? 1u : 0u);
        ASSERT_FALSE(a.scavenged(c.first() + i)) << "the cache has the bit";
        if (m.free(c.first() + i)) m.set(c.first() + i, 1, false);
      }
      // Some spans out of the cache, the rest back.
      for (int k = 0; k < 4; ++k) {
        const size_t n = 1 + rng() % 16;
        bool zero = false;
        const size_t at = c.alloc(n, &zero);
        if (at == page_alloc::kNone) continue;
        ASSERT_EQ(zero, m.all_scavenged(at, n));
        m.scavenge(at, n, false);
        taken.push_back({at, n});
      }
      for (size_t i = 0; i < 64; ++i)
        if ((c.free_bits() >> i) & 1) m.set(c.first() + i, 1, true);
      c.flush(a);
      ASSERT_TRUE(c.empty());
    } else if (what < 70) {
      const size_t unit = size_t{1} << (rng() % 2 * (rng() % 7));
      const page_run expected = m.idle(unit);
      const page_run got = a.hold_idle(unit);
      ASSERT_EQ(got.n, expected.n) << "seed " << seed << " step " << step << " unit " << unit;
      if (got.n == 0) continue;
      ASSERT_EQ(got.first, expected.first);
      m.set(got.first, got.n, false);
      // Others allocate and free meanwhile; these pages they do not get.
      const size_t other = a.alloc(1);
      ASSERT_EQ(other, m.find(1));
      if (other != page_alloc::kNone) {
        m.scavenge(other, 1, false);
        a.free(other, 1);
      }
      const bool done = rng() % 8 != 0;
      a.release(got, done);
      m.set(got.first, got.n, true);
      m.scavenge(got.first, got.n, done);
    } else if (!taken.empty()) {
      const size_t i = rng() % taken.size();
      a.free(taken[i].first, taken[i].n);
      m.set(taken[i].first, taken[i].n, true);
      taken[i] = taken.back();
      taken.pop_back();
    }
    if (step % 97 == 0) compare(a, m, pages);
  }
  compare(a, m, pages);
  for (const run& r : taken) a.free(r.first, r.n);
  EXPECT_EQ(a.free_pages(), grown);
}

TEST(PageAlloc, AgreesWithTheModelOneLeaf) { random_walk(1, kPagesPerChunk, 200, 4000); }
TEST(PageAlloc, AgreesWithTheModelSeveralLeaves) {
  for (uint32_t seed = 2; seed < 8; ++seed) random_walk(seed, 5 * kPagesPerChunk, 900, 3000);
}
TEST(PageAlloc, AgreesWithTheModelThreeLevels) {
  for (uint32_t seed = 10; seed < 12; ++seed) random_walk(seed, 70 * kPagesPerChunk, 6000, 1500);
}

TEST(PageAlloc, NothingIsFreeBeforeItGrows) {
  page_alloc a(4 * kPagesPerChunk);
  EXPECT_EQ(a.alloc(1), page_alloc::kNone);
  EXPECT_TRUE(a.alloc_to_cache().empty());
  a.grow(0, kPagesPerChunk);
  EXPECT_EQ(a.alloc(kPagesPerChunk + 1), page_alloc::kNone);
  EXPECT_EQ(a.alloc(kPagesPerChunk), 0u);
}

TEST(PageAlloc, RunsCrossLeavesAndSubtrees) {
  page_alloc a(64 * kPagesPerChunk);
  a.grow(0, 64 * kPagesPerChunk);
  ASSERT_EQ(a.alloc(64 * kPagesPerChunk), 0u);
  // Free 100 pages on either side of the border between two entries of level 1.
  a.free(8 * kPagesPerChunk - 100, 200);
  EXPECT_EQ(a.alloc(201), page_alloc::kNone);
  EXPECT_EQ(a.alloc(200), 8 * kPagesPerChunk - 100);
}

TEST(PageAlloc, IdlePagesAreFoundFromTheTop) {
  page_alloc a(kDefaultReserve / kPageSize);
  a.grow(0, 8 * kPagesPerChunk);
  const size_t last = kDefaultReserve / kPageSize - kPagesPerChunk;
  a.grow(last, kPagesPerChunk);
  EXPECT_EQ(a.hold_idle(1).n, 0u) << "what was never touched is not there to be given back";
  EXPECT_EQ(a.alloc(8 * kPagesPerChunk), 0u);
  EXPECT_EQ(a.alloc(kPagesPerChunk), last);
  EXPECT_EQ(a.scavenged_pages(), 0u);
  a.free(5, 1);
  a.free(last + 60, 10);
  page_run r = a.hold_idle(1);
  EXPECT_EQ(r.first, last + 64);
  EXPECT_EQ(r.n, 6u);
  a.release(r, true);
  r = a.hold_idle(1);
  EXPECT_EQ(r.first, last + 60);
  EXPECT_EQ(r.n, 4u);
  a.release(r, true);
  EXPECT_EQ(a.scavenged_pages(), 10u);
  r = a.hold_idle(2);
  EXPECT_EQ(r.n, 0u) << "a page alone is not a unit of two";
  r = a.hold_idle(1);
  EXPECT_EQ(r.first, 5u);
  EXPECT_EQ(r.n, 1u);
  a.release(r, true);
  EXPECT_EQ(a.hold_idle(1).n, 0u);
}

TEST(PageAlloc, FullReservationHasSixLevels) {
  page_alloc a(kDefaultReserve / kPageSize);  // costs address space only
  a.grow(0, kPagesPerChunk);
  EXPECT_EQ(a.alloc(7), 0u);
  EXPECT_EQ(a.alloc(1), 7u);
  const size_t last = kDefaultReserve / kPageSize - kPagesPerChunk;
  a.grow(last, kPagesPerChunk);
  EXPECT_EQ(a.alloc(kPagesPerChunk), last);
}

TEST(PageCache, FindsTheLowestRun) {
  std::mt19937_64 rng(7);
  for (int round = 0; round < 20000; ++round) {
    const uint64_t free = rng() & rng();
    const size_t n = 1 + rng() % 64;
    page_cache c(640, free);
    size_t expected = page_alloc::kNone;
    for (size_t at = 0; at + n <= 64 && expected == page_alloc::kNone; ++at) {
      const uint64_t mask = (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << at;
      if ((free & mask) == mask) expected = 640 + at;
    }
    ASSERT_EQ(c.alloc(n), expected) << std::hex << free << " n " << n;
    if (expected != page_alloc::kNone) {
      ASSERT_EQ(static_cast<size_t>(__builtin_popcountll(free ^ c.free_bits())), n);
    }
  }
}

TEST(PageCache, KnowsWhichPagesAreScavenged) {
  page_cache c(64, ~uint64_t{0}, 0xff0);
  bool zero = true;
  EXPECT_EQ(c.alloc(4, &zero), 64u);
  EXPECT_FALSE(zero);
  EXPECT_EQ(c.alloc(4, &zero), 68u);
  EXPECT_TRUE(zero);
  EXPECT_EQ(c.alloc(8, &zero), 72u);
  EXPECT_FALSE(zero) << "half of them";
  EXPECT_EQ(c.scavenged_bits(), 0u);
}

TEST(PageCache, AllSixtyFour) {
  page_cache c(0, ~uint64_t{0});
  EXPECT_EQ(c.alloc(64), 0u);
  EXPECT_TRUE(c.empty());
}

#ifndef NDEBUG
TEST(PageAllocDeathTest, DoubleFreeIsCaught) {
  page_alloc a(kPagesPerChunk);
  a.grow(0, kPagesPerChunk);
  const size_t at = a.alloc(3);
  a.free(at, 3);
  EXPECT_DEATH(a.free(at, 3), "fatal error: page allocator: pages 0\\+3 are free already");
}
#endif

}  // namespace
}  // namespace warren::rt
