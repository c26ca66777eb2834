// One mutation script, four modes (gc.md §3.7). The script is played by goroutines that take turns on one thread; the collector is stepped
// at random points in between, also in the middle of a store, between the store and its shading. For every cycle the test knows, by
// searches of its own,
//   S0  what was reachable when the cycle began
//   A   what was made while it marked
//   R   what is reachable at its end
// and demands of M, what the mode has marked: R ⊆ M ⊆ S0 ∪ A; of yuasa M = S0 ∪ A; of stw M = S0. So M(hybrid) and M(dijkstra) lie in
// M(yuasa). The states of the script are the same in every mode, as nothing in it depends on what is garbage.
//
// The same script with ends: objects get finalizers, are taken from their queue, are locked through weak pointers; and the program goes on
// while the collector goes through the ends of objects. What is garbage matters then. The test knows in addition
//   L   what could be reached from what was locked or taken, at that moment
//   Q   what the queue reaches at the end
//   J   what is reachable, not counting the queue, when the ends are judged
// and demands R ∪ Q ⊆ M ⊆ S0 ∪ A ∪ L ∪ Q, with equality for yuasa; that nothing in J is queued; that everything that had a finalizer and
// was outside of S0 ∪ A ∪ L is; that a finalizer comes once, its object whole; that a weak pointer is null only if its object is not
// reachable.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include "runtime/gc/collector.h"
#include "runtime/heap/allocate.h"
#include "tests/runtime/gc/fake_world.h"

namespace warren::rt {
namespace {

using testing::fake_world;

constexpr uint64_t kTwoPointers[1] = {0b11};
constexpr type_descriptor kNode{32, 8, layout_kind::precise, 2, kTwoPointers, nullptr, "node"};
constexpr type_descriptor kCell{16, 8, layout_kind::noscan, 0, nullptr, nullptr, "cell"};
struct node {
  node* slot[2];
  uintptr_t id;
  uintptr_t guard;  // ~id
};
uintptr_t word(const void* p) { return reinterpret_cast<uintptr_t>(p); }

constexpr size_t kGoroutines = 4;
constexpr size_t kLocals = 6;

// Goroutines whose stacks are scanned one by one while the others go on.
class fuzz_world final : public fake_world {
 public:
  struct goroutine {
    uintptr_t locals[kLocals] = {};
    uintptr_t registers[2] = {};  // of a store that has not shaded yet
    uintptr_t weak[2] = {};       // cells
    uintptr_t weak_to[2] = {};    // the ids of their targets
    bool may_be_null[2] = {};     // since they were unreachable once
    bool held = false;            // stopped there
    bool scanned = false;
  };
  explicit fuzz_world(mheap& h) : fake_world(h) {}

  void for_each_stack(stack_visitor visit, void* ctx) override {
    if (!stopped) abort();
    for (goroutine& g : goroutines) scan(g, visit, ctx);
  }
  void begin_marking(uint32_t, bool) override {
    for (goroutine& g : goroutines) g.scanned = false;
    marking = true;
  }
  void end_marking() override { marking = false; }
  size_t stack_batches() override { return kGoroutines; }
  void scan_batch(size_t i, stack_visitor visit, void* ctx) override {
    if (goroutines[i].held && !stopped) return;  // "running": left for the end
    scan(goroutines[i], visit, ctx);
  }
  void rest_of_stacks(stack_visitor visit, void* ctx) override {
    for (goroutine& g : goroutines)
      if (!g.scanned || g.held) scan(g, visit, ctx);
  }
  void take_barriers(void (*visit)(void*, uintptr_t), void* ctx) override {
    for (const uintptr_t w : shaded) visit(ctx, w);
    shaded.clear();
  }

  goroutine goroutines[kGoroutines];
  std::vector<uintptr_t> shaded;
  bool marking = false;

 private:
  static void scan(goroutine& g, stack_visitor visit, void* ctx) {
    visit(ctx, g.locals, g.locals + kLocals, true);
    visit(ctx, g.registers, g.registers + 2, true);
    visit(ctx, g.weak, g.weak + 2, true);
    g.scanned = true;
  }
};

// What to leave out, for the tests that show that the script finds mistakes.
enum class mistake {
  none,
  no_old,
  no_new,
  no_rescan_of_held,
  no_shading_of_handed_over,
  no_shading_of_locked,
  no_shading_of_taken,
  no_judgement  // a weak pointer is asked for its target only
};
// Do objects have finalizers and weak pointers, and are they gone through while the program runs?
enum class ends { none, in_pause, running };

class player {
 public:
  player(gc_mode mode, ends e, uint32_t seed, mistake m)
      : mode_(mode),
        ends_(e),
        mistake_(m),
        heap_({size_t{64} << 20, true, testing::scan_by_page(), testing::kernel()}),
        world_(heap_),
        gc_(heap_, roots_, world_, {.percent = 100, .mode = mode, .ends_in_pause = e == ends::running ? size_t{0} : ~size_t{0}}),
        script_(seed),
        steps_(seed * 7919 + 1) {
    for (auto& c : cells_) c = nullptr;
    gc_.after_mark_for_testing = [](void* self) { static_cast<player*>(self)->judge(); };
    gc_.after_mark_arg_for_testing = this;
    gc_.between_ends_for_testing = [](void* self) { static_cast<player*>(self)->between_ends(); };
    gc_.between_ends_arg_for_testing = this;
  }
  ~player() {
    for (auto* c : cells_)
      if (c != nullptr) roots_.drop(c);
  }

  // True if nothing was lost.
  bool play(int cycles) {
    for (int c = 0; c < cycles && sound_; ++c) {
      for (int i = 0; i < 150; ++i) operation(script_() % kGoroutines, false);
      snapshot_ = reachable(true);
      made_.clear();
      brought_back_.clear();
      judged_ = false;
      locked_when_judged_.clear();
      had_finalizers_ = finalized_;
      was_ready_ = ready();
      if (!gc_.start(gc_trigger::manual, true)) abort();
      if (mistake_ == mistake::no_shading_of_taken) gc_.finalizers().set_shader(nullptr, nullptr);
      const int during = static_cast<int>(script_() % 80);
      for (int i = 0; i < during; ++i) {
        operation(script_() % kGoroutines, true);
        step();
      }
      // One may be caught in the middle of a store when the marking wants to end.
      const bool caught = script_() % 2 == 0;
      if (caught) operation(script_() % kGoroutines, true, true);
      bool runs = ends_ != ends::none && !caught;
      while (gc_.phase() == gc_phase::mark) {
        while (gc_.mark(ends_ == ends::none ? ~uint64_t{0} : 300) != 0) {
          if (runs) operation(script_() % kGoroutines, true);
        }
        gc_.finish();
        runs &= ends_ == ends::running;  // else it may be that they were judged, and the test has not seen that
      }
      for (auto& g : world_.goroutines) g.held = false, g.registers[0] = g.registers[1] = 0;
      world_.shaded.clear();
      gc_.finish_sweep();
      for (const uintptr_t id : freed_) nodes_.erase(id);
    }
    return sound_;
  }

 private:
  using ids = std::set<uintptr_t>;

  node* local(size_t g) {
    const uintptr_t w = world_.goroutines[g].locals[script_() % kLocals];
    return reinterpret_cast<node*>(w);
  }
  void shade(uintptr_t old, uintptr_t now) {
    if (!world_.marking) return;
    if (old != 0 && mode_ != gc_mode::dijkstra && mistake_ != mistake::no_old) world_.shaded.push_back(old);
    if (now != 0 && mode_ != gc_mode::yuasa && mistake_ != mistake::no_new) world_.shaded.push_back(now);
  }
  void step() {
    if (steps_() % 3 != 0) return;
    gc_.mark(steps_() % 4 == 0 ? 200 : 1);  // mostly one object, or one stack
  }
  // left: the goroutine is held between store and shading, and does not come to the shading before the cycle is over.
  void store(size_t g, node* to, size_t slot, node* value, bool marking, bool left) {
    auto& me = world_.goroutines[g];
    node* const old = __atomic_exchange_n(&to->slot[slot], value, __ATOMIC_RELAXED);
    if (marking && (left || steps_() % 4 == 0)) {
      me.held = mistake_ != mistake::no_rescan_of_held;
      me.registers[0] = word(old);
      me.registers[1] = word(value);
      step();
      if (left) return;
      me.held = false;
      me.registers[0] = me.registers[1] = 0;
    }
    shade(word(old), word(value));
  }
  void operation(size_t g, bool marking, bool left = false) {
    auto& me = world_.goroutines[g];
    uintptr_t& to = me.locals[script_() % kLocals];
    const uint32_t what = left ? 3 : script_() % (ends_ == ends::none ? 12 : 18);
    const size_t slot = script_() % 2;
    node* const a = local(g);
    node* const b = local(g);
    switch (what) {
      case 0:
      case 1: {
        auto* const n = static_cast<node*>(allocate(*world_.cache, kNode, 1, sizeof(node)));
        n->id = ++last_id_;
        n->guard = ~n->id;
        nodes_[n->id] = n;
        made_.insert(n->id);
        // An initializing store.
        if (a != nullptr) store(g, n, slot, a, marking, false);
        to = word(n);
        break;
      }
      case 2:
        if (a != nullptr) to = word(a->slot[slot]);
        break;
      case 3:
      case 4:
      case 5:
        if (a != nullptr) store(g, a, slot, b, marking, left);
        break;
      case 6:
        if (a != nullptr) store(g, a, slot, nullptr, marking, false);
        break;
      case 7: to = 0; break;
      case 8: to = word(a); break;
      case 9: {
        detail::root_cell*& cell = cells_[script_() % 2];
        roots_.set(&cell, a);
        break;
      }
      case 10: {
        const detail::root_cell* const cell = cells_[script_() % 2];
        if (cell != nullptr) to = word(cell->value.load());
        break;
      }
      case 11: {  // a channel: from stack to stack
        auto& other = world_.goroutines[script_() % kGoroutines];
        other.locals[script_() % kLocals] = word(a);
        if (mistake_ != mistake::no_shading_of_handed_over && world_.marking && a != nullptr) world_.shaded.push_back(word(a));
        break;
      }
      case 12:
      case 13:
        if (a != nullptr && finalized_.insert(a->id).second) gc_.finalizers().add({a, [](void*) {}});
        break;
      case 14: {  // a destructor, at work from here on
        finalizer f;
        if (!gc_.finalizers().take(&f)) break;
        to = word(f.object);
        const auto* const n = static_cast<const node*>(f.object);
        if (n->guard != ~n->id) wrong("a finalizer's object is not whole");
        if (finalized_.erase(n->id) != 1) wrong("a finalizer came twice");
        bring_back(n);
        break;
      }
      case 15:
        if (a != nullptr) make_weak(me, slot, a);
        break;
      case 16:
      case 17: to = word(lock(me, slot)); break;
    }
  }

  void make_weak(fuzz_world::goroutine& g, size_t slot, node* to) {
    detail::weak_cell* cell = gc_.weaks().find(to);
    if (cell == nullptr) {
      auto* const fresh = ::new (allocate(*world_.cache, kCell, 1, kCell.size)) detail::weak_cell;
      fresh->target.store(to);
      cell = gc_.weaks().insert(to, fresh);
    }
    gc_.shade(cell);
    g.weak[slot] = word(cell);
    g.weak_to[slot] = to->id;
    g.may_be_null[slot] = false;
  }
  node* lock(const fuzz_world::goroutine& g, size_t slot) {
    if (g.weak[slot] == 0) return nullptr;
    const auto* const cell = reinterpret_cast<const detail::weak_cell*>(g.weak[slot]);
    auto* const n = static_cast<node*>(mistake_ == mistake::no_judgement ? cell->target.load() : gc_.lock_weak(cell));
    if (n == nullptr) {
      if (!g.may_be_null[slot] && reachable(false).count(g.weak_to[slot]) != 0) wrong("a weak pointer to a reachable object is null");
      return nullptr;
    }
    if (mistake_ != mistake::no_shading_of_locked) gc_.shade(n);
    if (n->id != g.weak_to[slot]) wrong("a weak pointer leads to another object");
    if (judged_ && !any_new(ready())) locked_when_judged_.merge(closure({word(n)}));
    bring_back(n);
    return n;
  }
  void bring_back(const node* n) {
    if (!world_.marking) return;
    const ids with_it = closure({word(n)});
    brought_back_.insert(with_it.begin(), with_it.end());
  }

  // The collector goes through the ends of objects; the program runs.
  void between_ends() {
    EXPECT_FALSE(world_.stopped);
    if (!judged_) see_judgement();
    for (int i = 0; i < 3; ++i) {
      const size_t g = script_() % kGoroutines;
      if (!world_.goroutines[g].held) operation(g, true);
    }
  }

  bool any_new(const ids& ready) const { return !std::includes(was_ready_.begin(), was_ready_.end(), ready.begin(), ready.end()); }

  void see_judgement() {
    judged_ = true;
    reachable_when_judged_ = reachable(false);
    for (auto& g : world_.goroutines)
      for (size_t i = 0; i < 2; ++i) g.may_be_null[i] |= reachable_when_judged_.count(g.weak_to[i]) == 0;
  }

  ids ready() {
    ids found;
    gc_.finalizers().for_each_ready([&](const void* object) { found.insert(static_cast<const node*>(object)->id); });
    return found;
  }
  ids reachable(bool by_queue) {
    std::vector<uintptr_t> from;
    for (const auto& g : world_.goroutines) {
      from.insert(from.end(), g.locals, g.locals + kLocals);
      from.insert(from.end(), g.registers, g.registers + 2);
    }
    for (const auto* c : cells_)
      if (c != nullptr) from.push_back(word(c->value.load()));
    if (by_queue) gc_.finalizers().for_each_ready([&](const void* object) { from.push_back(word(object)); });
    return closure(from);
  }
  ids closure(const std::vector<uintptr_t>& from) {
    ids found;
    std::vector<const node*> todo;
    const auto visit = [&](uintptr_t w) {
      if (w != 0) todo.push_back(reinterpret_cast<const node*>(w));
    };
    for (const uintptr_t w : from) visit(w);
    while (!todo.empty()) {
      const node* const n = todo.back();
      todo.pop_back();
      if (n->guard != ~n->id) {
        wrong("memory of a live object was reused");
        continue;
      }
      if (!found.insert(n->id).second) continue;
      visit(word(n->slot[0]));
      visit(word(n->slot[1]));
    }
    return found;
  }

  // The world stands, the marking is over.
  void judge() {
    if (!judged_) see_judgement();
    marked_.clear();
    freed_.clear();
    for (const auto& [id, n] : nodes_) {
      const object_ref o = heap_.find_object(word(n));
      (o && o.span->is_marked(o.index) ? marked_ : freed_).insert(id);
    }
    for (const uintptr_t id : reachable(true))
      if (marked_.count(id) == 0) wrong("a reachable object was not marked");
    judge_finalizers();
    if (mistake_ != mistake::none) return;
    ids most = snapshot_;
    most.insert(made_.begin(), made_.end());
    most.insert(brought_back_.begin(), brought_back_.end());
    for (const uintptr_t id : had_finalizers_)
      if (most.count(id) == 0 && finalized_.count(id) != 0 && ready().count(id) == 0) wrong("unreachable and not queued");
    std::vector<uintptr_t> queue;
    gc_.finalizers().for_each_ready([&](const void* object) { queue.push_back(word(object)); });
    const ids by_queue = closure(queue);
    most.insert(by_queue.begin(), by_queue.end());
    for (const uintptr_t id : marked_) EXPECT_EQ(most.count(id), 1u) << "marked and neither reachable at the start nor new";
    if (mode_ == gc_mode::yuasa) {
      EXPECT_EQ(marked_, most);
    }
    if (mode_ == gc_mode::stw) {
      EXPECT_EQ(marked_, most);
    }
  }
  void judge_finalizers() {
    for (const uintptr_t id : ready())
      if (was_ready_.count(id) == 0 && reachable_when_judged_.count(id) + locked_when_judged_.count(id) != 0) wrong("queued and reachable");
    for (const uintptr_t id : finalized_)
      if (freed_.count(id) != 0) wrong("freed and not finalized");
  }

  void wrong(const char* what) {
    sound_ = false;
    if (mistake_ == mistake::none) ADD_FAILURE() << what;
  }

  const gc_mode mode_;
  const ends ends_;
  const mistake mistake_;
  mheap heap_;
  root_set roots_;
  fuzz_world world_;
  collector gc_;
  std::mt19937 script_;
  std::mt19937 steps_;
  std::map<uintptr_t, node*> nodes_;
  uintptr_t last_id_ = 0;
  detail::root_cell* cells_[2];
  ids snapshot_, made_, marked_, freed_;
  ids finalized_;  // with a finalizer that was not taken yet
  ids had_finalizers_, was_ready_, brought_back_, reachable_when_judged_;
  ids locked_when_judged_;  // with what could be reached from there, before anything was queued
  bool judged_ = false;
  bool sound_ = true;
};

// All on one thread: ThreadSanitizer has nothing to find here that another script would not show.
#if defined(__SANITIZE_THREAD__)
constexpr uint32_t kScripts = 30;
#else
constexpr uint32_t kScripts = 150;
#endif

class ModeFuzz : public ::testing::TestWithParam<gc_mode> {
 protected:
  static void play(ends e) {
    for (uint32_t seed = 1; seed <= kScripts; ++seed) {
      player p(GetParam(), e, seed, mistake::none);
      ASSERT_TRUE(p.play(12)) << "seed " << seed;
      if (HasFailure()) FAIL() << "seed " << seed;
    }
  }
};
TEST_P(ModeFuzz, KeepsWhatIsReachableAndNothingInvented) { play(ends::none); }
TEST_P(ModeFuzz, WithFinalizersAndWeakPointersGoneThroughInThePause) { play(ends::in_pause); }
TEST_P(ModeFuzz, WithFinalizersAndWeakPointersGoneThroughWhileItRuns) { play(ends::running); }
INSTANTIATE_TEST_SUITE_P(All, ModeFuzz, ::testing::Values(gc_mode::stw, gc_mode::dijkstra, gc_mode::yuasa, gc_mode::hybrid),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

// The script is worth something: it finds what is left out.
bool found(gc_mode mode, mistake m, ends e = ends::none) {
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    player p(mode, e, seed, m);
    if (!p.play(12)) return true;
  }
  return false;
}
TEST(ModeFuzzMistakes, AreFound) {
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_old));
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_new));
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_rescan_of_held));
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_shading_of_handed_over));
  EXPECT_TRUE(found(gc_mode::yuasa, mistake::no_old));
  EXPECT_TRUE(found(gc_mode::yuasa, mistake::no_rescan_of_held));
  EXPECT_TRUE(found(gc_mode::dijkstra, mistake::no_new));
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_shading_of_locked, ends::in_pause));
  EXPECT_TRUE(found(gc_mode::yuasa, mistake::no_shading_of_locked, ends::running));
  EXPECT_TRUE(found(gc_mode::hybrid, mistake::no_shading_of_taken, ends::running));
  for (const gc_mode mode : {gc_mode::dijkstra, gc_mode::yuasa, gc_mode::hybrid})
    EXPECT_TRUE(found(mode, mistake::no_judgement, ends::running)) << to_string(mode);
}

}  // namespace
}  // namespace warren::rt
