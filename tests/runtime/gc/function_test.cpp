#include <memory>

#include <warren/chan.h>
#include <warren/function.h>
#include <warren/hash_map.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "tests/runtime/collect_until.h"
#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;
using warren::testing::clobber_stack;

static_assert(sizeof(function<void()>) == 16);
static_assert(!std::is_constructible_v<function<int()>, std::string>);
static_assert(!std::is_constructible_v<function<int()>, void (*)()>);
static_assert(std::is_constructible_v<function<void()>, int (*)()>);

int twice(int x) { return 2 * x; }
struct point {
  int x = 0;
  int plus(int y) const { return x + y; }
};

uint64_t allocations() {
  const heap_stats h = read_mem_stats().heap;
  return h.mallocs + h.tiny_mallocs - h.tiny_hits;
}

TEST(Function, CallsWhatItWasMadeOf) {
  on_checked_goroutine([] {
    function<int(int)> f;
    EXPECT_FALSE(f);
    EXPECT_TRUE(f == nullptr);
    EXPECT_THROW(f(1), std::bad_function_call);
    f = twice;
    EXPECT_EQ(f(4), 8);
    f = &twice;
    EXPECT_EQ(f(5), 10);
    int (*none)(int) = nullptr;
    f = none;
    EXPECT_FALSE(f) << "a null pointer makes an empty function";
    f = [](int x) { return x + 1; };
    EXPECT_EQ(f(1), 2);
    const ptr<node> n = make_node(40);
    f = [n](int x) { return n->key + x; };
    EXPECT_EQ(f(2), 42);
    function<int(const point&, int)> member = &point::plus;
    EXPECT_EQ(member({3}, 4), 7);
    function<int(const point&)> field = &point::x;
    EXPECT_EQ(field({5}), 5);
    function deduced = [](int a, int b) { return a * b; };
    EXPECT_EQ(deduced(3, 4), 12);
    function<void()> dropped = [&] { return f(0); };
    dropped();
    std::unique_ptr<int> moved = std::make_unique<int>(3);
    function<int(std::unique_ptr<int>)> takes = [](std::unique_ptr<int> p) { return *p; };
    EXPECT_EQ(takes(std::move(moved)), 3);
    function<int()> only_moved = [p = std::make_unique<int>(9)] { return *p; };
    function<int()> copy = only_moved;
    EXPECT_EQ(copy(), 9) << "a copy refers to the same closure";
    EXPECT_TRUE(copy == only_moved);
    f = nullptr;
    EXPECT_FALSE(f);
    function<int()> thief = std::move(copy);
    EXPECT_FALSE(copy);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(thief(), 9);
  });
}

TEST(Function, CopiesShareTheState) {
  on_checked_goroutine([] {
    function<int()> count = [n = 0]() mutable { return ++n; };
    function<int()> other = count;
    EXPECT_EQ(count(), 1);
    EXPECT_EQ(other(), 2);
    EXPECT_EQ(count(), 3);
  });
}

TEST(Function, SmallClosuresTakeNoMemory) {
  on_checked_goroutine([] {
    int local = 7;
    const double half = 0.5;
    const uint64_t before = allocations();
    for (int i = 0; i < 1000; ++i) {
      const function<int(int)> a = twice;
      const function<int(int)> b = [](int x) { return x; };
      const function<int(int)> c = [&local](int x) { return x + local; };
      const function<double(int)> d = [half](int x) { return x * half; };
      EXPECT_EQ(a(1) + b(1) + c(1) + static_cast<int>(d(4)), 2 + 1 + 8 + 2);
    }
    EXPECT_LT(allocations(), before + 500);
  });
}

// Objects that only a closure holds, by a ptr and by plain addresses.
TEST(Function, KeepsWhatItCaptures) {
  on_checked_goroutine([] {
    vector<function<int()>> all;
    for (int i = 0; i < 200; ++i) {
      const ptr<node> p = make_node(i);
      all.push_back([p] { return p->key + (p->guard + p->key + 1); });
      node* const raw = make_node(i).get();
      all.push_back([raw] { return raw->key + (raw->guard + raw->key + 1); });
      node& ref = *make_node(i);
      all.push_back([&ref, i, raw] { return ref.key + (ref.guard + ref.key + 1) + raw->key - i; });
    }
    for (int round = 0; round < 3; ++round) {
      gc();
      for (int k = 0; k < 20'000; ++k) (void)make_node(-1);
    }
    for (int i = 0; i < 600; ++i) EXPECT_EQ(all[static_cast<size_t>(i)](), i / 3);
  });
}

// A captured address is stored by the compiler, past the barrier: making the function shades it.
TEST(FunctionBarrier, CapturedAddressesAreShaded) {
  on_checked_goroutine([] {
    node* const a = make_node(1).get();
    node* const b = make_node(2).get();
    recording r;
    const function<int()> f = [a, b] { return a->key + b->key; };
    r.stop();
    EXPECT_TRUE(recording::shaded().contains(a));
    EXPECT_TRUE(recording::shaded().contains(b));
    EXPECT_EQ(f(), 3);
    recording again;
    const function<int()> small = [a] { return a->key; };
    again.stop();
    EXPECT_TRUE(recording::shaded().contains(a));
  });
}

TEST(Function, MayReplaceItselfWhileItRuns) {
  on_checked_goroutine([] {
    function<int()> f;
    const ptr<node> n = make_node(5);
    f = [&f, n, padding = std::array<int, 20>{}]() {
      f = nullptr;
      gc();
      for (int k = 0; k < 5'000; ++k) (void)make_node(-1);
      return n->key + padding[3];
    };
    EXPECT_EQ(f(), 5);
    EXPECT_FALSE(f);
  });
}

struct throwing_copy {
  throwing_copy() = default;
  throwing_copy(const throwing_copy&) { throw fragile_failure(); }
  std::array<int, 8> large{};
  int operator()() const { return 1; }
  WARREN_FIELDS(large);
};
TEST(Function, AClosureThatThrowsWhileMovingLeavesItEmpty) {
  on_checked_goroutine([] {
    const throwing_copy t;
    EXPECT_THROW(function<int()> f(t), fragile_failure);
  });
}

// What a closure holds beside ptrs is destroyed, once, after the last function that refers to it is gone.
[[gnu::noinline]] void make_and_forget(const std::shared_ptr<int>& alive, int n) {
  for (int i = 0; i < n; ++i) {
    function<int()> f = [alive] { return *alive; };
    EXPECT_EQ(f(), 1);
  }
}
TEST(Function, CapturesAreDestroyedByTheFinalizers) {
  const auto alive = std::make_shared<int>(1);
  on_checked_goroutine([&] {
    make_and_forget(alive, 100);
    for (int i = 0; i < 200 && alive.use_count() > 3; ++i) {
      clobber_stack();
      gc();
      yield();
    }
    EXPECT_LE(alive.use_count(), 3) << "a stale word on this stack may keep one or two";
  });
}

struct widget {
  string name;
  function<string(const string&)> label;
  hash_map<string, function<int()>> actions;
};
TEST(Function, LivesInCollectedObjectsAndTravelsThroughChannels) {
  using map = detail::described<widget>;
  static_assert(map::bits.get(0) && map::bits.get(2) && !map::bits.get(3) && map::bits.get(4));
  on_checked_goroutine([] {
    ptr<widget> w = make<widget>();
    w->name = "w";
    w->label = [w](const string& s) { return w->name + ": " + s; };  // a cycle: no business of anybody's
    w->actions["one"] = [] { return 1; };
    chan<function<int()>> c = make_chan<function<int()>>(4);
    for (int i = 0; i < 4; ++i) c.send([n = make_node(i)] { return n->key; });
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make_node(-1);
    EXPECT_EQ(w->label("x"), "w: x");
    EXPECT_EQ(w->actions.at("one")(), 1);
    for (int i = 0; i < 4; ++i) EXPECT_EQ((*c.recv())(), i);
    wait_group done;
    done.add(1);
    int got = 0;
    function<void()> task = [&] {
      got = w->actions.at("one")();
      done.done();
    };
    go(task);
    done.wait();
    EXPECT_EQ(got, 1);
  });
}

}  // namespace
