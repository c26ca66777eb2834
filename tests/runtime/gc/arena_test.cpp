// Arenas: whatever part of one is kept keeps the whole, and nothing is kept longer; and memory of malloc behind objects starts collections.
// CTest runs this in the four modes, with both ways of marking, and with a collection at every 20th allocation.
#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <warren/arena.h>
#include <warren/chan.h>
#include <warren/cleanup.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "runtime/heap/asan.h"
#include "runtime/memory.h"
#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"
#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;
using warren::testing::clobber_stack;
using warren::testing::collect_until;

// As a request's: a destructor that reads, and writes, what lies in the blocks.
struct tree_in_arena {
  using collected = finalized;
  struct piece {
    piece* next;  // plain: nobody looks at it
    uint64_t number, guard;
    std::string* text;
    size_t bytes;
  };
  arena memory;
  uint64_t seed = 0;
  uint64_t pieces = 0;
  uint64_t ended = 0;
  uintptr_t first = 0;  // a piece*, which a collected object may not hold
  inline static std::atomic<int> made{0}, destroyed{0}, spoilt{0}, twice{0};

  explicit tree_in_arena(uint64_t s) : seed(s) { ++made; }
  ~tree_in_arena() {
    ++destroyed;
    if (ended != 0) ++twice;
    ended = 1;
    if (!whole()) ++spoilt;
    for (piece* p = reinterpret_cast<piece*>(first); p != nullptr; p = p->next) p->text->~basic_string();
    first = 0;
  }
  piece* add(size_t bytes) {
    char* const at = static_cast<char*>(memory.allocate(sizeof(piece) + sizeof(std::string) + bytes));
    auto* const text = new (at + sizeof(piece)) std::string(40, static_cast<char>('a' + pieces % 26));
    auto* const p = new (at) piece{reinterpret_cast<piece*>(first), pieces, ~(seed + pieces), text, bytes};
    memset(at + sizeof(piece) + sizeof(std::string), static_cast<int>(pieces % 251), bytes);
    first = reinterpret_cast<uintptr_t>(p);
    ++pieces;
    return p;
  }
  bool whole() const {
    uint64_t n = pieces;
    for (const piece* p = reinterpret_cast<const piece*>(first); p != nullptr; p = p->next) {
      --n;
      if (p->number != n || p->guard != ~(seed + n)) return false;
      if (*p->text != std::string(40, static_cast<char>('a' + n % 26))) return false;
      const auto* const rest = reinterpret_cast<const unsigned char*>(p->text + 1);
      for (size_t i = 0; i < p->bytes; i += p->bytes / 8 + 1) {
        if (rest[i] != n % 251) return false;
      }
    }
    return n == 0;
  }
  static int alive() { return made - destroyed; }
  WARREN_FIELDS(memory, seed, pieces, ended, first);
};

// A request of n pieces, of which only an address inside piece `keep` is returned.
[[gnu::noinline]] ptr<const std::string> keep_one(uint64_t seed, int n, int keep, size_t bytes) {
  const ptr<tree_in_arena> t = make<tree_in_arena>(seed);
  ptr<const std::string> kept;
  for (int i = 0; i < n; ++i) {
    const tree_in_arena::piece* const p = t->add(bytes);
    if (i == keep) kept = ptr<const std::string>(p->text);
  }
  return kept;
}

const tree_in_arena& tree_of(const ptr<const std::string>& text) {
  const char* const first = reinterpret_cast<const char*>(text.get()) - sizeof(tree_in_arena::piece);
  const auto* const block = reinterpret_cast<const detail::arena_block*>(first) - 1;
  return *reinterpret_cast<const tree_in_arena*>(block->owner.get());  // memory is its first field
}

TEST(Arena, GivesZeroedAlignedMemoryAndKnowsIt) {
  on_checked_goroutine([] {
    const ptr<arena> a = make<arena>();
    size_t sum = 0;
    for (const size_t n : {size_t{0}, size_t{1}, size_t{16}, size_t{100}, size_t{1000}, size_t{32'000}, size_t{40'000}, size_t{1} << 20}) {
      auto* const p = static_cast<unsigned char*>(a->allocate(n));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0u);
      EXPECT_TRUE(std::all_of(p, p + n, [](unsigned char c) { return c == 0; }));
      memset(p, 0xee, n);
      EXPECT_EQ(a->contains(p), n != 0);
      EXPECT_FALSE(a->contains(p - 1));
      EXPECT_FALSE(a->contains(p + n)) << "the first byte behind";
      sum += n;
    }
    EXPECT_EQ(a->bytes(), sum);
    EXPECT_FALSE(a->contains(a.get()));
    EXPECT_FALSE(a->contains(&sum));
    a->clear();
    EXPECT_EQ(a->bytes(), 0u);
  });
}

TEST(Arena, AnAddressInAnyBlockKeepsOwnerAndAllBlocks) {
  for (const size_t bytes : {size_t{10}, size_t{3000}, size_t{50'000}, size_t{300'000}}) {
    on_checked_goroutine([bytes] {
      constexpr int kPieces = 5;
      ASSERT_TRUE(collect_until([] { return tree_in_arena::alive() == 0; }));
      vector<ptr<const std::string>> kept;
      for (int i = 0; i < kPieces; ++i) kept.push_back(keep_one(static_cast<uint64_t>(i) * 1000, kPieces, i, bytes));
      for (int i = 0; i < 5; ++i) {
        clobber_stack();
        gc();
        yield();
      }
      EXPECT_EQ(tree_in_arena::alive(), kPieces);
      for (const auto& k : kept) EXPECT_TRUE(tree_of(k).whole());
    });
    on_checked_goroutine([] { EXPECT_TRUE(collect_until([] { return tree_in_arena::alive() == 0; })); });
    EXPECT_EQ(tree_in_arena::twice, 0);
    EXPECT_EQ(tree_in_arena::spoilt, 0) << "blocks were gone before the destructor";
  }
}

TEST(Arena, AnOwnerKeepsItsBlocks) {
  on_checked_goroutine([] {
    const ptr<tree_in_arena> t = make<tree_in_arena>(7u);
    for (int i = 0; i < 100; ++i) {
      t->add(static_cast<size_t>(i) * 10);
      if (i % 10 == 0) gc();
    }
    gc();
    EXPECT_TRUE(t->whole());
    keep_alive(t);
  });
}

[[gnu::noinline]] void fill(int n, size_t bytes) {
  for (int i = 0; i < n; ++i) EXPECT_NE(keep_one(static_cast<uint64_t>(i), 4, i % 4, bytes).get(), nullptr);
}
TEST(Arena, WhatNobodyKeepsIsFreeAfterItsDestructor) {
  on_checked_goroutine([] {
    gc();
    const uint64_t before = read_mem_stats().heap.bytes;
    constexpr int kTrees = 50;
    fill(kTrees, 4000);
    EXPECT_TRUE(collect_until([] { return tree_in_arena::alive() <= 1; }));
    EXPECT_TRUE(collect_until([before] { return read_mem_stats().heap.bytes < before + 5 * 5 * 4000; })) << "blocks stay";
    EXPECT_EQ(tree_in_arena::spoilt, 0);
  });
}

// With WARREN_GCPOISON=1 what is swept is filled: a block that was freed although somebody kept a part would show it, and one that
// is not freed would not be filled.
[[gnu::noinline]] uintptr_t hidden_address_in_a_tree() {
  const ptr<const std::string> kept = keep_one(3, 3, 1, 500);
  gc();
  gc();
  EXPECT_TRUE(tree_of(kept).whole());
  return ~reinterpret_cast<uintptr_t>(kept.get() + 1);
}
TEST(Arena, SweptBlocksArePoisonedKeptOnesAreNot) {
  on_checked_goroutine([] {
    rt::memory().heap.set_poison(true);
    const uintptr_t hidden = hidden_address_in_a_tree();
#ifdef WARREN_HEAP_ASAN
    // AddressSanitizer would see the look. It sees what destructors do, too; its frames keep the last tree for long.
    EXPECT_NE(hidden, 0u);
    EXPECT_TRUE(collect_until([] { return tree_in_arena::alive() <= 1; }));
#else
    const auto poisoned = [hidden] {
      const auto* const p = reinterpret_cast<const volatile unsigned char*>(~hidden);
      return p[0] == rt::kPoisonByte && p[100] == rt::kPoisonByte;
    };
    EXPECT_TRUE(collect_until([&] { return poisoned() || tree_in_arena::alive() == 0; }));
    // Its memory may have been given to another by now, so nothing more can be said than that the destructor ran on whole blocks.
#endif
    EXPECT_EQ(tree_in_arena::spoilt, 0);
    rt::memory().heap.set_poison(rt::memory().options.heap.poison);
  });
}

// Many goroutines make trees, hand a part of one to another goroutine, and drop what they have, while others collect all the time.
TEST(Arena, ManyWhileCollecting) {
  on_checked_goroutine([] {
    constexpr int kGoroutines = 8;
    const int rounds = scaled(400);
    vector<chan<ptr<const std::string>>> to;
    for (int i = 0; i < kGoroutines; ++i) to.push_back(make_chan<ptr<const std::string>>(4));
    std::atomic<int> bad{0};
    run_while_collecting(kGoroutines, [&](int i) {
      uint64_t seed = 88172645463325252u + static_cast<uint64_t>(i);
      const auto random = [&seed] {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        return seed ^= seed << 17;
      };
      vector<ptr<const std::string>> kept;
      for (int round = 0; round < rounds; ++round) {
        const int pieces = 1 + static_cast<int>(random() % 6);
        ptr<const std::string> part = keep_one(random(), pieces, static_cast<int>(random() % static_cast<uint64_t>(pieces)),
                                               random() % 32 == 0 ? 40'000 : random() % 2000);
        if (!to[random() % kGoroutines].try_send(part)) kept.push_back(part);
        while (auto got = to[static_cast<size_t>(i)].try_recv()) kept.push_back(*got);
        if (kept.size() > 20) {
          for (const auto& k : kept)
            if (!tree_of(k).whole()) ++bad;
          kept.clear();
        }
        if (round % 16 == 0) yield();
      }
    });
    EXPECT_EQ(bad, 0);
  });
  on_checked_goroutine([] { EXPECT_TRUE(collect_until([] { return tree_in_arena::alive() <= 8; })); });
  EXPECT_EQ(tree_in_arena::twice, 0);
  EXPECT_EQ(tree_in_arena::spoilt, 0);
}

// One collection after another, until it ends.
class collecting {
 public:
  collecting() {
    done_.add(1);
    go([this] {
      while (!stop_.load()) {
        gc();
        yield();
      }
      done_.done();
    });
  }
  ~collecting() { end(); }
  void end() {
    stop_ = true;
    done_.wait();
  }

 private:
  std::atomic<bool> stop_{false};
  wait_group done_;
};

// The only way to the owner, and to a block pushed down the list, may be a block made while a collection marks.
TEST(Arena, BlocksMadeWhileACollectionMarks) {
  on_checked_goroutine([] {
    collecting meanwhile;
    ptr<const std::string> last;
    for (int i = 0; i < scaled(3000); ++i) {
      last = keep_one(static_cast<uint64_t>(i), 6, 5, 200);
      if (i % 8 == 0) yield();
      ASSERT_TRUE(tree_of(last).whole());
    }
    meanwhile.end();
    EXPECT_EQ(tree_in_arena::spoilt, 0);
  });
}

// An owner from before the marking began, whose only way is by then a new, black block. (Mode dijkstra does not look at what is
// overwritten.) The shelves hang at the end of a long way, where the marking comes late.
struct shelf {
  ptr<tree_in_arena> tree;
  ptr<const std::string> part;
};
struct way {
  ptr<way> next;
  array<shelf> shelves;
};
constexpr size_t kShelves = 64;
ptr<way> make_way(int length) {
  ptr<way> w = make<way>(nullptr, make_array<shelf>(kShelves));
  for (int i = 0; i < length; ++i) w = make<way>(w, array<shelf>());
  return w;
}
const array<shelf>& shelves_of(const way* w) {
  while (w->next) w = w->next.get();
  return w->shelves;
}
[[gnu::noinline]] void make_trees(const way* w, uint64_t seed) {
  for (shelf& s : shelves_of(w)) {
    s.part = nullptr;
    s.tree = make<tree_in_arena>(seed++);  // without a block: that would lead to the owner, too
  }
}
[[gnu::noinline]] void leave_parts(const way* w) {
  for (shelf& s : shelves_of(w)) {
    s.part = ptr<const std::string>(s.tree->add(10)->text);
    s.tree = nullptr;
  }
}
[[gnu::noinline]] int lost_parts(const way* w) {
  int lost = 0;
  for (const shelf& s : shelves_of(w)) lost += !tree_of(s.part).whole() || tree_of(s.part).ended != 0;
  return lost;
}
TEST(Arena, AnOldOwnerBehindANewBlock) {
  on_checked_goroutine([] {
    collecting meanwhile;
    const ptr<way> w = make_way(scaled(20'000));
    for (int round = 0; round < scaled(400); ++round) {
      make_trees(w.get(), static_cast<uint64_t>(round) * kShelves);
      clobber_stack();
      yield();
      leave_parts(w.get());
      clobber_stack();
      gc();
      do yield();
      while (read_mem_stats().gc.finalizers_waiting != 0);
      ASSERT_EQ(lost_parts(w.get()), 0) << round;
      clobber_stack();
    }
    meanwhile.end();
    EXPECT_EQ(tree_in_arena::spoilt, 0);
  });
}

TEST(Arena, TheCurrentOneIsTheGoroutinesAndNests) {
  EXPECT_EQ(detail::current_arena(), nullptr) << "no goroutine";
  on_checked_goroutine([] {
    EXPECT_EQ(detail::current_arena(), nullptr);
    const ptr<arena> a = make<arena>(), b = make<arena>();
    {
      const detail::arena_scope outer(*a);
      EXPECT_EQ(detail::current_arena(), a.get());
      {
        const detail::arena_scope inner(*b);
        EXPECT_EQ(detail::current_arena(), b.get());
        wait_group done;
        done.add(1);
        go([&] {
          EXPECT_EQ(detail::current_arena(), nullptr);
          done.done();
        });
        done.wait();
      }
      EXPECT_EQ(detail::current_arena(), a.get());
    }
    EXPECT_EQ(detail::current_arena(), nullptr);
  });
}

TEST(ArenaDeathTest, OutsideACollectedObject) {
  EXPECT_DEATH(run([] {
                 arena a;
                 a.allocate(10);
               }),
               "is not in a collected object, so pointers into its memory would not keep it");
}

#ifndef WARREN_TINY
TEST(ArenaDeathTest, MoreThanThereIsThrows) {
  setenv("WARREN_HEAP_RESERVE", "1G", 1);
  EXPECT_EXIT(run([] {
                const ptr<arena> a = make<arena>();
                a->allocate(100);
                try {
                  a->allocate(size_t{2} << 30);
                } catch (const std::bad_alloc&) {
                  a->allocate(100);
                  fprintf(stderr, "%zu bytes\n", a->bytes());
                  _exit(0);
                }
              }),
              ::testing::ExitedWithCode(0), "^200 bytes");
  unsetenv("WARREN_HEAP_RESERVE");
}
#endif

// ---- external_bytes ---------------------------------------------------------------------------------------------------------------------
struct with_memory_behind {
  using collected = finalized;
  uintptr_t behind;
  int64_t bytes;
  inline static std::atomic<int64_t> alive{0}, most{0};
  explicit with_memory_behind(int64_t n) : behind(reinterpret_cast<uintptr_t>(malloc(static_cast<size_t>(n)))), bytes(n) {
    memset(reinterpret_cast<void*>(behind), 1, static_cast<size_t>(n));  // as a program does: it takes its time
    const int64_t now = alive.fetch_add(n) + n;
    int64_t was = most.load();
    while (was < now && !most.compare_exchange_weak(was, now)) {
    }
    external_bytes(n);
  }
  ~with_memory_behind() {
    free(reinterpret_cast<void*>(behind));
    alive.fetch_sub(bytes);
    external_bytes(-bytes);
  }
  WARREN_FIELDS(behind, bytes);
};

// 16 KiB objects' worth of heap and half a gigabyte behind them.
TEST(ExternalBytes, MemoryBehindSmallObjectsStartsCollections) {
  with_memory_behind::most = 0;
  on_checked_goroutine([] {
    const uint64_t before = read_mem_stats().gc.cycles;
    constexpr int64_t kEach = 256 << 10;
    for (int i = 0; i < 2000; ++i) {
      (void)make<with_memory_behind>(kEach);
      yield();  // destructors have a goroutine of their own
    }
    EXPECT_GT(read_mem_stats().gc.cycles, before + 5);
    EXPECT_LT(with_memory_behind::most, int64_t{300} << 20) << "it piled up";
    // Destructors go on between two looks.
    EXPECT_TRUE(collect_until([] {
      return read_mem_stats().heap.external_bytes == static_cast<uint64_t>(with_memory_behind::alive) &&
             with_memory_behind::alive <= 2 * kEach;
    }));
    EXPECT_LT(read_mem_stats().gc.goal_bytes, uint64_t{64} << 20) << "what is gone is no part of the goal";
  });
}

TEST(ExternalBytes, StartACollectionWithoutAnAllocation) {
  on_checked_goroutine([] {
    gc();
    const uint64_t before = read_mem_stats().gc.cycles;
    external_bytes(int64_t{1} << 30);
    for (int i = 0; i < 1'000'000 && read_mem_stats().gc.cycles == before; ++i) yield();
    EXPECT_GT(read_mem_stats().gc.cycles, before);
    external_bytes(-(int64_t{1} << 30));
  });
}

TEST(ExternalBytes, CountFromAnyThread) {
  on_checked_goroutine([] {
    const uint64_t before = read_mem_stats().heap.external_bytes;
    blocking([] {
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i)
        threads.emplace_back([] {
          for (int k = 0; k < 1000; ++k) {
            external_bytes(3);
            external_bytes(-2);
          }
        });
      for (auto& t : threads) t.join();
    });
    EXPECT_EQ(read_mem_stats().heap.external_bytes, before + 4000);
    external_bytes(-4000);
    EXPECT_EQ(read_mem_stats().heap.external_bytes, before);
  });
}

}  // namespace
