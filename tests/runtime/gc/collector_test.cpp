// The collector over a heap, roots and a world of the test's own: no scheduler, no goroutine.
#include "runtime/gc/collector.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <set>

#include "tests/runtime/gc/fake_world.h"
#include "tests/runtime/heap/allocate_whole.h"

namespace warren::rt {
namespace {

using testing::fake_world;

constexpr uint64_t kTwoPointers[1] = {0b011};
constexpr type_descriptor kNode{24, 8, layout_kind::precise, 2, kTwoPointers, nullptr, "node"};  // left, right, a number
constexpr type_descriptor kNumbers{24, 8, layout_kind::noscan, 0, nullptr, nullptr, "numbers"};
constexpr type_descriptor kOpaque{24, 8, layout_kind::ambiguous, 0, nullptr, nullptr, "opaque"};
constexpr uint64_t kOne[1] = {1};
constexpr type_descriptor kSlot{8, 8, layout_kind::precise, 1, kOne, nullptr, "slot"};

struct node {
  node* left;
  node* right;
  uintptr_t number;
};

class Collector : public ::testing::Test {
 protected:
  Collector()
      : heap({size_t{128} << 20, false, rt::testing::scan_by_page(), rt::testing::kernel()}), w(heap), gc(heap, roots, w, {100, true}) {}

  node* make(const type_descriptor& t = kNode, size_t count = 1) {
    return static_cast<node*>(warren::testing::allocate_whole(*w.cache, t, count, count == 1 ? t.size : count * t.size + 1));
  }
  bool alive(const void* p) const { return static_cast<bool>(heap.find_object(reinterpret_cast<uintptr_t>(p))); }
  uintptr_t& local(size_t i) { return w.stacks[0][i]; }
  static uintptr_t word(const void* p) { return reinterpret_cast<uintptr_t>(p); }

  mheap heap;
  root_set roots;
  fake_world w;
  collector gc;
};

TEST_F(Collector, KeepsWhatStacksReachAndFreesTheRest) {
  node* const a = make();
  node* const b = make();
  node* const c = make();
  node* const garbage = make();
  a->left = b;
  b->right = c;
  garbage->left = a;
  local(5) = word(a);
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(a) && alive(b) && alive(c));
  EXPECT_FALSE(alive(garbage));
  EXPECT_EQ(r.cycle, 1u);
  EXPECT_EQ(r.objects_before, 4u);
  EXPECT_EQ(r.objects_marked, 3u);
  EXPECT_EQ(r.objects_freed, 1u);
  EXPECT_EQ(r.bytes_marked, 72u);
  EXPECT_EQ(r.bytes_freed, 24u);
  EXPECT_EQ(r.stack_bytes, 64 * 8u);
  local(5) = 0;
  EXPECT_EQ(gc.collect(gc_trigger::manual).objects_marked, 0u);
  EXPECT_EQ(heap.read_totals().objects, 0u);
}

TEST_F(Collector, CyclesAreNoObstacle) {
  node* const a = make();
  node* const b = make();
  a->left = b;
  b->left = a;
  a->right = a;
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(a) || alive(b));
}

TEST_F(Collector, InteriorAndOnePastTheEndWordsKeep) {
  node* const a = make();
  node* const array = make(kNode, 10);
  node* const large = make(kNode, 5000);
  node* const single = make();
  local(0) = word(a) + 17;
  local(1) = word(array + 10);
  local(2) = word(large + 5000);
  local(3) = word(single) + 24;  // one past a single object: the next slot
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(a) && alive(array) && alive(large));
  EXPECT_FALSE(alive(single));
}

TEST_F(Collector, HeapSlotsArePreciseAndAmbiguousObjectsAreNot) {
  node* const a = make();
  node* const through_number = make();
  a->number = word(through_number);  // not a slot
  node* const o = make(kOpaque);
  node* const through_opaque = make();
  o->number = word(through_opaque) + 8;
  node* const n = make(kNumbers);
  node* const through_numbers = make();
  n->left = through_numbers;
  local(0) = word(a), local(1) = word(o), local(2) = word(n);
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(through_number));
  EXPECT_TRUE(alive(through_opaque));
  EXPECT_FALSE(alive(through_numbers));
}

TEST_F(Collector, GarbageWordsOnStacksAreHarmless) {
  std::mt19937_64 rng(1);
  node* const a = make();
  for (auto& x : w.stacks[0]) x = rng();
  local(1) = heap.space().base();
  local(2) = heap.space().base() + heap.space().bytes() - 1;
  local(3) = word(a) + 4096;  // free slots of a's span
  local(4) = word(a) | uintptr_t{1} << 60;
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_LE(r.objects_marked, 1u);
}

TEST_F(Collector, RootsKeepUntilDropped) {
  node* const a = make();
  detail::root_cell* cell = roots.make(a);
  detail::root_cell* copy = roots.copy(cell);
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(a));
  roots.drop(cell);
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(a));
  node* const b = make();
  roots.set(&copy, b);
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(a));
  EXPECT_TRUE(alive(b));
  roots.set(&copy, nullptr);
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(b));
  roots.drop(copy);
  EXPECT_EQ(roots.cells_in_use(), 0u);
  EXPECT_EQ(roots.make(nullptr), nullptr);
}

TEST_F(Collector, ManyRoots) {
  std::vector<detail::root_cell*> cells;
  std::vector<node*> nodes;
  for (int i = 0; i < 10'000; ++i) {
    nodes.push_back(make());
    cells.push_back(roots.make(nodes.back()));
  }
  for (int i = 0; i < 10'000; i += 2) roots.drop(cells[i]);
  EXPECT_EQ(gc.collect(gc_trigger::manual).root_words, 5'000u);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(alive(nodes[i]), i % 2 == 1);
}

TEST_F(Collector, RangesAreRoots) {
  node* mine[3] = {make(), nullptr, make()};
  node* const first = mine[0];
  roots.add_range(mine, mine + 3);
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(first) && alive(mine[2]));
  roots.remove_range(mine);
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(first));
  EXPECT_DEATH(roots.remove_range(mine), "no such root range was added");
}

TEST_F(Collector, LongListsAndDeepTreesDoNotOverflow) {
  node* head = nullptr;
  for (int i = 0; i < 500'000; ++i) {
    node* const n = make();
    n->left = head;
    n->right = head;
    head = n;
    local(0) = word(head);
  }
  EXPECT_EQ(gc.collect(gc_trigger::manual).objects_marked, 500'000u);
  // Wide: all of it waits in the mark stack at once.
  node* const wide = make(kSlot, 500'000);
  local(0) = word(wide);
  for (int i = 0; i < 500'000; ++i) reinterpret_cast<node**>(wide)[i] = make();
  EXPECT_EQ(gc.collect(gc_trigger::manual).objects_marked, 500'001u);
}

TEST_F(Collector, TinyObjectsLiveWithTheirBlock) {
  constexpr type_descriptor byte{1, 1, layout_kind::noscan, 0, nullptr, nullptr, "byte"};
  auto* const a = reinterpret_cast<char*>(make(byte));
  auto* const b = reinterpret_cast<char*>(make(byte));
  ASSERT_EQ(word(a) / 16, word(b) / 16);
  *a = 1, *b = 2;
  local(0) = word(b);
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(a));
  EXPECT_EQ(*a + *b, 3);
  // The block is not filled up any more: its owner forgot it.
  EXPECT_NE(word(make(byte)) / 16, word(a) / 16);
}

// Random graphs against a search of the test's own.
TEST_F(Collector, AgreesWithABruteForceSearch) {
  std::mt19937 rng(42);
  std::vector<node*> live;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 500; ++i) live.push_back(make());
    for (int i = 0; i < 800; ++i) {
      node* const from = live[rng() % live.size()];
      (rng() % 2 ? from->left : from->right) = rng() % 4 ? live[rng() % live.size()] : nullptr;
    }
    for (auto& x : w.stacks[0]) x = rng() % 3 ? 0 : word(live[rng() % live.size()]) + rng() % 24;
    std::set<node*> reachable;
    std::function<void(node*)> visit = [&](node* n) {
      std::vector<node*> todo{n};
      while (!todo.empty()) {
        node* const at = todo.back();
        todo.pop_back();
        if (at == nullptr || !reachable.insert(at).second) continue;
        todo.push_back(at->left);
        todo.push_back(at->right);
      }
    };
    for (const uintptr_t x : w.stacks[0])
      if (x != 0) visit(reinterpret_cast<node*>(heap.find_object(x).address()));
    const gc_report r = gc.collect(gc_trigger::manual);
    ASSERT_EQ(r.objects_marked, reachable.size());
    for (node* const n : live) ASSERT_EQ(alive(n), reachable.count(n) == 1);
    live.assign(reachable.begin(), reachable.end());
    if (live.empty()) live.push_back(make());
  }
}

// Edges into one group of slots are judged together: in whatever order they come, each object is counted once, scanned once, and its dead
// neighbours stay white.
TEST_F(Collector, NeighboursAreJudgedTogetherAndCountedOnce) {
  constexpr size_t kNodes = 1000;
  std::vector<node*> nodes(kNodes), beyond(kNodes);
  for (size_t i = 0; i < kNodes; ++i) {
    nodes[i] = make();
    beyond[i] = make(kNumbers);
    nodes[i]->right = beyond[i];
  }
  std::mt19937 random(1);
  auto** const table = reinterpret_cast<node**>(make(kSlot, 4 * kNodes));
  std::set<size_t> live;
  for (size_t i = 0; i < 4 * kNodes;) {
    // A run of neighbours, of which some are left out and some come twice.
    const size_t first = random() % kNodes;
    for (size_t k = 0; k < 40 && i < 4 * kNodes; ++k, ++i) {
      const size_t at = std::min(kNodes - 1, first + random() % 20);
      if (at % 7 == 3) continue;
      table[i] = nodes[at];
      live.insert(at);
    }
  }
  local(0) = word(table);
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_EQ(r.objects_marked, 1 + 2 * live.size());
  for (size_t i = 0; i < kNodes; ++i) {
    EXPECT_EQ(alive(nodes[i]), live.contains(i)) << i;
    EXPECT_EQ(alive(beyond[i]), live.contains(i)) << i;
  }
}

// Many lists through the same pages, singly and doubly linked, and trees: what is followed within a page, what waits in it, and what finds
// no room to be followed, all of it is marked.
TEST_F(Collector, ListsAndTreesThroughTheSamePages) {
  constexpr size_t kLists = 60, kLength = 400;
  std::vector<node*> last(kLists);
  for (size_t k = 0; k < kLength; ++k) {
    for (size_t l = 0; l < kLists; ++l) {
      node* const n = make();
      if (last[l] != nullptr) {
        last[l]->left = n;
        if (l % 2 == 1) n->right = last[l];
      } else {
        local(l) = word(n);
      }
      last[l] = n;
    }
    (void)make();  // garbage in between
  }
  const std::function<node*(int)> tree = [&](int depth) {
    node* const n = make();
    if (depth > 0) {
      n->left = tree(depth - 1);
      n->right = tree(depth - 1);
    }
    return n;
  };
  local(kLists) = word(tree(11));
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_EQ(r.objects_marked, kLists * kLength + (size_t{1} << 12) - 1);
  EXPECT_EQ(r.objects_freed, kLength);
}

TEST_F(Collector, AllocationTriggersAtTheGoal) {
  EXPECT_EQ(heap.trigger(), kMinTriggerBytes);
  EXPECT_FALSE(heap.should_collect());
  EXPECT_EQ(gc.collect(gc_trigger::small).cycle, 0u) << "nothing to do yet";
  EXPECT_EQ(w.stops, 0);
  while (!heap.should_collect()) make();
  EXPECT_NEAR(static_cast<double>(heap.read_totals().bytes), static_cast<double>(kMinTriggerBytes), 64 * 1024);
  EXPECT_EQ(gc.collect(gc_trigger::small).cycle, 1u);
  EXPECT_FALSE(heap.should_collect());
  EXPECT_EQ(gc.read_stats().by_trigger[static_cast<size_t>(gc_trigger::small)], 1u);
}

// Little is alive, and the percentage begins a cycle far below the limit. Then those who should mark get no processor. Who allocates
// is forgiven what it owes as long as there is room below the limit, and no longer.
TEST(CollectorWithLimit, WhoComesToItWaitsForTheMarkingThatThePercentageBegan) {
  constexpr uint64_t kLimit = 40 << 20;
  mheap heap({size_t{256} << 20, false, rt::testing::scan_by_page(), rt::testing::kernel()});
  root_set roots;
  fake_world w(heap);
  collector gc(heap, roots, w, {.percent = 100, .mode = gc_mode::hybrid, .limit = kLimit});
  ASSERT_TRUE(gc.start(gc_trigger::manual, true));
  ASSERT_LT(gc.read_stats().goal_bytes, kLimit / 4);
  int64_t credit = 0;
  bool paid = true;
  while (paid && heap.paced_bytes() < 3 * kLimit) {
    constexpr size_t kCount = 2000;
    constexpr size_t kBytes = kCount * kNumbers.size + 1;
    warren::testing::allocate_whole(*w.cache, kNumbers, kCount, kBytes);
    paid = gc.assist(kBytes, &credit);
    EXPECT_EQ(paid, !gc.beyond_limit());
  }
  EXPECT_FALSE(paid);
  EXPECT_LE(gc.memory_bytes(), kLimit + kLimit / 20) << "and what the heap's tables have grown by, which nobody has told the pacer";
  EXPECT_GE(gc.memory_bytes(), kLimit - kLimit / 8);
  // It waits, until the marking is over and no longer: a worker that comes by and finds nothing to do is no reason to go on.
  static bool woken = false;
  assist_queue::waiter me{.debt = -credit, .wake = [](assist_queue::waiter*) noexcept { woken = true; }};
  ASSERT_TRUE(gc.assists().wait(&me));
  gc.work(1, collector::worker::background);
  gc.assists().wake_paid();
  EXPECT_FALSE(woken);
  while (!gc.finish()) gc.mark(~uint64_t{0});
  gc.assists().wake_paid();
  EXPECT_TRUE(woken);
}

TEST_F(Collector, GoalFollowsTheLiveHeapAndThePercentage) {
  node* const big = make(kNumbers, (20 << 20) / 24);
  local(0) = word(big);
  gc.collect(gc_trigger::manual);
  const uint64_t live = heap.live_bytes();
  EXPECT_NEAR(static_cast<double>(live), 20 << 20, 16384);
  const uint64_t roots = 64 * 8;  // the stack counts, too
  EXPECT_EQ(heap.trigger(), 2 * live + roots);
  EXPECT_EQ(gc.set_percent(50), 100);
  EXPECT_EQ(heap.trigger(), live + (live + roots) / 2);
  EXPECT_EQ(gc.set_percent(-5), 50);
  EXPECT_EQ(heap.trigger(), ~uint64_t{0});
  EXPECT_EQ(gc.set_percent(100), -1);
}

TEST_F(Collector, ReportsAndHistogram) {
  for (int i = 0; i < 5; ++i) gc.collect(i % 2 ? gc_trigger::manual : gc_trigger::background);
  const gc_stats s = gc.read_stats();
  EXPECT_EQ(s.cycles, 5u);
  EXPECT_EQ(s.by_trigger[static_cast<size_t>(gc_trigger::manual)], 2u);
  EXPECT_EQ(s.by_trigger[static_cast<size_t>(gc_trigger::background)], 3u);
  uint64_t sum = 0;
  for (const uint64_t n : s.pauses.count) sum += n;
  EXPECT_EQ(sum, 5u);
  EXPECT_GT(s.pause_last_ns, 0);
  EXPECT_GE(s.pause_max_ns, s.pause_last_ns);
  EXPECT_EQ(s.last.cycle, 5u);
  // Every phase was timed (the clock advances with each look).
  EXPECT_GT(s.last.sweep_termination_ns, 0);
  EXPECT_GT(s.last.mark_ns, 0);
  EXPECT_GT(s.last.mark_termination_ns, 0);
  EXPECT_GE(s.last.pause_ns, s.last.sweep_termination_ns + s.last.mark_ns + s.last.mark_termination_ns);
  EXPECT_EQ(gc.phase(), gc_phase::off);
}

TEST_F(Collector, LazySweepLeavesTheWorkToAllocation) {
  std::vector<node*> nodes;
  for (int i = 0; i < 10'000; ++i) nodes.push_back(make());
  local(0) = word(nodes[777]);
  gc.collect(gc_trigger::background);
  EXPECT_FALSE(heap.sweep_done());
  for (int i = 0; i < 20'000; ++i) make();
  EXPECT_TRUE(alive(nodes[777]));
  gc.collect(gc_trigger::background);  // sweeps what is left first
  gc.finish_sweep();
  EXPECT_TRUE(heap.sweep_done());
  EXPECT_EQ(heap.read_totals().objects, 1u);
}

// Others may want the world to stop in the middle of a long sweep, and do then what they like but collect.
TEST_F(Collector, TheSweepGivesWayBetweenPieces) {
  constexpr size_t kNodes = 200'000;
  std::vector<node*> nodes;
  for (size_t i = 0; i < kNodes; ++i) nodes.push_back(make());
  node* const table = make(kSlot, kNodes / 2);
  local(0) = word(table);
  for (size_t i = 0; i < kNodes / 2; ++i) reinterpret_cast<node**>(table)[i] = nodes[2 * i];
  gc.collect(gc_trigger::background);
  struct meanwhile {
    Collector_TheSweepGivesWayBetweenPieces_Test* self;
    int times = 0;
    uint64_t made = 0;
    uint32_t unswept = ~0u;  // spans
  } m{this};
  gc.between_sweeps_arg_for_testing = &m;
  gc.between_sweeps_for_testing = [](void* arg) {
    auto& m = *static_cast<meanwhile*>(arg);
    auto& t = *m.self;
    EXPECT_EQ(t.w.gave_way, m.times) << "after each piece, and there only";
    ++m.times;
    t.w.stop("test");
    t.heap.flush(*t.w.cache);  // as for a P that goes
    const uint32_t sg = t.heap.sweepgen();
    uint32_t unswept = 0;
    t.heap.for_each_span([&](const mspan* s) {
      const uint32_t gen = s->sweepgen.load();
      EXPECT_TRUE(gen == sg || gen == sg - 2) << "in the middle of a span: " << sg << " and " << gen;
      unswept += gen != sg ? 1 : 0;
    });
    EXPECT_LT(unswept, m.unswept);
    m.unswept = unswept;
    t.w.start();
    for (int i = 0; i < 10; ++i, ++m.made) {
      node* const n = t.make();
      n->left = reinterpret_cast<node*>(t.local(1));
      t.local(1) = word(n);
    }
  };
  gc.finish_sweep();
  EXPECT_TRUE(heap.sweep_done());
  EXPECT_GE(m.times, 3);
  EXPECT_EQ(heap.read_totals().objects, kNodes / 2 + 1 + m.made);
  // Those before the next collection, and after it.
  gc.collect(gc_trigger::background);
  w.gave_way = m.times = 0;
  m.unswept = ~0u;
  gc.collect(gc_trigger::background);
  EXPECT_GE(m.times, 3);
  m.unswept = ~0u;
  gc.finish_sweep();
  EXPECT_EQ(w.gave_way, m.times);
  EXPECT_EQ(heap.read_totals().objects, kNodes / 2 + 1 + m.made);
  size_t chain = 0;
  for (const node* n = reinterpret_cast<const node*>(local(1)); n != nullptr; n = n->left) ++chain;
  EXPECT_EQ(chain, m.made);
}

TEST_F(Collector, SweepingIsOverWhenTheTriggerComes) {
  // 40 MB of which every other object lives: much to sweep, and little room in what was swept.
  std::vector<node*> nodes;
  for (int i = 0; i < 1'500'000; ++i) nodes.push_back(make());
  node* const table = make(kSlot, nodes.size() / 2);
  local(0) = word(table);
  for (size_t i = 0; i < nodes.size() / 2; ++i) reinterpret_cast<node**>(table)[i] = nodes[2 * i];
  gc.collect(gc_trigger::background);
  EXPECT_FALSE(heap.sweep_done());
  while (!heap.should_collect()) make(kNumbers, 2000);  // spans of their own: nothing is swept for their slots
  EXPECT_TRUE(heap.sweep_done());
}

std::vector<void*> destroyed;
TEST_F(Collector, FinalizersRunOnceWithTheirObjectsWhole) {
  destroyed.clear();
  node* const a = make();
  node* const b = make();
  node* const plain = make();
  a->left = b;
  b->left = plain;
  plain->number = 7;
  gc.finalizers().add({a, [](void* p) { destroyed.push_back(p); }});
  gc.finalizers().add({b, [](void* p) { destroyed.push_back(p); }});
  local(0) = word(a);
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, 0u);
  local(0) = 0;
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, 2u);
  EXPECT_TRUE(alive(a) && alive(b) && alive(plain));
  // Still queued: still whole.
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, 0u);
  EXPECT_TRUE(alive(a) && alive(b) && alive(plain));
  EXPECT_EQ(static_cast<node*>(b->left)->number, 7u);
  EXPECT_EQ(gc.read_stats().finalizers_waiting, 2u);
  finalizer f;
  while (gc.finalizers().take(&f)) f.destroy(f.object);
  EXPECT_EQ(std::set<void*>(destroyed.begin(), destroyed.end()), (std::set<void*>{a, b}));
  gc.collect(gc_trigger::manual);
  EXPECT_FALSE(alive(a) || alive(b) || alive(plain));
  EXPECT_FALSE(gc.finalizers().take(&f));
  EXPECT_EQ(gc.read_stats().finalizers_run, 2u);
}

TEST_F(Collector, ManyFinalizers) {
  for (int i = 0; i < 5000; ++i) gc.finalizers().add({make(), [](void*) {}});
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, 5000u);
  finalizer f;
  int n = 0;
  while (gc.finalizers().take(&f)) ++n;
  EXPECT_EQ(n, 5000);
}

// ---- the checks must find what they are for
// --------------------------------------------------------------------------------------------------
using CollectorDeathTest = Collector;

TEST_F(CollectorDeathTest, CheckmarkFindsALostObject) {
  node* const a = make();
  node* const b = make();
  a->left = b;
  local(0) = word(a);
  struct lost {
    mheap* heap;
    node* object;
  } l{&heap, b};
  gc.after_mark_arg_for_testing = &l;
  gc.after_mark_for_testing = [](void* arg) {
    const auto* const l = static_cast<lost*>(arg);
    const object_ref o = l->heap->find_object(reinterpret_cast<uintptr_t>(l->object));
    o.span->mark_bits(o.index / 64) &= ~(uint64_t{1} << (o.index % 64));
  };
  EXPECT_DEATH(gc.collect(gc_trigger::manual),
               "fatal error: checkmark: the object at .* is reachable but was not marked; found in a collected object at");
}

// Words that come to a stack while a collection marks, and what checkmark makes of them (runtime/gc/pieced_word.h).
class CheckmarkOfStacks : public Collector {
 protected:
  CheckmarkOfStacks() {
    gc.set_mode(gc_mode::hybrid);
    // Nodes at a multiple of 256 and after it; the other bytes of the address are no zeroes, wherever the heap lies.
    const auto suits = [this](uintptr_t a) {
      return (a & 0xff) == 0 && (a & 0xff00) != 0 && (a & 0xff0000) != 0 && heap.find_object(a).index % 64 != 0;
    };
    while (nodes.empty() || !suits(word(nodes.back()))) nodes.push_back(make());
    first = nodes.size() - 1;
    for (int i = 0; i < 10; ++i) nodes.push_back(make());
    gc.after_mark_arg_for_testing = this;
    gc.after_mark_for_testing = [](void* arg) {
      auto* const self = static_cast<CheckmarkOfStacks*>(arg);
      self->local(1) = self->appears;
    };
  }
  uint64_t collect(uintptr_t appearing) {
    appears = appearing;
    return gc.collect(gc_trigger::manual).checkmark_doubtful;
  }
  // What the rescan finds if the word comes to the stack after the stack was scanned.
  uint64_t rescan(uintptr_t appearing) {
    gc.set_rescan(true);
    int scans = 0;
    w.before_scan = [&] {
      if (++scans == 2) local(1) = appearing;
    };
    const uint64_t found = gc.collect(gc_trigger::manual).rescan_found;
    w.before_scan = nullptr;
    return found;
  }
  std::vector<node*> nodes;
  size_t first = 0;
  uintptr_t appears = 0;
};
using CheckmarkOfStacksDeathTest = CheckmarkOfStacks;
constexpr const char* kLost = "fatal error: checkmark: the object at .* is reachable but was not marked; found in a goroutine's stack at";

TEST_F(CheckmarkOfStacks, AByteWrittenOverAnAddressIsNoLostPointer) {
  local(0) = word(nodes[first + 3]);
  EXPECT_EQ(collect(word(nodes[first + 3]) & ~uintptr_t{0xff}), 1u);  // "empty"; the index 0; the empty string
  EXPECT_FALSE(alive(nodes[first]));
  EXPECT_TRUE(alive(nodes[first + 3]));
}

TEST_F(CheckmarkOfStacks, AShortStringWrittenOverAnAddressIsNoLostPointer) {
  const uintptr_t block = (word(nodes[0]) | 0xffff) + 1;
  while (word(nodes.back()) < block + 4096) nodes.push_back(make());
  local(0) = word(nodes.back());
  EXPECT_EQ(collect(block | 'a'), 1u);
}

TEST_F(CheckmarkOfStacks, TheBaseOfASpanIsNoLostPointer) {
  const mspan* const s = heap.find_object(word(nodes[first])).span;
  EXPECT_EQ(collect(s->slot(0)), 1u);
  EXPECT_FALSE(alive(reinterpret_cast<void*>(s->slot(0))));
}

TEST_F(CheckmarkOfStacks, NeitherIsTheBaseOfAGroupOfSlots) {
  const mspan* const s = heap.find_object(word(nodes[first])).span;
  while (!alive(reinterpret_cast<void*>(s->slot(64)))) make();
  EXPECT_EQ(collect(s->slot(64)), 1u);
}

TEST_F(CheckmarkOfStacks, AWordBeforeALiveObjectIsNoLostPointerToItsNeighbour) {
  ASSERT_EQ(word(nodes[first + 4]), word(nodes[first + 3]) + 24);
  local(0) = word(nodes[first + 4]);
  EXPECT_EQ(collect(word(nodes[first + 4]) - 8), 1u);
  EXPECT_FALSE(alive(nodes[first + 3]));
}

TEST_F(CheckmarkOfStacksDeathTest, AWordBeforeADeadObjectIsProof) { EXPECT_DEATH(collect(word(nodes[first + 4]) - 8), kLost); }

TEST_F(CheckmarkOfStacksDeathTest, AWholeAddressIsProof) {
  local(0) = word(nodes[first + 3]);
  EXPECT_EQ(word(nodes[first + 4]) & 0xff, 96u);
  EXPECT_DEATH(collect(word(nodes[first + 4])), kLost);
}

TEST_F(CheckmarkOfStacksDeathTest, AnAddressThatIsNoPieceOfAnotherIsProof) { EXPECT_DEATH(collect(word(nodes[first])), kLost); }

TEST_F(CheckmarkOfStacks, TheRescanTellsThemApart) {
  local(0) = word(nodes[first + 3]);
  EXPECT_EQ(rescan(word(nodes[first + 3]) & ~uintptr_t{0xff}), 0u);
  EXPECT_TRUE(alive(nodes[first]));
  EXPECT_EQ(rescan(word(nodes[first + 4])), 0u);  // the last collection has freed it
  EXPECT_EQ(rescan(word(nodes[first])), 0u);      // still on the stack at the first scan
  local(1) = 0;
  EXPECT_EQ(rescan(word(nodes[first])), 0u);  // pieced again: the other one is marked
  local(0) = local(1) = 0;
  do nodes.push_back(make());
  while (heap.find_object(word(nodes.back())).index % 64 == 0);
  EXPECT_EQ(rescan(word(nodes.back())), 1u);
}

TEST_F(CollectorDeathTest, CheckmarkFindsAnInventedMark) {
  node* const a = make();
  gc.after_mark_arg_for_testing = &heap;
  static node* victim;
  victim = a;
  gc.after_mark_for_testing = [](void* arg) {
    const object_ref o = static_cast<mheap*>(arg)->find_object(reinterpret_cast<uintptr_t>(victim));
    o.span->mark_bits(o.index / 64) |= uint64_t{1} << (o.index % 64);
  };
  EXPECT_DEATH(gc.collect(gc_trigger::manual), "fatal error: checkmark: the object at .* was marked but nothing points to it");
}

TEST_F(CollectorDeathTest, ZombieIsReportedByTheSweepOfACollection) {
  node* const a = make();
  local(0) = word(a);
  gc.set_checkmark(false);
  gc.after_mark_arg_for_testing = a;
  static mheap* the_heap;
  the_heap = &heap;
  gc.after_mark_for_testing = [](void* arg) {
    const object_ref o = the_heap->find_object(reinterpret_cast<uintptr_t>(arg));
    const uint32_t free_slot = o.index + 1;
    o.span->mark_bits(free_slot / 64) |= uint64_t{1} << (free_slot % 64);
  };
  EXPECT_DEATH(gc.collect(gc_trigger::manual), "ZOMBIE(.|\n)*fatal error: sweep found slot 1 of a span marked but free");
}

}  // namespace
}  // namespace warren::rt
