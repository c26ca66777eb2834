// ptr, array, root and make as a user meets them.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>

#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"

namespace {

using namespace warren;
using warren::testing::clobber_stack;

struct node {
  int key = 0;
  ptr<node> next;
};
class shape {
 public:
  virtual ~shape() = default;
  virtual int area() const = 0;
  WARREN_FIELDS();
};
class other_base {
 public:
  virtual ~other_base() = default;
  int tag = 5;
};
class square : public shape {
 public:
  explicit square(int side) : side_(side) {}
  int area() const override { return side_ * side_; }

 private:
  int side_;
  WARREN_FIELDS_WITH_BASE(shape, side_);
};

TEST(Ptr, BehavesLikeAPointer) {
  run([] {
    ptr<node> null;
    EXPECT_FALSE(null);
    EXPECT_TRUE(null == nullptr);
    ptr<node> a = make<node>(7);
    EXPECT_EQ(a->key, 7);
    EXPECT_EQ((*a).key, 7);
    EXPECT_TRUE(a);
    ptr<node> b = a;
    EXPECT_EQ(a, b);
    EXPECT_EQ(a.get(), b.get());
    b = make<node>(8, a);
    EXPECT_NE(a, b);
    EXPECT_TRUE((a < b) != (b < a));
    EXPECT_EQ(b->next->key, 7);
    swap(a, b);
    EXPECT_EQ(a->key, 8);
    a = nullptr;
    EXPECT_FALSE(a);
    const ptr<const node> c = b;
    EXPECT_EQ(c->key, 7);
    const ptr<void> v = b;
    EXPECT_EQ(static_pointer_cast<node>(v), b);
    EXPECT_EQ(const_pointer_cast<node>(c), b);
    std::set<ptr<node>*> addresses;
    EXPECT_EQ(std::hash<ptr<node>>()(b), std::hash<ptr<const node>>()(c));
    ptr<node> self = b;
    self = *&self;
    EXPECT_EQ(self, b);
    EXPECT_EQ(ptr<node>(b.get()), b);
  });
}

TEST(Ptr, BasesAndInteriorPointersKeepTheObject) {
  run([] {
    ptr<shape> s = make<square>(4);
    ptr<int> inside;
    {
      ptr<node> n = make<node>(99);
      inside = ptr<int>(&n->key);
    }
    for (int i = 0; i < 3; ++i) {
      gc();
      for (int k = 0; k < 1000; ++k) (void)make<node>(-1);
    }
    EXPECT_EQ(s->area(), 16);
    EXPECT_EQ(*inside, 99);
    EXPECT_EQ(dynamic_pointer_cast<square>(s)->area(), 16);
  });
}

TEST(Array, ElementsAndViews) {
  run([] {
    array<int> none = make_array<int>(0);
    EXPECT_TRUE(none.empty());
    EXPECT_EQ(none.data(), nullptr);
    array<int> a = make_array<int>(10);
    EXPECT_EQ(a.size(), 10u);
    for (const int x : a) EXPECT_EQ(x, 0);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<int>(i);
    array<int> tail = a.slice(5, 10);
    EXPECT_EQ(tail.front(), 5);
    EXPECT_EQ(tail.back(), 9);
    EXPECT_EQ(tail.at(4), 9);
    a = {};
    gc();
    EXPECT_EQ(tail[0], 5);
    array<const int> constant = tail;
    EXPECT_EQ(constant[1], 6);
    array<ptr<node>> nodes = make_array<ptr<node>>(100);
    for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = make<node>(static_cast<int>(i));
    gc();
    for (size_t i = 0; i < nodes.size(); ++i) EXPECT_EQ(nodes[i]->key, static_cast<int>(i));
    array<node> values = make_array<node>(20);
    values[19].next = nodes[3];
    EXPECT_EQ(values[0].key, 0);
  });
}

TEST(ArrayDeathTest, AtChecksItsIndex) {
  tests::choose_death_style();
  EXPECT_DEATH(run([] { (void)make_array<int>(3).at(3); }), "fatal error: index 3 is out of range of a warren::array of 3 elements");
}

struct throwing {
  explicit throwing(bool now) {
    if (now) throw 5;
  }
  int x = 0;
  WARREN_FIELDS(x);
};
TEST(Make, ConstructorsMayThrow) {
  run([] {
    EXPECT_THROW((void)make<throwing>(true), int);
    EXPECT_TRUE(make<throwing>(false));
  });
}

struct alignas(64) wide {
  std::array<int, 16> x{};
};
struct alignas(4096) page {
  std::array<char, 4096> x{};
};
TEST(Make, Alignment) {
  run([] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(make<wide>().get()) % 64, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(make<page>().get()) % 4096, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(make_array<wide>(7).data()) % 64, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(make<long double>(1.0L).get()) % 16, 0u);
    }
  });
}

TEST(MakeDeathTest, OnAThreadThatIsNoGoroutine) {
  tests::choose_death_style();
  EXPECT_DEATH((void)make<node>(), "fatal error: ");
  EXPECT_DEATH(run([] { std::thread([] { (void)make<node>(); }).join(); }), "fatal error: ");
}

root<node> global;
std::vector<root<node>> many;

TEST(Root, KeepsFromGlobalsContainersAndOtherThreads) {
  global = nullptr;
  run([] {
    global = make<node>(11);
    many.clear();
    for (int i = 0; i < 1000; ++i) many.push_back(make<node>(i));
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make<node>(-1);
    EXPECT_EQ(global->key, 11);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(many[i]->key, i);
    const ptr<node> p = global;
    EXPECT_EQ(p->key, 11);
  });
  // Between runs, and in the next.
  EXPECT_EQ(global->key, 11);
  std::thread([] {
    many.erase(many.begin(), many.begin() + 500);
    root<node> copy = many[0];
    many.push_back(copy);
    EXPECT_EQ(copy->key, 500);
  }).join();
  run([] {
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make<node>(-1);
    EXPECT_EQ(global->key, 11);
    EXPECT_EQ(many.front()->key, 500);
    EXPECT_EQ(many.back()->key, 500);
  });
  many.clear();
  global = nullptr;
}

TEST(Root, CopiesMovesAndCompares) {
  run([] {
    root<node> a = make<node>(1);
    root<node> b = a;
    EXPECT_EQ(a, b);
    root<node> c = std::move(a);
    EXPECT_TRUE(a == nullptr);
    EXPECT_EQ(c->key, 1);
    a = make<node>(2);
    b = a;
    EXPECT_EQ(b->key, 2);
    b = nullptr;
    EXPECT_FALSE(b);
    c = std::move(a);
    EXPECT_EQ(c->key, 2);
    root<node> d = root<node>();
    EXPECT_FALSE(d);
    d = c;
    EXPECT_EQ(d->key, 2);
  });
}

std::atomic<int> destroyed = 0;
struct with_string {
  std::string text;
  ptr<node> n;
  ~with_string() {
    EXPECT_EQ(n->key, 3) << "what it points to is whole";
    EXPECT_EQ(text, std::string(100, 'x'));
    ++destroyed;
  }
  using collected = finalized;
};
[[gnu::noinline]] void make_finalized(int count) {
  for (int i = 0; i < count; ++i) {
    ptr<with_string> s = make<with_string>(std::string(100, 'x'), make<node>(3));
    EXPECT_EQ(s->text.size(), 100u);
  }
}
TEST(Finalized, DestructorsRun) {
  destroyed = 0;
  run([] {
    make_finalized(100);
    warren::testing::collect_until([] {
      clobber_stack();
      return destroyed >= 99;
    });
    // A stale word on this stack may keep one or two.
    EXPECT_GE(destroyed, 98);
    EXPECT_LE(destroyed, 100);
    const mem_stats s = read_mem_stats();
    EXPECT_GE(s.gc.finalizers_run, 98u);
  });
}

}  // namespace
