// The levels of the heap, with one mcache and no scheduler.
#include "runtime/heap/mheap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "runtime/heap/allocate.h"
#include "tests/runtime/heap/allocate_whole.h"

namespace warren::rt {
namespace {

constexpr size_t kReserve = size_t{256} << 20;

constexpr uint64_t kFirstWord[1] = {1};
constexpr uint64_t kAllBut[1] = {0b101};
constexpr type_descriptor noscan_of(size_t size, uint32_t align = 8) {
  return {size, align, layout_kind::noscan, 0, nullptr, nullptr, "bytes"};
}
constexpr type_descriptor kPair{16, 8, layout_kind::precise, 1, kFirstWord, nullptr, "pair"};
constexpr type_descriptor kTriple{24, 8, layout_kind::precise, 3, kAllBut, nullptr, "triple"};

class Heap : public ::testing::Test {
 protected:
  Heap() : heap({kReserve, false}), cache(heap.new_mcache()) {}
  ~Heap() override {
    if (cache != nullptr) heap.delete_mcache(cache);
  }
  uintptr_t make(const type_descriptor& t) {
    void* p = allocate_fast(*cache, t);
    if (p == nullptr) p = warren::testing::allocate_whole(*cache, t, 1, t.size);
    return reinterpret_cast<uintptr_t>(p);
  }
  uintptr_t make_array(const type_descriptor& t, size_t n) {
    return reinterpret_cast<uintptr_t>(warren::testing::allocate_whole(*cache, t, n, t.size * n + 1));
  }
  void mark(uintptr_t a) {
    const object_ref o = heap.find_object(a);
    ASSERT_TRUE(o);
    o.span->mark_bits(o.index / 64) |= uint64_t{1} << (o.index % 64);
  }
  // What a collection does, given the marks.
  void release_to_sweep() {
    heap.flush(*cache);
    heap.begin_sweep();
  }
  void sweep_all() {
    while (heap.sweep_one()) {
    }
  }
  bool bit(uintptr_t a) const {
    const size_t b = (a - heap.space().base()) / 8;
    return (heap.space().pointer_bits()[b / 64] >> (b % 64)) & 1;
  }

  mheap heap;
  mcache* cache;
};

TEST_F(Heap, SlotsAreDisjointZeroedAndAligned) {
  std::mt19937 rng(3);
  std::set<std::pair<uintptr_t, uintptr_t>> taken;
  for (int i = 0; i < 20000; ++i) {
    const uint32_t align = 1u << (rng() % 7);
    const size_t size = (1 + rng() % (i % 50 == 0 ? 60000 : 600) + align - 1) / align * align;
    const uintptr_t a = make(noscan_of(size, align));
    ASSERT_NE(a, 0u);
    ASSERT_EQ(a % align, 0u) << size;
    for (size_t k = 0; k < size; ++k) ASSERT_EQ(reinterpret_cast<unsigned char*>(a)[k], 0);
    memset(reinterpret_cast<void*>(a), 0xff, size);
    auto next = taken.lower_bound({a, 0});
    if (next != taken.end()) {
      ASSERT_LE(a + size, next->first);
    }
    if (next != taken.begin()) {
      ASSERT_LE(std::prev(next)->second, a);
    }
    taken.insert({a, a + size});
  }
}

TEST_F(Heap, RecycledSlotsAreZeroAgain) {
  std::vector<uintptr_t> first;
  for (int i = 0; i < 3000; ++i) {
    first.push_back(make(noscan_of(48)));
    memset(reinterpret_cast<void*>(first.back()), 0xff, 48);
  }
  for (size_t i = 0; i < first.size(); i += 3) mark(first[i]);
  release_to_sweep();
  std::set<uintptr_t> kept;
  for (size_t i = 0; i < first.size(); i += 3) kept.insert(first[i]);
  std::set<uintptr_t> old(first.begin(), first.end());
  int reused = 0;
  for (int i = 0; i < 3000; ++i) {
    const uintptr_t a = make(noscan_of(48));
    ASSERT_EQ(kept.count(a), 0u) << "a live slot was handed out";
    if (old.count(a)) ++reused;
    for (size_t k = 0; k < 48; ++k) ASSERT_EQ(reinterpret_cast<unsigned char*>(a)[k], 0);
  }
  EXPECT_GT(reused, 1500);
  for (const uintptr_t a : kept) {
    for (size_t k = 0; k < 48; ++k) ASSERT_EQ(reinterpret_cast<unsigned char*>(a)[k], 0xff);
  }
}

// One allocation at a time, and the level it reaches.
TEST_F(Heap, AllocationFallsThroughTheLevels) {
  auto t = heap.read_totals();
  EXPECT_EQ(t.mallocs, 0u);

  make(noscan_of(64));  // nothing anywhere: grow, page allocator, new span
  t = heap.read_totals();
  EXPECT_EQ(t.mallocs, 1u);
  EXPECT_EQ(t.refills, 1u);
  EXPECT_EQ(t.mheap_hits, 1u);
  EXPECT_EQ(t.grows, 1u);
  EXPECT_EQ(t.page_cache_hits, 0u);

  make(noscan_of(64));  // the span at hand
  t = heap.read_totals();
  EXPECT_EQ(t.mallocs, 2u);
  EXPECT_EQ(t.refills, 1u);

  make(noscan_of(96));  // another class: its span comes from the page cache
  t = heap.read_totals();
  EXPECT_EQ(t.refills, 2u);
  EXPECT_EQ(t.mheap_hits, 1u);
  EXPECT_EQ(t.page_cache_hits, 1u);

  heap.flush(*cache);   // the spans go to their mcentrals
  make(noscan_of(64));  // and come back
  t = heap.read_totals();
  EXPECT_EQ(t.mallocs, 4u);
  EXPECT_EQ(t.refills, 3u);
  EXPECT_EQ(t.mcentral_hits, 1u);
  EXPECT_EQ(t.page_cache_hits, 1u);

  make(noscan_of(100'000));  // large: pages, 13 of them, from a new cache: the old one went with the flush
  t = heap.read_totals();
  EXPECT_EQ(t.large, 1u);
  EXPECT_EQ(t.page_cache_hits, 1u);
  EXPECT_EQ(t.mheap_hits, 2u);
  make(noscan_of(100'000));  // from the cache
  t = heap.read_totals();
  EXPECT_EQ(t.page_cache_hits, 2u);
  EXPECT_EQ(t.mheap_hits, 2u);
  make(noscan_of(1'000'000));  // too large for it
  t = heap.read_totals();
  EXPECT_EQ(t.large, 3u);
  EXPECT_EQ(t.mheap_hits, 3u);
  EXPECT_EQ(t.grows, 1u);
  make(noscan_of(6'000'000));  // too large for what was grown
  EXPECT_EQ(heap.read_totals().grows, 2u);
}

TEST_F(Heap, TinyObjectsShareBlocks) {
  std::set<uintptr_t> blocks;
  for (int i = 0; i < 160; ++i) blocks.insert(make(noscan_of(1, 1)) / 16);
  EXPECT_EQ(blocks.size(), 10u);
  auto t = heap.read_totals();
  EXPECT_EQ(t.tiny_blocks, 10u);
  EXPECT_EQ(t.tiny_hits, 150u);
  EXPECT_EQ(t.mallocs, 10u);
  // Alignment inside the block.
  for (int i = 0; i < 100; ++i) {
    make(noscan_of(1, 1));
    EXPECT_EQ(make(noscan_of(4, 4)) % 4, 0u);
    EXPECT_EQ(make(noscan_of(8, 8)) % 8, 0u);
  }
  // With a pointer inside, or of 16 bytes: no sharing.
  constexpr type_descriptor one{8, 8, layout_kind::precise, 1, kFirstWord, nullptr, "pointer"};
  const uintptr_t a = make(one), b = make(one);
  EXPECT_EQ(heap.find_object(a).span->elem_size, 8u);
  EXPECT_NE(a, b);
  EXPECT_EQ(heap.find_object(make(noscan_of(16))).span->elem_size, 16u);
}

TEST_F(Heap, LargeObjectsHaveTheirSpan) {
  const uintptr_t a = make(noscan_of(40'000));
  const object_ref o = heap.find_object(a + 39'999);
  ASSERT_TRUE(o);
  EXPECT_EQ(o.address(), a);
  EXPECT_EQ(o.span->npages, 5u);
  mark(a);
  const uintptr_t b = make(noscan_of(40'000));
  release_to_sweep();
  sweep_all();
  EXPECT_TRUE(heap.find_object(a));
  EXPECT_FALSE(heap.find_object(b));
  auto t = heap.read_totals();
  EXPECT_EQ(t.objects, 1u);
  EXPECT_EQ(t.bytes, 5 * kPageSize);
  // Its pages serve again, and are zero.
  memset(reinterpret_cast<void*>(a), 0xff, 40'000);
  release_to_sweep();
  sweep_all();
  EXPECT_EQ(heap.read_totals().spans_in_use, 0u);
  uintptr_t c = 0;
  for (int i = 0; i < 100 && c != a; ++i) c = make(noscan_of(40'000));
  ASSERT_EQ(c, a);
  for (size_t i = 0; i < 40'000; ++i) ASSERT_EQ(reinterpret_cast<unsigned char*>(c)[i], 0);
}

TEST_F(Heap, FindObjectHonoursInteriorAddressesOfAllocatedSlotsOnly) {
  std::vector<uintptr_t> objects;
  for (int i = 0; i < 10; ++i) objects.push_back(make(noscan_of(48)));
  for (const uintptr_t a : objects) {
    for (size_t k = 0; k < 48; ++k) {
      const object_ref o = heap.find_object(a + k);
      ASSERT_TRUE(o);
      ASSERT_EQ(o.address(), a);
    }
  }
  EXPECT_FALSE(heap.find_object(objects[9] + 48)) << "the next slot is free";
  const mspan* const s = heap.find_object(objects[0]).span;
  EXPECT_FALSE(heap.find_object(s->base + s->bytes() - 1)) << "the span's tail or a free slot";
  EXPECT_FALSE(heap.find_object(s->base + s->bytes())) << "the next page";
  EXPECT_FALSE(heap.find_object(0));
  EXPECT_FALSE(heap.find_object(1));
  EXPECT_FALSE(heap.find_object(~uintptr_t{0}));
  EXPECT_FALSE(heap.find_object(heap.space().base() + heap.space().bytes()));
  EXPECT_FALSE(heap.find_object(heap.space().base() - 1));
  EXPECT_FALSE(heap.find_object(reinterpret_cast<uintptr_t>(&objects)));
}

TEST_F(Heap, OnePastTheEndOfAnArrayBelongsToIt) {
  for (const size_t n : {1, 2, 3, 4, 8, 64, 512, 1000, 4096, 8192}) {
    const uintptr_t a = make_array(noscan_of(8), n);
    const object_ref o = heap.find_object(a + 8 * n);
    ASSERT_TRUE(o) << n;
    EXPECT_EQ(o.address(), a) << n;
  }
}

TEST_F(Heap, FreedSlotsAreNotFound) {
  const uintptr_t keep = make(noscan_of(32)), drop = make(noscan_of(32));
  mark(keep);
  release_to_sweep();
  sweep_all();
  EXPECT_TRUE(heap.find_object(keep));
  EXPECT_FALSE(heap.find_object(drop));
  // A slot taken again is found again.
  EXPECT_EQ(make(noscan_of(32)), drop);
  EXPECT_TRUE(heap.find_object(drop));
}

TEST_F(Heap, PointerBitsRepeatTheTypesMap) {
  std::vector<uintptr_t> pairs, triples;
  for (int i = 0; i < 700; ++i) pairs.push_back(make(kPair)), triples.push_back(make(kTriple));
  for (const uintptr_t a : pairs) ASSERT_TRUE(bit(a) && !bit(a + 8));
  for (const uintptr_t a : triples) ASSERT_TRUE(bit(a) && !bit(a + 8) && bit(a + 16));
  for (const size_t n : {1, 2, 3, 10, 21, 100, 1000, 10'000, 50'000}) {
    const uintptr_t a = make_array(kTriple, n);
    const size_t slot = heap.find_object(a).span->elem_size;
    for (size_t w = 0; w < slot / 8; ++w) ASSERT_EQ(bit(a + w * 8), w < 3 * n && w % 3 != 1) << n << " word " << w;
  }
  constexpr type_descriptor pointer{8, 8, layout_kind::precise, 1, kFirstWord, nullptr, "pointer"};
  for (const size_t n : {1, 5, 63, 64, 65, 100, 511, 4095, 4096, 20'000}) {
    const uintptr_t a = make_array(pointer, n);
    const size_t slot = heap.find_object(a).span->elem_size;
    for (size_t w = 0; w < slot / 8; ++w) ASSERT_EQ(bit(a + w * 8), w < n) << n << " word " << w;
  }
}

TEST_F(Heap, PointerBitsOfALargeTypeAreWhereItsMapSays) {
  std::mt19937_64 rng(11);
  for (const size_t words : {65, 100, 128, 200, 1000, 6000}) {
    std::vector<uint64_t> map((words + 63) / 64 + 1);
    for (uint64_t& w : map) w = rng();
    if (words % 64) map[words / 64] &= (uint64_t{1} << (words % 64)) - 1;
    const type_descriptor t{words * 8, 8, layout_kind::precise, static_cast<uint32_t>(words), map.data(), nullptr, "large"};
    for (int i = 0; i < 3; ++i) {
      const uintptr_t a = make(t);
      const size_t slot = heap.find_object(a).span->elem_size;
      for (size_t w = 0; w < slot / 8; ++w)
        ASSERT_EQ(bit(a + w * 8), w < words && ((map[w / 64] >> (w % 64)) & 1)) << words << " word " << w;
    }
  }
}

// Where there was one full of pointers before: of what that left nothing can be seen, and piece by piece it goes.
TEST_F(Heap, ALargeObjectIsFinishedPieceByPiece) {
  constexpr size_t kTriples = 50'000;
  const uintptr_t before = make_array(kTriple, kTriples);
  memset(reinterpret_cast<void*>(before), 0xff, kTriples * kTriple.size);
  release_to_sweep();
  sweep_all();
  void* const p = allocate(*cache, kTriple, kTriples, kTriples * kTriple.size + 1);
  const auto a = reinterpret_cast<uintptr_t>(p);
  ASSERT_EQ(a, before);
  const auto* const words = static_cast<const uint64_t*>(p);
  ASSERT_EQ(words[0], ~uint64_t{0}) << "the memory is as it was left";
  const size_t bytes = heap.find_object(a).span->bytes();
  const auto check = [&](size_t done) {
    for (size_t w = 0; w < bytes / 8; ++w) {
      ASSERT_EQ(bit(a + w * 8), w * 8 < done && w < 3 * kTriples && w % 3 != 1) << done << " bytes done, word " << w;
      ASSERT_TRUE(w * 8 >= done || words[w] == 0) << w;
    }
  };
  check(0);
  large_object o(heap, p, kTriple, kTriples);
  size_t pieces = 1;
  for (; o.finish_piece(); ++pieces) check(pieces * large_object::kPiece);
  check(bytes);
  EXPECT_EQ(pieces, (bytes + large_object::kPiece - 1) / large_object::kPiece);
  EXPECT_GE(pieces, 5u);
  EXPECT_FALSE(o.finish_piece());
}

TEST_F(Heap, SweepFreesWhatIsUnmarkedAndNothingElse) {
  std::mt19937 rng(5);
  std::vector<std::pair<uintptr_t, size_t>> live;
  for (int cycle = 0; cycle < 12; ++cycle) {
    for (int i = 0; i < 4000; ++i) {
      const size_t size = (8 + rng() % (i % 100 == 0 ? 50000 : 400)) / 8 * 8;
      const uintptr_t a = make(noscan_of(size < 16 ? 16 : size));
      memset(reinterpret_cast<void*>(a), cycle + 1, size);
      live.push_back({a, size | static_cast<size_t>(cycle + 1) << 32});
    }
    std::vector<std::pair<uintptr_t, size_t>> kept;
    for (const auto& o : live) {
      if (rng() % 3 == 0) {
        mark(o.first);
        kept.push_back(o);
      }
    }
    live = kept;
    release_to_sweep();
    if (cycle % 2 == 0) sweep_all();  // else the allocations of the next cycle do it
    for (const auto& [a, s] : live) {
      for (size_t k = 0; k < (s & 0xffffffff); ++k) ASSERT_EQ(reinterpret_cast<unsigned char*>(a)[k], s >> 32);
    }
    if (cycle % 2 != 0) sweep_all();
    ASSERT_TRUE(heap.sweep_done());
    ASSERT_EQ(heap.read_totals().objects, live.size());
  }
  release_to_sweep();
  sweep_all();
  const auto t = heap.read_totals();
  EXPECT_EQ(t.objects, 0u);
  EXPECT_EQ(t.bytes, 0u);
  EXPECT_EQ(t.spans_in_use, 0u);
}

TEST_F(Heap, GarbageIsSweptBeforeTheHeapGrows) {
  for (int i = 0; i < 40; ++i) make(noscan_of(1 << 20));
  const uint64_t used = heap.read_totals().used_bytes;
  release_to_sweep();
  for (int i = 0; i < 40; ++i) ASSERT_NE(make(noscan_of(1 << 20)), 0u);
  EXPECT_EQ(heap.read_totals().used_bytes, used);
}

TEST_F(Heap, ExhaustedReservationIsReportedByNull) {
  size_t n = 0;
  while (make(noscan_of(1 << 20)) != 0) ++n;
  EXPECT_GE(n, (kReserve >> 20) * 9 / 10);
  EXPECT_EQ(make(noscan_of(size_t{1} << 40)), 0u);
  while (make(noscan_of(64)) != 0) {
  }
  EXPECT_EQ(make(noscan_of(64)), 0u);
  release_to_sweep();
  EXPECT_NE(make(noscan_of(64)), 0u) << "sweeping makes room";
}

TEST_F(Heap, TotalsSurviveTheMcache) {
  for (int i = 0; i < 1000; ++i) make(noscan_of(32)), make(noscan_of(3, 1));
  const auto before = heap.read_totals();
  heap.delete_mcache(cache);
  cache = nullptr;
  const auto after = heap.read_totals();
  EXPECT_EQ(before.mallocs, after.mallocs);
  EXPECT_EQ(before.objects, after.objects);
  EXPECT_EQ(before.tiny_hits, after.tiny_hits);
  EXPECT_EQ(before.refills, after.refills);
}

TEST(HeapPoison, SweptSlotsAreFilled) {
#ifdef WARREN_HEAP_ASAN
  GTEST_SKIP() << "swept slots cannot be read under AddressSanitizer";
#endif
  mheap heap({kReserve, true});
  mcache* const c = heap.new_mcache();
  const type_descriptor t = noscan_of(64);
  void* const keep = allocate(*c, t, 1, 64);
  void* const drop = allocate(*c, t, 1, 64);
  const object_ref o = heap.find_object(reinterpret_cast<uintptr_t>(keep));
  o.span->mark_bits(0) |= uint64_t{1} << o.index;
  heap.flush(*c);
  heap.begin_sweep();
  heap.sweep_one();
  EXPECT_EQ(*static_cast<unsigned char*>(keep), 0);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(static_cast<unsigned char*>(drop)[i], kPoisonByte);
}

TEST(HeapDeathTest, AMarkedFreeSlotIsAZombie) {
  mheap heap({kReserve, false});
  mcache* const c = heap.new_mcache();
  const type_descriptor t = noscan_of(64);
  const auto a = reinterpret_cast<uintptr_t>(allocate(*c, t, 1, 64));
  const object_ref o = heap.find_object(a);
  o.span->mark_bits(0) |= uint64_t{0b11};  // slot 0 lives, slot 1 was never allocated
  heap.flush(*c);
  heap.begin_sweep();
  EXPECT_DEATH(heap.sweep_one(), "slot 1 at .*free, marked   <-- ZOMBIE(.|\n)*fatal error: sweep found slot 1 of a span marked but free");
}

#ifdef WARREN_HEAP_ASAN
TEST(HeapDeathTest, AsanReportsTheUseOfASweptSlot) {
  mheap heap({kReserve, false});
  mcache* const c = heap.new_mcache();
  const type_descriptor t = noscan_of(64);
  auto* const keep = static_cast<char*>(allocate(*c, t, 1, 64));
  auto* const drop = static_cast<char*>(allocate(*c, t, 1, 64));
  const object_ref o = heap.find_object(reinterpret_cast<uintptr_t>(keep));
  o.span->mark_bits(0) |= uint64_t{1} << o.index;
  heap.flush(*c);
  heap.begin_sweep();
  heap.sweep_one();
  EXPECT_EQ(*keep, 0);
  EXPECT_DEATH(*const_cast<volatile char*>(drop) = 1, "use-after-poison");
}
#endif

TEST(Reservation, ParsesSizes) {
  EXPECT_EQ(parse_size("1"), 1u);
  EXPECT_EQ(parse_size("64K"), 64u << 10);
  EXPECT_EQ(parse_size("3m"), 3u << 20);
  EXPECT_EQ(parse_size("512G"), size_t{512} << 30);
  EXPECT_EQ(parse_size("1T"), size_t{1} << 40);
  for (const char* bad : {"", "G", "-1", "1X", "1GB", "0", "99999999999999999999", "16777216T"}) EXPECT_EQ(parse_size(bad), 0u) << bad;
}

// Taken slots are counted by the group, and counters are read while spans come and go: what was allocated never seems less than before.
TEST_F(Heap, CountsOfAllocationsNeverGoBack) {
  std::atomic<bool> done{false};
  uint64_t objects = 0;
  std::thread owner([&] {
    for (int i = 0; i < 300; ++i) {
      for (int k = 0; k < 20000; ++k) make(kPair);
      objects += 20000;
      release_to_sweep();
      sweep_all();
    }
    done = true;
  });
  uint64_t seen = 0;
  int went_back = 0;
  while (!done) {
    const uint64_t now = heap.read_totals().mallocs;
    went_back += now < seen ? 1 : 0;
    seen = now;
  }
  owner.join();
  EXPECT_EQ(went_back, 0);
  EXPECT_LE(seen, objects);
  EXPECT_EQ(heap.read_totals().mallocs, objects) << "and are exact when nobody allocates";
}

// Two types share a span, in turns: each object has its own type's bits, whatever the span's slots had before.
TEST_F(Heap, PointerBitsAreThoseOfEachObjectsType) {
  constexpr type_descriptor first{16, 8, layout_kind::precise, 1, kFirstWord, nullptr, "first"};
  static constexpr uint64_t second_word[1] = {2};
  constexpr type_descriptor second{16, 8, layout_kind::precise, 2, second_word, nullptr, "second"};
  std::vector<std::pair<uintptr_t, bool>> made;
  std::mt19937 rng(11);
  for (int i = 0; i < 5000; ++i) {
    const bool is_first = i < 700 || rng() % 3 == 0;  // more than one span of the first alone
    made.emplace_back(make(is_first ? first : second), is_first);
  }
  for (const auto& [a, is_first] : made) {
    ASSERT_EQ(bit(a), is_first) << a;
    ASSERT_EQ(bit(a + 8), !is_first) << a;
  }
  // All garbage: the spans come back for objects of the other type.
  release_to_sweep();
  sweep_all();
  for (int i = 0; i < 5000; ++i) {
    const uintptr_t a = make(second);
    ASSERT_FALSE(bit(a)) << a;
    ASSERT_TRUE(bit(a + 8)) << a;
  }
}

// What the system says of the memory at an address: the flags of its mapping, as /proc/self/smaps lists them.
std::string mapping_flags(uintptr_t a) {
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool here = false;
  while (std::getline(smaps, line)) {
    uintptr_t first = 0, end = 0;
    if (sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2) here = a >= first && a < end;
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

TEST(HeapPages, AreHugeOnlyInALargeHeap) {
  if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) GTEST_SKIP() << "this system has no huge pages";
  mheap heap({size_t{2} << 30});
  mcache* const c = heap.new_mcache();
  const uintptr_t base = heap.space().base();
  const auto tables = reinterpret_cast<uintptr_t>(heap.space().pointer_bits()) + (size_t{2} << 20);
  const auto are_huge = [](uintptr_t a) { return mapping_flags(a).find(" hg ") != std::string::npos; };
  ASSERT_NE(heap.alloc_large(*c, kHugeDataFrom - kChunkBytes, scan_kind::noscan), nullptr);
  EXPECT_FALSE(are_huge(base));
  ASSERT_NE(heap.alloc_large(*c, size_t{256} << 20, scan_kind::noscan), nullptr);
  EXPECT_FALSE(are_huge(base));
  EXPECT_TRUE(are_huge(base + kHugeDataFrom));
  EXPECT_FALSE(are_huge(tables));
  ASSERT_NE(heap.alloc_large(*c, kHugeTablesFrom, scan_kind::noscan), nullptr);
  EXPECT_TRUE(are_huge(tables));
  heap.gather_tables();
  heap.gather_tables();
}

}  // namespace
}  // namespace warren::rt
