// The ends of objects with the world running: what a program may do between a judgement and its execution, each window by a hook.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <new>
#include <set>
#include <vector>

#include "tests/runtime/gc/fake_world.h"

namespace warren::rt {
namespace {

using testing::fake_world;

constexpr uint64_t kPointer[1] = {0b01};
constexpr type_descriptor kNode{16, 8, layout_kind::precise, 1, kPointer, nullptr, "node"};
// 16 bytes, so that cells do not share blocks and lives.
constexpr type_descriptor kCell{16, 8, layout_kind::noscan, 0, nullptr, nullptr, "cell"};
struct node {
  node* next;
  uintptr_t number;
};

// One thread plays the program, in the hook and between the steps of a collection.
class Ends : public ::testing::TestWithParam<gc_mode> {
 protected:
  Ends()
      : heap({size_t{128} << 20, true, rt::testing::scan_by_page(), rt::testing::kernel()}),
        w(heap),
        gc(heap, roots, w, {.percent = -1, .mode = GetParam(), .ends_in_pause = 0}) {
    gc.between_ends_for_testing = [](void* self) {
      auto* const t = static_cast<Ends*>(self);
      EXPECT_FALSE(t->w.stopped);
      ++t->hooks;
      if (t->between) t->between();
    };
    gc.between_ends_arg_for_testing = this;
  }

  node* make() {
    node* const n = static_cast<node*>(allocate(*w.cache, kNode, 1, kNode.size));
    n->number = ~reinterpret_cast<uintptr_t>(n);
    return n;
  }
  static bool whole(const node* n) { return n->number == ~reinterpret_cast<uintptr_t>(n); }
  // As weak_cell_of. In cells that nobody else has unless they are put into a local.
  detail::weak_cell* weak_to(node* n) {
    if (detail::weak_cell* const c = gc.weaks().find(n)) return c;
    auto* const fresh = ::new (allocate(*w.cache, kCell, 1, kCell.size)) detail::weak_cell;
    fresh->target.store(n);
    return gc.weaks().insert(n, fresh);
  }
  // As weak<T>::lock.
  node* lock(const detail::weak_cell* c) {
    void* const t = gc.lock_weak(c);
    if (t != nullptr) gc.shade(t);
    return static_cast<node*>(t);
  }
  bool marked(const void* p) const {
    const object_ref o = heap.find_object(reinterpret_cast<uintptr_t>(p));
    return o && o.span->is_marked(o.index);
  }
  // All that the queue has.
  std::set<const void*> take_all() {
    std::set<const void*> taken;
    for (finalizer f; gc.finalizers().take(&f);) EXPECT_TRUE(taken.insert(f.object).second) << "twice";
    return taken;
  }
  void mark_all() {
    while (gc.mark(~uint64_t{0}) != 0) {
    }
  }
  bool alive(const void* p) const { return static_cast<bool>(heap.find_object(reinterpret_cast<uintptr_t>(p))); }
  // A place on the stack.
  size_t local(const void* p) {
    w.stacks[0].push_back(reinterpret_cast<uintptr_t>(p));
    return w.stacks[0].size() - 1;
  }
  void forget(size_t i) { w.stacks[0][i] = 0; }
  int stops_of_a_collection() {
    const int before = w.stops;
    gc.collect(gc_trigger::manual);
    return w.stops - before;
  }

  mheap heap;
  root_set roots;
  fake_world w;
  collector gc;
  std::function<void()> between;
  int hooks = 0;
};

TEST_P(Ends, AreReachedWithTheWorldRunningUnlessThereIsLittleToDo) {
  node* const n = make();
  local(n);
  local(weak_to(n));
  EXPECT_EQ(stops_of_a_collection(), 3);
  EXPECT_GT(hooks, 0);
  hooks = 0;
  gc.set_ends_in_pause_for_testing(1);
  EXPECT_EQ(stops_of_a_collection(), 2);
  gc.set_ends_in_pause_for_testing(0);
  gc.set_checkmark(true);
  EXPECT_EQ(stops_of_a_collection(), 2);
  EXPECT_EQ(hooks, 0);
}

// Others may want the world to stop in the middle of a long pass.
TEST_P(Ends, GiveWayAfterEachPiece) {
  for (int i = 0; i < 5000; ++i) {
    node* const n = make();
    local(weak_to(n));
    if (i % 2 == 0) local(n);
    if (i % 3 == 0) gc.finalizers().add({n, [](void*) {}, "node"});
  }
  int gave_way_before = 0;
  between = [&] {
    EXPECT_EQ(w.gave_way, gave_way_before) << "after each piece, and there only";
    ++gave_way_before;
  };
  const auto collect = [&] {  // but for the sweep, which gives way, too
    gc.finish_sweep();
    w.gave_way = 0;
    gc.collect(gc_trigger::background);
  };
  collect();
  EXPECT_EQ(w.gave_way, hooks);
  EXPECT_GE(hooks, 2 * 5000 / 1024 + 1666 / 1024 + 1) << "weak pointers twice, and what has an end";
  gc.set_ends_in_pause_for_testing(10'000);
  collect();
  EXPECT_EQ(w.gave_way, 0);
}

// Upgrade against clearing: judged dead, and its cell not cleared yet.
TEST_P(Ends, AnUpgradeBetweenJudgementAndClearingIsRefused) {
  std::vector<std::pair<node*, detail::weak_cell*>> dead, live;
  for (int i = 0; i < 5000; ++i) {
    node* const n = make();
    detail::weak_cell* const c = weak_to(n);
    local(c);
    if (i % 2 == 0) local(n);
    (i % 2 == 0 ? live : dead).emplace_back(n, c);
  }
  size_t in_between = 0;
  between = [&] {
    for (const auto& [n, c] : dead) {
      in_between += c->target.load() != nullptr ? 1 : 0;
      ASSERT_EQ(lock(c), nullptr);
    }
    for (const auto& [n, c] : live) ASSERT_EQ(lock(c), n);
  };
  gc.collect(gc_trigger::manual);
  EXPECT_GE(in_between, dead.size()) << "the hook came too late to show anything";
  for (const auto& [n, c] : dead) {
    EXPECT_EQ(c->target.load(), nullptr);
    EXPECT_FALSE(alive(n));
  }
  for (const auto& [n, c] : live) EXPECT_TRUE(alive(n) && lock(c) == n);
  EXPECT_EQ(gc.weaks().size(), live.size());
}

// Upgrade while it marks: what is reachable from there alone is kept, with all it leads to.
TEST_P(Ends, AnUpgradeDuringMarkingKeepsTheObject) {
  node* const n = make();
  n->next = make();
  const size_t held = local(n);
  const detail::weak_cell* const c = weak_to(n);
  local(c);
  ASSERT_TRUE(gc.start(gc_trigger::manual, true));
  forget(held);
  node* const locked = lock(c);
  EXPECT_EQ(locked, n);
  if (GetParam() == gc_mode::dijkstra || GetParam() == gc_mode::hybrid) local(locked);
  while (gc.phase() == gc_phase::mark) {
    while (gc.mark(~uint64_t{0}) != 0) {
    }
    gc.finish();
  }
  gc.finish_sweep();
  EXPECT_TRUE(alive(n) && alive(n->next) && whole(n->next));
  EXPECT_EQ(lock(c), n);
}

// Find against drop: a cell that nobody has, found in the moment before it is dropped, stays the one cell of its address.
TEST_P(Ends, ACellThatIsFoundWhileOthersAreDroppedStays) {
  std::vector<node*> nodes;
  std::vector<detail::weak_cell*> cells;
  for (int i = 0; i < 3000; ++i) {
    nodes.push_back(make());
    local(nodes.back());
    cells.push_back(weak_to(nodes.back()));  // in no local
  }
  bool once = true;
  between = [&] {
    if (!std::exchange(once, false)) return;
    for (size_t i = 0; i < nodes.size(); i += 3) EXPECT_EQ(weak_to(nodes[i]), cells[i]);
  };
  gc.collect(gc_trigger::manual);
  between = {};
  EXPECT_EQ(gc.weaks().size(), nodes.size() / 3);
  for (size_t i = 0; i < nodes.size(); ++i) EXPECT_EQ(gc.weaks().find(nodes[i]), i % 3 == 0 ? cells[i] : nullptr);
}

// New weak pointers, to new and old objects, made while others are cleared.
TEST_P(Ends, WeakPointersMadeMeanwhileAreKept) {
  std::vector<std::pair<node*, detail::weak_cell*>> made;
  for (int i = 0; i < 3000; ++i) local(weak_to(make()));
  node* const old = make();
  local(old);
  between = [&] {
    node* const n = make();
    local(n);
    made.emplace_back(n, weak_to(n));
    local(made.back().second);
    if (made.size() == 2) {
      made.emplace_back(old, weak_to(old));
      local(made.back().second);
    }
    for (const auto& [n, c] : made) ASSERT_EQ(lock(c), n);
  };
  gc.collect(gc_trigger::manual);
  between = {};
  EXPECT_GE(made.size(), 3u);
  EXPECT_EQ(gc.weaks().size(), made.size());
  gc.collect(gc_trigger::manual);
  for (const auto& [n, c] : made) EXPECT_TRUE(alive(n) && lock(c) == n && gc.weaks().find(n) == c);
}

// Order: no cleanup is ready before all weak pointers to the dead are cleared, whether or not there are finalizers.
TEST_P(Ends, WeakPointersAreClearedBeforeAnyCleanupIsReady) {
  std::vector<detail::weak_cell*> cells;
  for (int i = 0; i < 3000; ++i) {
    node* const n = make();
    cells.push_back(weak_to(n));
    local(cells.back());
    gc.cleanups().add(n, roots.make(nullptr));
  }
  bool early = false, late = false;
  between = [&] {
    size_t uncleared = 0;
    for (const auto* c : cells) uncleared += c->target.load() != nullptr ? 1 : 0;
    early |= uncleared > 0 && gc.cleanups().ready() > 0;
    late |= uncleared == 0 && gc.cleanups().ready() > 0;
  };
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_EQ(r.cleanups_queued, 3000u);
  EXPECT_FALSE(early);
  EXPECT_TRUE(late) << "some became ready while the world ran";
}

// Order: a finalizer cannot be taken before the weak pointers to its object, and to what only it reaches, are cleared; the cleanups of both
// come when it has run.
TEST_P(Ends, FinalizersComeAfterWeakPointersAndBeforeCleanups) {
  std::vector<detail::weak_cell*> cells;
  std::vector<node*> nodes;
  for (int i = 0; i < 3000; ++i) {
    node* const n = make();
    n->next = make();
    for (node* const each : {n, n->next}) {
      nodes.push_back(each);
      cells.push_back(weak_to(each));
      local(cells.back());
      gc.cleanups().add(each, roots.make(nullptr));
    }
    gc.finalizers().add({n, [](void*) {}});
  }
  between = [&] {
    size_t uncleared = 0;
    for (const auto* c : cells) uncleared += c->target.load() != nullptr ? 1 : 0;
    if (uncleared != 0) {
      ASSERT_EQ(gc.finalizers().waiting(), 0u);
    }
    for (const auto* c : cells) ASSERT_EQ(lock(c), nullptr);
    ASSERT_EQ(gc.cleanups().ready(), 0u);
  };
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_EQ(r.finalizers_queued, 3000u);
  EXPECT_EQ(r.cleanups_queued, 0u);
  for (const node* n : nodes) EXPECT_TRUE(alive(n) && whole(n)) << "needed by the finalizer";
  between = {};
  finalizer f;
  while (gc.finalizers().take(&f)) f.destroy(f.object);
  EXPECT_EQ(gc.collect(gc_trigger::manual).cleanups_queued, 6000u);
  for (const node* n : nodes) EXPECT_FALSE(alive(n));
}

// Finalized objects that live cost no stop more than weak pointers do, a few that are dead one more.
TEST_P(Ends, FinalizedObjectsAreLookedAtWithTheWorldRunning) {
  std::vector<size_t> held;
  for (int i = 0; i < 2; ++i) {
    node* const n = make();
    held.push_back(local(n));
    gc.finalizers().add({n, [](void*) {}});
  }
  EXPECT_EQ(stops_of_a_collection(), 3);
  EXPECT_GT(hooks, 0);
  EXPECT_EQ(gc.finalizers().waiting(), 0u);
  forget(held[0]);
  EXPECT_EQ(stops_of_a_collection(), 4);
  EXPECT_EQ(gc.finalizers().waiting(), 1u);
  hooks = 0;
  gc.set_ends_in_pause_for_testing(1);
  forget(held[1]);
  EXPECT_EQ(stops_of_a_collection(), 2);
  EXPECT_EQ(gc.finalizers().waiting(), 2u);
  EXPECT_EQ(hooks, 0);
}

// What was found is greyed by those who mark, but for a few.
TEST_P(Ends, TheQueueIsGreyedWithTheWorldRunning) {
  std::vector<node*> nodes;
  for (int i = 0; i < 3000; ++i) {
    nodes.push_back(make());
    nodes.back()->next = make();
    gc.finalizers().add({nodes.back(), [](void*) {}});
  }
  const auto grey = [&] { return std::count_if(nodes.begin(), nodes.end(), [&](node* n) { return marked(n); }); };
  // In the cycle that finds them, and in the next one, where the queue is a root.
  for (int cycle = 0; cycle < 2; ++cycle) {
    ASSERT_TRUE(gc.start(gc_trigger::manual, true));
    if (cycle == 0) {
      mark_all();
      ASSERT_FALSE(gc.finish());
      EXPECT_EQ(gc.finalizers().waiting(), nodes.size());
    }
    ASSERT_EQ(gc.phase(), gc_phase::mark);
    EXPECT_LT(grey(), 1000);
    EXPECT_FALSE(gc.idle());
    EXPECT_TRUE(gc.has_work());
    mark_all();
    EXPECT_EQ(grey(), 3000);
    EXPECT_TRUE(gc.idle());
    while (!gc.finish()) mark_all();
    gc.finish_sweep();
    for (const node* n : nodes) ASSERT_TRUE(alive(n) && whole(n) && alive(n->next) && whole(n->next));
  }
  EXPECT_EQ(take_all(), std::set<const void*>(nodes.begin(), nodes.end()));
}

// Resurrection: no weak pointer to a finalized object, or to what only it reaches, comes back to life when its target is marked again.
TEST_P(Ends, AWeakPointerStaysNullWhenItsTargetIsBroughtBack) {
  std::vector<const detail::weak_cell*> cells;
  for (int i = 0; i < 3000; ++i) {
    node* const n = make();
    n->next = make();
    for (node* const each : {n, n->next}) {
      cells.push_back(weak_to(each));
      local(cells.back());
    }
    gc.finalizers().add({n, [](void*) {}});
  }
  const auto all_null = [&] {
    for (const auto* c : cells) ASSERT_EQ(lock(c), nullptr);
  };
  between = all_null;
  ASSERT_TRUE(gc.start(gc_trigger::manual, true));
  mark_all();
  while (!gc.finish()) {
    while (gc.mark(1) != 0) all_null();
  }
  EXPECT_EQ(gc.report().finalizers_queued, 3000u);
  all_null();
}

// Assigned while it is judged: a live object changes its place, and one becomes unreachable too late for this collection.
TEST_P(Ends, AFinalizedObjectThatMovesWhileOthersAreJudgedIsNotQueued) {
  node* const place = make();
  local(place);
  std::vector<node*> nodes;
  std::vector<size_t> held;
  for (int i = 0; i < 3000; ++i) {
    nodes.push_back(make());
    held.push_back(local(nodes.back()));
    gc.finalizers().add({nodes.back(), [](void*) {}});
  }
  size_t moved = 0;
  between = [&] {
    if (moved == nodes.size()) return;
    // As a store of a ptr.
    gc.shade(place->next);
    place->next = nodes[moved];
    gc.shade(place->next);
    forget(held[moved++]);
  };
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, 0u);
  between = {};
  ASSERT_GT(moved, 1u);
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, moved - 1) << "the last one is in its place";
  const std::set<const void*> taken = take_all();
  EXPECT_EQ(taken, std::set<const void*>(nodes.begin(), nodes.begin() + static_cast<ptrdiff_t>(moved) - 1));
}

// Registered while the collection marks, and while it looks at what is registered: for objects new and old, held and forgotten at once.
TEST_P(Ends, FinalizersRegisteredMeanwhileComeWhenTheirObjectsAreGone) {
  node* const old = make();
  const size_t old_place = local(old);
  std::set<const void*> dead, late;
  for (int i = 0; i < 3000; ++i) {
    node* const n = make();
    gc.finalizers().add({n, [](void*) {}});
    dead.insert(n);
  }
  const auto add = [&] {
    node* const n = make();
    n->next = make();
    gc.finalizers().add({n, [](void*) {}});
    late.insert(n);
  };
  bool once = true;
  between = [&] {
    add();
    if (std::exchange(once, false)) gc.finalizers().add({old, [](void*) {}});
  };
  ASSERT_TRUE(gc.start(gc_trigger::manual, true));
  add();
  mark_all();
  add();
  while (!gc.finish()) mark_all();
  gc.finish_sweep();
  between = {};
  EXPECT_EQ(gc.report().finalizers_queued, 3000u);
  EXPECT_GT(late.size(), 3u);
  EXPECT_EQ(take_all(), dead);
  for (const void* p : late) EXPECT_TRUE(alive(p));
  forget(old_place);
  EXPECT_EQ(gc.collect(gc_trigger::manual).finalizers_queued, late.size() + 1);
  for (const void* p : late) EXPECT_TRUE(alive(p) && whole(static_cast<const node*>(p)->next));
  late.insert(old);
  EXPECT_EQ(take_all(), late);
}

// Two collections overlap the queue: the first one's finalizers are taken while the second finds and greys its own.
TEST_P(Ends, TheQueueMayBeTakenFromAllTheTime) {
  std::set<const void*> batches[2], taken;
  const auto make_batch = [&](int b) {
    for (int i = 0; i < 3000; ++i) {
      node* const n = make();
      n->next = make();
      gc.finalizers().add({n, [](void*) {}});
      batches[b].insert(n);
    }
  };
  const auto take = [&] {
    finalizer f;
    if (!gc.finalizers().take(&f)) return;
    const auto* const n = static_cast<const node*>(f.object);
    EXPECT_TRUE(whole(n) && whole(n->next));
    EXPECT_TRUE(taken.insert(n).second) << "twice";
    local(n);  // its destructor does not come to its end
  };
  make_batch(0);
  gc.collect(gc_trigger::manual);
  make_batch(1);
  between = take;
  ASSERT_TRUE(gc.start(gc_trigger::manual, true));
  while (gc.mark(1) != 0)
    if (taken.size() < 50) take();
  while (!gc.finish()) {
    if (gc.finalizers().waiting() > 3000) {
      EXPECT_GT(taken.size(), 51u) << "some while others were found";
      EXPECT_TRUE(std::includes(batches[0].begin(), batches[0].end(), taken.begin(), taken.end())) << "taken before it was published";
    }
    int k = 0;
    while (gc.mark(1) != 0)
      if (++k < 500) take();
  }
  gc.finish_sweep();
  between = {};
  EXPECT_EQ(gc.report().finalizers_queued, 3000u);
  EXPECT_GT(taken.size(), 300u);
  for (const void* p : taken) ASSERT_TRUE(alive(p) && whole(static_cast<const node*>(p)->next));
  gc.collect(gc_trigger::manual);
  for (const void* p : taken) ASSERT_TRUE(alive(p) && whole(static_cast<const node*>(p)->next));
  while (gc.finalizers().waiting() > 0) take();
  batches[0].insert(batches[1].begin(), batches[1].end());
  EXPECT_EQ(taken, batches[0]);
}

// A weak pointer that a finalizer makes to what it was kept for, in the rounds of marking that its object needed.
TEST_P(Ends, AFinalizerMayMakeWeakPointersWhileMarkingGoesOn) {
  node* const n = make();
  n->next = make();
  node* const last = n->next;
  gc.finalizers().add({n, [](void*) {}});
  node* const other = make();  // whose cell makes it worth while to let the world run
  local(other);
  local(weak_to(other));
  bool taken = false;
  between = [&] {
    finalizer f;
    if (!gc.finalizers().take(&f)) return;
    taken = true;
    node* const mine = static_cast<node*>(f.object)->next;
    local(mine);
    local(weak_to(mine));
    EXPECT_EQ(lock(weak_to(mine)), mine);
  };
  gc.collect(gc_trigger::manual);
  between = {};
  EXPECT_TRUE(taken);
  gc.collect(gc_trigger::manual);
  EXPECT_TRUE(alive(last) && whole(last));
  ASSERT_NE(gc.weaks().find(last), nullptr);
  EXPECT_EQ(lock(gc.weaks().find(last)), last);
}

// Stopped in time: a cleanup whose object is dead and which is not ready yet.
TEST_P(Ends, ACleanupCanBeStoppedUntilItIsReady) {
  std::vector<uint64_t> ids;
  node* const argument = make();
  for (int i = 0; i < 3000; ++i) ids.push_back(gc.cleanups().add(make(), roots.make(argument)));
  size_t stopped = 0;
  between = [&] {
    detail::root_cell* const cell = gc.cleanups().stop(ids.back());
    if (cell == nullptr) return;
    roots.drop(cell);
    ids.pop_back();
    ++stopped;
  };
  const gc_report r = gc.collect(gc_trigger::manual);
  EXPECT_EQ(r.cleanups_queued + stopped, 3000u);
  EXPECT_GT(stopped, 0u);
}

// A stale word on a stack shows up between the judgement and the next stop.
TEST_P(Ends, ADeadObjectThatAStaleWordBringsBackHasLostItsWeakPointers) {
  node* const n = make();
  n->next = make();
  detail::weak_cell* const c = weak_to(n);
  local(c);
  bool once = true;
  between = [&] {
    if (std::exchange(once, false)) local(n);
  };
  gc.collect(gc_trigger::manual);
  EXPECT_EQ(c->target.load(), nullptr);
  EXPECT_TRUE(alive(n) && alive(n->next) && whole(n->next)) << "kept whole, and so is what it leads to";
  EXPECT_EQ(gc.weaks().find(n), nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, Ends, ::testing::Values(gc_mode::dijkstra, gc_mode::yuasa, gc_mode::hybrid),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

}  // namespace
}  // namespace warren::rt
