#include "runtime/stack/stack_arena.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/heap/scavenger.h"
#include "runtime/stack/switch_annotations.h"
#include "tests/death_style.h"
#include "tests/runtime/stack/fiber_harness.h"

namespace warren::rt {
namespace {

using testing::small_arena;

constexpr uint64_t kAll = ~uint64_t{0};

std::vector<std::byte*> take(stack_arena& arena, int cls, size_t n) {
  std::vector<std::byte*> slots(n);
  slots.resize(arena.allocate(cls, slots.data(), n));
  return slots;
}

// Asked of the kernel, so that a guard is seen without dying on it.
bool faults(std::byte* p) { return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p) != 0 && errno == EFAULT; }

size_t resident_pages(std::byte* from, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> in_core(bytes / page);
  EXPECT_EQ(mincore(from, bytes, in_core.data()), 0);
  return static_cast<size_t>(std::count_if(in_core.begin(), in_core.end(), [](unsigned char c) { return (c & 1) != 0; }));
}

TEST(slot_layout, sizes_match_the_public_classes) {
  EXPECT_EQ(stack_slot_size(0), 64 * 1024 * kStackScale);
  EXPECT_EQ(stack_slot_size(1), 256 * 1024 * kStackScale);
  EXPECT_EQ(stack_slot_size(2), 1024 * 1024 * kStackScale);
}

TEST(slot_layout, control_blocks_are_aligned_staggered_and_inside_the_top_page) {
  constexpr size_t control_size = 500;
  for (int cls = 0; cls < kStackClasses; ++cls) {
    std::set<uintptr_t> colours;
    const uintptr_t size = stack_slot_size(cls);
    for (uintptr_t number = 1000; number < 1000 + kStackColours; ++number) {
      auto* slot = reinterpret_cast<std::byte*>(number * size);
      const auto block = reinterpret_cast<uintptr_t>(control_block(slot, cls, control_size));
      EXPECT_EQ(block % 64, 0u);
      EXPECT_LE(block + control_size, (number + 1) * size);
      EXPECT_GE(block, (number + 1) * size - 4096 + 1024) << "the first frames must find room in the same page";
      EXPECT_EQ(block & ~(size - 1), number * size);
      colours.insert(block % 4096);
    }
    EXPECT_EQ(colours.size(), kStackColours);
  }
}

class every_guard : public ::testing::TestWithParam<guard_mode> {};

TEST_P(every_guard, slots_are_aligned_distinct_and_found_by_address) {
  stack_arena arena(small_arena(GetParam()));
  std::set<std::byte*> seen;
  for (int cls = 0; cls < kStackClasses; ++cls) {
    for (std::byte* slot : take(arena, cls, 5)) {
      EXPECT_TRUE(seen.insert(slot).second);
      const size_t size = stack_slot_size(cls);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(slot) % size, 0u);
      for (std::byte* inside : {slot, slot + size / 2, slot + size - 1}) {
        EXPECT_TRUE(arena.contains(inside));
        EXPECT_EQ(arena.class_of(inside), cls);
        EXPECT_EQ(arena.slot_of(inside), slot);
      }
    }
  }
  int here = 0;
  EXPECT_FALSE(arena.contains(&here));
  EXPECT_FALSE(arena.contains(nullptr));
}

TEST_P(every_guard, guards_exactly_the_lowest_bytes) {
  stack_arena arena(small_arena(GetParam()));
  const guard_mode mode = arena.stats().mode;
  for (int cls = 0; cls < kStackClasses; ++cls) {
    for (std::byte* slot : take(arena, cls, 3)) {
      EXPECT_EQ(arena.guarded(slot), mode != guard_mode::canary);
      EXPECT_EQ(faults(slot), arena.guarded(slot));
      EXPECT_EQ(faults(slot + kStackGuard - 64), arena.guarded(slot));
      EXPECT_FALSE(faults(stack_low(slot)));
      EXPECT_FALSE(faults(slot + stack_slot_size(cls) - 64));
    }
  }
}

TEST_P(every_guard, guards_survive_reuse_and_scavenging_and_memory_goes_back) {
  scavenger scavenger;
  stack_arena arena(small_arena(GetParam()));
  arena.set_scavenger(scavenger);
  auto slots = take(arena, 0, 40);
  ASSERT_EQ(slots.size(), 40u);
  for (std::byte* slot : slots) memset(stack_low(slot), 0xa5, stack_slot_size(0) - kStackGuard);
  const auto sorted = [](std::vector<std::byte*> v) {
    std::sort(v.begin(), v.end());
    return v;
  };
  EXPECT_EQ(scavenger.give_back(kAll), 0u) << "all are in use";
  arena.release(0, slots.data(), slots.size());
  EXPECT_EQ(scavenger.give_back(kAll), 40 * kPageSize);
  EXPECT_EQ(scavenger.give_back(kAll), 0u) << "nothing was used since";
  for (std::byte* slot : slots) {
    EXPECT_EQ(resident_pages(stack_low(slot), stack_slot_size(0) - kStackGuard), 0u);
    EXPECT_EQ(faults(slot), arena.guarded(slot));
  }
  const size_t made = arena.stats().slots_made[0];
  auto again = take(arena, 0, made);
  ASSERT_EQ(again.size(), made);
  EXPECT_EQ(arena.stats().slots_made[0], made) << "free ones come before new ones";
  const auto all = sorted(again);
  for (std::byte* slot : sorted(slots)) EXPECT_TRUE(std::binary_search(all.begin(), all.end(), slot));
  for (std::byte* slot : again) {
    EXPECT_EQ(faults(slot), arena.guarded(slot));
    EXPECT_EQ(slot[stack_slot_size(0) - 1], std::byte{0});
  }
}

TEST_P(every_guard, only_free_slots_are_scavenged) {
  scavenger scavenger;
  stack_arena arena(small_arena(GetParam()));
  arena.set_scavenger(scavenger);
  auto slots = take(arena, 0, 3);
  for (std::byte* slot : slots) slot[stack_slot_size(0) - 1] = std::byte{7};
  arena.release(0, &slots[1], 1);
  EXPECT_EQ(scavenger.give_back(kAll), kPageSize);
  EXPECT_EQ(slots[0][stack_slot_size(0) - 1], std::byte{7});
  EXPECT_EQ(slots[1][stack_slot_size(0) - 1], std::byte{0});
  EXPECT_EQ(slots[2][stack_slot_size(0) - 1], std::byte{7});
}

TEST_P(every_guard, an_exhausted_region_gives_what_it_has) {
  stack_arena arena(small_arena(GetParam()));
  auto slots = take(arena, 2, 100);
  EXPECT_EQ(slots.size(), 8u);
  EXPECT_TRUE(take(arena, 2, 1).empty());
  EXPECT_EQ(take(arena, 1, 1).size(), 1u) << "other classes are not affected";
  arena.release(2, &slots[3], 1);
  const auto again = take(arena, 2, 2);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0], slots[3]);
}

TEST_P(every_guard, statistics_add_up) {
  stack_arena arena(small_arena(GetParam()));
  auto slots = take(arena, 0, 20);
  arena.release(0, slots.data(), 5);
  const auto s = arena.stats();
  EXPECT_EQ(s.slots_capacity[0], 128u);
  EXPECT_EQ(s.slots_idle[0], 5u) << "used once";
  EXPECT_EQ(s.slots_made[0], 20 + s.slots_released[0]) << "what was made and never used costs nothing";
  EXPECT_EQ(s.slots_made[1], 0u);
  EXPECT_EQ(s.slots_unguarded, s.mode == guard_mode::canary ? s.slots_made[0] : 0u);
  EXPECT_NE(s.mode, guard_mode::automatic);
}

// A forced mode is used where the kernel has it: protection and canary exist everywhere.
TEST_P(every_guard, forced_mode_is_used) {
  stack_arena arena(small_arena(GetParam()));
  const guard_mode mode = arena.stats().mode;
  if (GetParam() == guard_mode::automatic) {
    EXPECT_LE(mode, guard_mode::protection);
  } else if (GetParam() <= guard_mode::markers && mode != GetParam()) {
    GTEST_SKIP() << "the kernel has no " << to_string(GetParam()) << "; " << to_string(mode) << " was used instead";
  } else {
    EXPECT_EQ(mode, GetParam());
  }
}

TEST_P(every_guard, threads_never_share_a_slot) {
  scavenger scavenger;
  stack_arena arena(small_arena(GetParam()));
  arena.set_scavenger(scavenger);
  std::vector<std::thread> threads;
  std::atomic<int> clashes{0};
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&arena, &clashes, &scavenger, t] {
      unsigned random = static_cast<unsigned>(t) * 2654435761u;
      std::vector<std::byte*> mine;
      for (int i = 0; i < 2000; ++i) {
        random = random * 1664525u + 1013904223u;
        if ((random >> 16 & 1) != 0 || mine.empty()) {
          std::byte* got[3];
          const size_t n = arena.allocate(0, got, 1 + (random >> 20) % 3);
          for (size_t k = 0; k < n; ++k) {
            *stack_low(got[k]) = static_cast<std::byte>(t);
            mine.push_back(got[k]);
          }
        } else {
          std::byte* slot = mine.back();
          mine.pop_back();
          if (*stack_low(slot) != static_cast<std::byte>(t)) ++clashes;
          arena.release(0, &slot, 1);
        }
        if (i % 100 == 0) scavenger.give_back(kAll);
      }
      if (!mine.empty()) arena.release(0, mine.data(), mine.size());
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(clashes, 0);
  const auto s = arena.stats();
  EXPECT_EQ(s.slots_idle[0] + s.slots_released[0], s.slots_made[0]);
}

INSTANTIATE_TEST_SUITE_P(, every_guard,
                         ::testing::Values(guard_mode::automatic, guard_mode::vector_markers, guard_mode::markers, guard_mode::protection,
                                           guard_mode::canary),
                         [](const auto& info) { return to_string(info.param); });

TEST(stack_arena, batches_beyond_the_largest_vector_are_all_guarded) {
  stack_arena::options o = small_arena();
  o.region_bytes[0] = 4000 * stack_slot_size(0);
  stack_arena arena(o);
  const auto slots = take(arena, 0, 4000);
  ASSERT_EQ(slots.size(), 4000u);
  size_t unguarded = 0;
  for (std::byte* slot : slots) unguarded += faults(slot) ? 0 : 1;
  EXPECT_EQ(unguarded, 0u);
}

TEST(stack_arena, new_slots_come_in_ascending_order) {
  stack_arena arena(small_arena());
  const auto slots = take(arena, 0, 100);
  EXPECT_TRUE(std::is_sorted(slots.begin(), slots.end()));
}

TEST(stack_arena, the_lowest_free_slot_is_taken_first) {
  stack_arena arena(small_arena());
  auto slots = take(arena, 0, 100);
  for (const size_t i : {70u, 3u, 40u, 4u}) arena.release(0, &slots[i], 1);
  const auto again = take(arena, 0, 5);
  const std::vector<std::byte*> lowest{slots[3], slots[4], slots[40], slots[70]};
  EXPECT_TRUE(std::equal(lowest.begin(), lowest.end(), again.begin())) << "after a peak the region gets dense again";
  EXPECT_GT(again[4], slots[99]);
}

// The rest of the way of a P: all that is free in the lowest group.
TEST(stack_arena, a_group_is_what_is_free_of_sixty_four) {
  stack_arena arena(small_arena());
  auto slots = take(arena, 0, 128);
  ASSERT_EQ(slots.size(), 128u);
  EXPECT_TRUE(arena.allocate_group(0).empty());
  for (const size_t i : {100u, 63u, 64u, 7u}) arena.release(0, &slots[i], 1);
  page_cache first = arena.allocate_group(0);
  EXPECT_EQ(first.free_bits(), uint64_t{1} << 63 | uint64_t{1} << 7);
  EXPECT_EQ(arena.slot_at(0, first.alloc(1)), slots[7]);
  EXPECT_EQ(arena.slot_at(0, first.alloc(1)), slots[63]);
  page_cache second = arena.allocate_group(0);
  EXPECT_EQ(arena.slot_at(0, second.alloc(1)), slots[64]);
  EXPECT_EQ(arena.number_of(0, slots[64]), 64u);
  EXPECT_EQ(arena.stats().slots_idle[0], 0u) << "the cache has the other";
}

TEST(stack_arena, who_takes_slots_keeps_the_limit) {
  scavenger scavenger;
  stack_arena arena(small_arena());
  arena.set_scavenger(scavenger);
  auto slots = take(arena, 0, 50);
  arena.release(0, &slots[10], 30);
  take(arena, 1, 1);
  EXPECT_EQ(scavenger.stacks_resident_bytes(), 51 * kPageSize) << "there is no limit";
  scavenger.set_limit(40 * kPageSize);
  take(arena, 1, 1);
  EXPECT_EQ(scavenger.stacks_resident_bytes(), 22 * kPageSize) << "a whole run at once";
  EXPECT_EQ(arena.stats().given_back, 30u);
  EXPECT_EQ(take(arena, 2, 8).size(), 8u) << "what cannot be kept is not kept";
}

// What is being given back is out of the arena for a moment: who wants it waits, and does not come home empty.
TEST(stack_arena, held_slots_are_waited_for_not_missed) {
  scavenger scavenger;
  stack_arena arena(small_arena());
  arena.set_scavenger(scavenger);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> given_back{0};
  std::thread other([&] {
    while (!done) given_back += scavenger.give_back(kAll);
  });
  for (int round = 0; round < 300 || given_back == 0; ++round) {
    auto slots = take(arena, 2, 8);
    ASSERT_EQ(slots.size(), 8u) << round;
    for (std::byte* slot : slots) *stack_low(slot) = std::byte{1};
    arena.release(2, slots.data(), slots.size());
  }
  done = true;
  other.join();
  scavenger.give_back(kAll);
  EXPECT_EQ(arena.stats().slots_released[2], 8u);
}

// Against a model that knows of each slot whether it is in use, and whether it may have memory.
TEST(stack_arena, agrees_with_a_model_under_random_operations) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    scavenger scavenger;
    stack_arena arena(small_arena());
    arena.set_scavenger(scavenger);
    std::mt19937 random(seed);
    struct model {
      std::vector<bool> used, touched;
      size_t made = 0;
      size_t free_count() const { return static_cast<size_t>(std::count(used.begin(), used.begin() + static_cast<long>(made), false)); }
      // The lowest that is free, if one was made.
      size_t lowest() const { return static_cast<size_t>(std::find(used.begin(), used.end(), false) - used.begin()); }
    } m[kStackClasses];
    for (int c = 0; c < kStackClasses; ++c) {
      m[c].used.resize(arena.stats().slots_capacity[c]);
      m[c].touched.resize(m[c].used.size());
    }
    std::vector<std::pair<int, std::byte*>> mine;
    for (int step = 0; step < 3000; ++step) {
      const int c = static_cast<int>(random() % kStackClasses);
      const unsigned what = random() % 100;
      if (what < 50) {
        std::byte* got[4];
        const size_t wanted = 1 + random() % 4;
        const size_t n = arena.allocate(c, got, wanted);
        const size_t room = static_cast<size_t>(std::count(m[c].used.begin(), m[c].used.end(), false));
        ASSERT_EQ(n, std::min(wanted, room)) << "seed " << seed << " step " << step;
        for (size_t i = 0; i < n; ++i) {
          const size_t number = arena.number_of(c, got[i]);
          ASSERT_EQ(number, m[c].lowest()) << "seed " << seed << " step " << step;
          ASSERT_EQ(got[i], arena.slot_at(c, number));
          ASSERT_EQ(reinterpret_cast<uintptr_t>(got[i]) % stack_slot_size(c), 0u);
          ASSERT_EQ(arena.slot_of(got[i] + random() % stack_slot_size(c)), got[i]);
          std::byte& top = got[i][stack_slot_size(c) - 1];
          ASSERT_EQ(top, m[c].touched[number] ? static_cast<std::byte>(number + 1) : std::byte{0});
          top = static_cast<std::byte>(number + 1);
          m[c].used[number] = m[c].touched[number] = true;
          mine.emplace_back(c, got[i]);
        }
      } else if (what < 97) {
        if (mine.empty()) continue;
        std::swap(mine[random() % mine.size()], mine.back());
        auto [cls, slot] = mine.back();
        mine.pop_back();
        arena.release(cls, &slot, 1);
        m[cls].used[arena.number_of(cls, slot)] = false;
      } else {
        uint64_t expected = 0;
        for (auto& r : m)
          for (size_t i = 0; i < r.used.size(); ++i)
            if (!r.used[i] && r.touched[i]) {
              r.touched[i] = false;
              expected += kPageSize;
            }
        ASSERT_EQ(scavenger.give_back(kAll), expected);
      }
      if (step % 50 != 0) continue;
      const auto s = arena.stats();
      uint64_t resident = 0;
      for (int k = 0; k < kStackClasses; ++k) {
        m[k].made = s.slots_made[k];
        size_t idle = 0;
        for (size_t i = 0; i < m[k].used.size(); ++i) {
          idle += !m[k].used[i] && m[k].touched[i] ? 1 : 0;
          resident += m[k].touched[i] ? kPageSize : 0;
        }
        ASSERT_EQ(s.slots_idle[k], idle);
        ASSERT_EQ(s.slots_released[k] + idle, m[k].free_count());
      }
      ASSERT_EQ(scavenger.stacks_resident_bytes(), resident);
    }
  }
}

TEST(stack_arena, markers_add_no_mappings) {
  const auto mappings = [] {
    size_t lines = 0;
    FILE* maps = fopen("/proc/self/maps", "r");
    for (int c = getc(maps); c != EOF; c = getc(maps)) lines += c == '\n' ? 1 : 0;
    fclose(maps);
    return lines;
  };
  stack_arena arena(small_arena());
  if (arena.stats().mode > guard_mode::markers) GTEST_SKIP() << "the kernel has no MADV_GUARD_INSTALL";
  take(arena, 0, 1);
  const size_t before = mappings();
  take(arena, 0, 100);
  EXPECT_LE(mappings(), before + 2) << "100 slots would add 200 by mprotect";
}

TEST(stack_arena, protection_stops_at_its_budget_and_says_so_once) {
  auto o = small_arena(guard_mode::protection);
  o.protection_budget = 3;
  stack_arena arena(o);
  ::testing::internal::CaptureStderr();
  const auto slots = take(arena, 0, 20);
  const auto large = take(arena, 1, 2);
  const std::string said = ::testing::internal::GetCapturedStderr();
  size_t guarded = 0;
  for (std::byte* slot : slots) guarded += arena.guarded(slot) ? 1 : 0;
  EXPECT_EQ(guarded, 3u);
  EXPECT_FALSE(arena.guarded(large[0]));
  const auto s = arena.stats();
  EXPECT_EQ(s.slots_unguarded, s.slots_made[0] + s.slots_made[1] - 3);
  const size_t at = said.find("raise vm.max_map_count");
  EXPECT_NE(at, std::string::npos) << said;
  EXPECT_EQ(said.find("raise vm.max_map_count", at + 1), std::string::npos) << said;
}

TEST(stack_arena, default_options_reserve_room_for_a_million_goroutines) {
#if WARREN_ASAN || WARREN_TSAN
  GTEST_SKIP() << "slots are larger under a sanitizer";
#endif
  if (tests::emulated()) GTEST_SKIP() << "an emulator with little address space";
  stack_arena arena;
  EXPECT_GE(arena.stats().slots_capacity[0], size_t{1} << 20);
}

TEST(stack_arena_death, takes_less_where_address_space_is_limited) {
#if WARREN_ASAN || WARREN_TSAN
  GTEST_SKIP() << "sanitizers need more address space than this test leaves";
#endif
  if (tests::emulated()) GTEST_SKIP() << "emulators do not pass RLIMIT_AS on";
  const auto limited = [] {
    const rlimit limit{size_t{4} << 30, size_t{4} << 30};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    stack_arena arena;
    const auto s = arena.stats();
    std::byte* slot;
    const bool works = s.slots_capacity[0] > 1000 && s.slots_capacity[0] < (size_t{1} << 20) && arena.allocate(0, &slot, 1) == 1;
    void* rest = mmap(nullptr, size_t{2} << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    _exit(works && rest != MAP_FAILED ? 0 : 1);  // the heap finds room, too
  };
  EXPECT_EXIT(limited(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace warren::rt
