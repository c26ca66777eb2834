// One mutation script, four modes (gc.md §3.7). The script is played by goroutines that take turns on one thread; the collector is stepped
// at random points in between, also in the middle of a store, between the store and its shading. For every cycle the test knows, by
// searches of its own,
//   S0  what was reachable when the cycle began
//   A   what was made while it marked
//   R   what is reachable at its end
// and demands of M, what the mode has marked: R ⊆ M ⊆ S0 ∪ A; of yuasa M = S0 ∪ A; of stw M = S0. So M(hybrid) and M(dijkstra) lie in
// M(yuasa). The states of the script are the same in every mode, as nothing in it depends on what is garbage.
#include <gtest/gtest.h>

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
    g.scanned = true;
  }
};

// What to leave out, for the tests that show that the script finds mistakes.
enum class mistake { none, no_old, no_new, no_rescan_of_held, no_shading_of_handed_over };

class player {
 public:
  player(gc_mode mode, uint32_t seed, mistake m)
      : mode_(mode),
        mistake_(m),
        heap_({size_t{64} << 20, true, testing::scan_by_page(), testing::kernel()}),
        world_(heap_),
        gc_(heap_, roots_, world_, {100, false, mode, false}),
        script_(seed),
        steps_(seed * 7919 + 1) {
    for (auto& c : cells_) c = nullptr;
    gc_.after_mark_for_testing = [](void* self) { static_cast<player*>(self)->judge(); };
    gc_.after_mark_arg_for_testing = this;
  }
  ~player() {
    for (auto* c : cells_)
      if (c != nullptr) roots_.drop(c);
  }

  // True if nothing was lost.
  bool play(int cycles) {
    for (int c = 0; c < cycles && sound_; ++c) {
      for (int i = 0; i < 150; ++i) operation(script_() % kGoroutines, false);
      snapshot_ = reachable();
      made_.clear();
      if (!gc_.start(gc_trigger::manual, true)) abort();
      const int during = static_cast<int>(script_() % 80);
      for (int i = 0; i < during; ++i) {
        operation(script_() % kGoroutines, true);
        step();
      }
      // One may be caught in the middle of a store when the marking wants to end.
      const bool caught = script_() % 2 == 0;
      if (caught) operation(script_() % kGoroutines, true, true);
      while (gc_.phase() == gc_phase::mark) {
        while (gc_.mark(~uint64_t{0}) != 0) {
        }
        gc_.finish();
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
    const uint32_t what = left ? 3 : script_() % 12;
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
    }
  }

  ids reachable() const {
    ids found;
    std::vector<const node*> todo;
    const auto visit = [&](uintptr_t w) {
      if (w != 0) todo.push_back(reinterpret_cast<const node*>(w));
    };
    for (const auto& g : world_.goroutines) {
      for (const uintptr_t w : g.locals) visit(w);
      for (const uintptr_t w : g.registers) visit(w);
    }
    for (const auto* c : cells_)
      if (c != nullptr) visit(word(c->value.load()));
    while (!todo.empty()) {
      const node* const n = todo.back();
      todo.pop_back();
      EXPECT_EQ(n->guard, ~n->id) << "memory of a live object was reused";
      if (n->guard != ~n->id || !found.insert(n->id).second) continue;
      visit(word(n->slot[0]));
      visit(word(n->slot[1]));
    }
    return found;
  }

  // The world stands, the marking is over.
  void judge() {
    marked_.clear();
    freed_.clear();
    for (const auto& [id, n] : nodes_) {
      const object_ref o = heap_.find_object(word(n));
      (o && o.span->is_marked(o.index) ? marked_ : freed_).insert(id);
    }
    for (const uintptr_t id : reachable())
      if (marked_.count(id) == 0) sound_ = false;
    if (mistake_ != mistake::none) return;
    EXPECT_TRUE(sound_) << "a reachable object was not marked";
    ids most = snapshot_;
    most.insert(made_.begin(), made_.end());
    for (const uintptr_t id : marked_) EXPECT_EQ(most.count(id), 1u) << "marked and neither reachable at the start nor new";
    if (mode_ == gc_mode::yuasa) {
      EXPECT_EQ(marked_, most);
    }
    if (mode_ == gc_mode::stw) {
      EXPECT_EQ(marked_, snapshot_);
    }
  }

  const gc_mode mode_;
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
  bool sound_ = true;
};

class ModeFuzz : public ::testing::TestWithParam<gc_mode> {};
TEST_P(ModeFuzz, KeepsWhatIsReachableAndNothingInvented) {
  for (uint32_t seed = 1; seed <= 150; ++seed) {
    player p(GetParam(), seed, mistake::none);
    ASSERT_TRUE(p.play(12)) << "seed " << seed;
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}
INSTANTIATE_TEST_SUITE_P(All, ModeFuzz, ::testing::Values(gc_mode::stw, gc_mode::dijkstra, gc_mode::yuasa, gc_mode::hybrid),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

// The script is worth something: it finds what is left out.
bool found(gc_mode mode, mistake m) {
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    player p(mode, seed, m);
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
}

}  // namespace
}  // namespace warren::rt
