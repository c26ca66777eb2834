// warren::vector against std::vector, and what std::vector has no notion of: barriers, collections, stale addresses.
#include <algorithm>
#include <numeric>
#include <optional>
#include <ranges>
#include <sstream>

#include <warren/chan.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;

static_assert(std::ranges::contiguous_range<vector<int>>);
static_assert(std::ranges::contiguous_range<const vector<ptr<node>>>);
static_assert(std::ranges::sized_range<vector<string>>);
static_assert(sizeof(vector<int>) == 24);
static_assert(std::is_nothrow_move_constructible_v<vector<int>>);
static_assert(detail::relocatable<ptr<node>> && detail::relocatable<node> && detail::relocatable<string> &&
              detail::relocatable<vector<node>>);
static_assert(!detail::relocatable<placed> && !detail::relocatable<fragile>);

// ---- random operations, compared with std::vector after each ----
template <class T>
struct made;  // T from a number, and back
template <>
struct made<int> {
  static int from(int n) { return n; }
  static int back(int v) { return v; }
};
template <>
struct made<string> {
  static string from(int n) { return std::to_string(n) + (n % 3 == 0 ? " and a tail that does not fit into sixteen bytes" : ""); }
  static int back(const string& v) { return std::stoi(v.str()); }
};
template <>
struct made<ptr<node>> {
  static ptr<node> from(int n) { return make_node(n); }
  static int back(const ptr<node>& v) {
    EXPECT_EQ(v->guard, ~v->key);
    return v->key;
  }
};
template <>
struct made<node> {
  static node from(int n) { return {n, ~n, make_node(n)}; }
  static int back(const node& v) {
    EXPECT_EQ(v.guard, ~v.key);
    EXPECT_EQ(v.next->key, v.key);
    return v.key;
  }
};
template <>
struct made<placed> {
  static placed from(int n) { return placed(n); }
  static int back(const placed& v) { return v.value(); }
};
template <>
struct made<vector<int>> {
  static vector<int> from(int n) { return vector<int>(static_cast<size_t>(n % 7 + 1), n); }
  static int back(const vector<int>& v) {
    EXPECT_EQ(v.size(), static_cast<size_t>(v[0] % 7 + 1));
    return v.back();
  }
};

template <class T>
class VectorOf : public ::testing::Test {};
using ElementTypes = ::testing::Types<int, string, ptr<node>, node, placed, vector<int>>;
TYPED_TEST_SUITE(VectorOf, ElementTypes);

TYPED_TEST(VectorOf, AgreesWithStdUnderRandomOperationsAndCollections) {
  using T = TypeParam;
  const int alive_before = placed::alive;
  on_checked_goroutine([] {
    random_numbers random(17);
    vector<T> ours;
    std::vector<int> theirs;
    int fresh = 0;
    for (int step = 0; step < scaled(4000); ++step) {
      const size_t n = theirs.size();
      const size_t at = random.below(n + 1), len = random.below(std::min<size_t>(n - std::min(at, n), 5) + 1);
      switch (random.below(16)) {
        case 0:
        case 1:
        case 2:
          ours.push_back(made<T>::from(++fresh));
          theirs.push_back(fresh);
          break;
        case 3:
          ours.insert(ours.begin() + at, made<T>::from(++fresh));
          theirs.insert(theirs.begin() + static_cast<ptrdiff_t>(at), fresh);
          break;
        case 4:
          if (n == 0) break;
          ours.pop_back();
          theirs.pop_back();
          break;
        case 5:
          if (at == n) break;
          EXPECT_EQ(ours.erase(ours.begin() + at) - ours.begin(), static_cast<ptrdiff_t>(at));
          theirs.erase(theirs.begin() + static_cast<ptrdiff_t>(at));
          break;
        case 6:
          ours.erase(ours.begin() + at, ours.begin() + at + len);
          theirs.erase(theirs.begin() + static_cast<ptrdiff_t>(at), theirs.begin() + static_cast<ptrdiff_t>(at + len));
          break;
        case 7: {  // from one of its own elements
          if (n == 0) break;
          const size_t from = random.below(n);
          ours.push_back(ours[from]);
          theirs.push_back(theirs[from]);
          break;
        }
        case 8: {
          if (n == 0) break;
          const size_t from = random.below(n);
          ours.insert(ours.begin() + at, ours[from]);
          theirs.insert(theirs.begin() + static_cast<ptrdiff_t>(at), theirs[from] + 0);
          break;
        }
        case 9: {
          std::vector<int> more(random.below(20));
          for (int& m : more) m = ++fresh;
          vector<T> ours_more;
          for (const int m : more) ours_more.push_back(made<T>::from(m));
          ours.insert(ours.begin() + at, std::make_move_iterator(ours_more.begin()), std::make_move_iterator(ours_more.end()));
          ours_more.clear();  // a vector that is only forgotten destroys nothing
          theirs.insert(theirs.begin() + static_cast<ptrdiff_t>(at), more.begin(), more.end());
          break;
        }
        case 10:
          if (random.below(20) == 0) {
            ours.clear();
            theirs.clear();
          }
          break;
        case 11: {
          vector<T> copy = ours;
          if constexpr (requires { copy == ours; }) {
            EXPECT_TRUE(copy == ours || theirs.empty() || (std::is_same_v<T, node>));
          }
          vector<T> moved = std::move(ours);
          EXPECT_TRUE(ours.empty());  // NOLINT(bugprone-use-after-move)
          ours = std::move(moved);
          copy.clear();
          break;
        }
        case 12: ours.shrink_to_fit(); break;
        case 13: ours.reserve(random.below(300)); break;
        case 14:
          if (n < 400) break;
          ours.resize(n / 2);
          theirs.resize(n / 2);
          break;
        case 15:
          if (step % 7 == 0) gc();
          break;
      }
      ASSERT_EQ(ours.size(), theirs.size());
      ASSERT_GE(ours.capacity(), ours.size());
      if (step % 16 == 0) {
        for (size_t i = 0; i < theirs.size(); ++i) ASSERT_EQ(made<T>::back(ours[i]), theirs[i]) << "at " << i << " in step " << step;
      }
    }
    ours.clear();
  });
  EXPECT_EQ(placed::alive, alive_before) << "elements that were erased were destroyed once each";
}

TEST(Vector, IteratorsRangesAndComparison) {
  on_checked_goroutine([] {
    vector<int> v(100);
    std::iota(v.begin(), v.end(), 0);
    std::ranges::reverse(v);
    std::sort(v.begin(), v.end(), [](int a, int b) { return a % 10 != b % 10 ? a % 10 < b % 10 : a < b; });
    EXPECT_EQ(v[1], 10);
    vector<int> even;  // (no pipes of views: clang 14 cannot compile libstdc++ 12's)
    std::ranges::copy_if(v, std::back_inserter(even), [](int x) { return x % 2 == 0; });
    even.resize(3);
    EXPECT_EQ(even, (vector<int>{0, 10, 20}));
    EXPECT_EQ(*v.rbegin(), 99);
    EXPECT_EQ(std::accumulate(v.crbegin(), v.crend(), 0), 4950);
    std::istringstream in("5 6 7");
    vector<int> read((std::istream_iterator<int>(in)), std::istream_iterator<int>());
    EXPECT_EQ(read, (vector<int>{5, 6, 7}));
    EXPECT_LT((vector<int>{1, 2}), (vector<int>{1, 3}));
    EXPECT_GT((vector<string>{"b"}), (vector<string>{"a", "z"}));
    EXPECT_EQ(erase(v, 3), 1u);
    EXPECT_EQ(erase_if(v, [](int x) { return x > 9; }), 90u);
    EXPECT_EQ(v.size(), 9u);
    std::ostringstream out;
    out << read << vector<string>{"a"} << vector<int>();
    EXPECT_EQ(out.str(), "[5, 6, 7][a][]");
    EXPECT_THROW((void)v.at(9), std::out_of_range);
    EXPECT_THROW(v.reserve(~size_t{0}), std::length_error);
    const array<int> view = read.elements();
    read = {};
    gc();
    EXPECT_EQ(view.at(2), 7);
  });
}

// ---- addresses ----
TEST(Vector, TheAddressOnePastTheEndBelongsToTheStore) {
  on_checked_goroutine([] {
    for (size_t n = 1; n < 300; ++n) {
      vector<int> a(n);
      vector<ptr<node>> b(n);
      vector<char> c(n * 300);
      a.shrink_to_fit();
      b.reserve(b.capacity());
      while (b.size() < b.capacity()) b.emplace_back();
      while (a.size() < a.capacity()) a.push_back(1);
      EXPECT_EQ(object_at(a.end()), object_at(a.begin()));
      EXPECT_EQ(object_at(b.end()), object_at(b.begin()));
      EXPECT_EQ(object_at(c.end()), object_at(c.begin()));
    }
  });
}

TEST(Vector, AStaleIteratorReadsTheOldStore) {
  on_checked_goroutine([] {
    vector<ptr<node>> v;
    for (int i = 0; i < 4; ++i) v.push_back(make_node(i));
    auto it = v.begin();
    for (int i = 0; i < 10'000; ++i) v.push_back(make_node(-1));
    gc();
    for (int i = 0; i < 4; ++i, ++it) {
      EXPECT_EQ((*it)->key, i);
      EXPECT_EQ((*it)->guard, ~i);
    }
  });
}

// ---- barriers ----
TEST(VectorBarrier, WhatLeavesIsSeenToLeaveAndItsPlaceIsCleared) {
  on_checked_goroutine([] {
    vector<ptr<node>> v;
    for (int i = 0; i < 10; ++i) v.push_back(make_node(i));
    auto word = [&](size_t i) { return detail::load_word(reinterpret_cast<void* const*>(v.data()) + i); };
    const void* const last = v.back().get();
    const void* const last_slot = &v.back();
    {
      recording r;
      v.pop_back();
      EXPECT_TRUE(recording::left(last_slot, last));
      EXPECT_EQ(word(9), nullptr);
    }
    const std::vector<const void*> was{v[2].get(), v[3].get(), v[4].get(), v[8].get()};
    {
      recording r;
      v.erase(v.begin() + 3);
      EXPECT_TRUE(recording::left(&v[3], was[1])) << "overwritten by its neighbour";
      EXPECT_TRUE(recording::shaded().contains(was[2])) << "moved past a marker";
      EXPECT_EQ(word(8), nullptr);
    }
    {
      recording r;
      v.clear();
      EXPECT_TRUE(recording::left(v.data() + 2, was[0]));
      EXPECT_TRUE(recording::left(v.data() + 7, was[3]));
      for (size_t i = 0; i < 9; ++i) EXPECT_EQ(word(i), nullptr);
    }
    std::optional<vector<ptr<node>>> maybe(std::in_place, 3);
    const void* const store = maybe->data();
    recording r;
    maybe.reset();
    EXPECT_TRUE(recording::shaded().contains(store)) << "the end of a vector is the deletion of its store";
  });
}

// While a marking runs, whatever an operation removes from the vector, puts into it or moves must be shaded: then no schedule of the marker
// loses it. Compared before and after each of many random operations.
template <class T, class Make, class Address>
void check_shading(Make make_element, Address address) {
  set_gc_percent(-1);
  random_numbers random(5);
  vector<T> v;
  auto content = [&] {
    std::vector<const void*> c;
    for (const T& e : v) c.push_back(address(e));
    return c;
  };
  for (int step = 0; step < 2000; ++step) {
    const std::vector<const void*> before = content();
    const void* const store = v.data();
    T fresh = make_element(step);
    const size_t at = random.below(v.size() + 1);
    recording r;
    switch (random.below(7)) {
      case 0:
      case 1: v.push_back(std::move(fresh)); break;
      case 2: v.insert(v.begin() + at, std::move(fresh)); break;
      case 3:
        if (at < v.size()) v.erase(v.begin() + at);
        break;
      case 4: v.erase(v.begin() + at, v.end()); break;
      case 5: v.shrink_to_fit(); break;
      case 6:
        if (!v.empty()) v.pop_back();
        break;
    }
    r.stop();
    const std::set<const void*> shaded = recording::shaded();
    const std::vector<const void*> after = content();
    for (size_t i = 0; i < before.size(); ++i) {
      const bool stays = i < after.size() && after[i] == before[i] && v.data() == store;
      ASSERT_TRUE(stays || shaded.contains(before[i])) << "place " << i << " in step " << step << " lost its value unseen";
    }
    for (size_t i = 0; i < after.size(); ++i) {
      const bool was = i < before.size() && after[i] == before[i] && v.data() == store;
      ASSERT_TRUE(was || shaded.contains(after[i])) << "place " << i << " in step " << step << " got its value unseen";
    }
    if (v.data() != store) {
      ASSERT_TRUE(store == nullptr || shaded.contains(store)) << "the store was let go unseen";
    }
  }
  set_gc_percent(100);
}
TEST(VectorBarrier, EverythingThatMovesIsShaded) {
  on_checked_goroutine([] {
    check_shading<ptr<node>>([](int i) { return make_node(i); }, [](const ptr<node>& p) { return p.get(); });
    check_shading<node>([](int i) { return node{i, ~i, make_node(i)}; }, [](const node& n) { return n.next.get(); });
    check_shading<string>([](int i) { return string(std::to_string(i)); }, [](const string& s) { return s.data(); });
    check_shading<std::optional<ptr<node>>>([](int i) { return std::optional<ptr<node>>(make_node(i)); },
                                            [](const std::optional<ptr<node>>& p) { return p->get(); });
  });
}

// ---- exceptions ----
TEST(Vector, ElementsThatThrowLeaveItAsItWas) {
  on_checked_goroutine([] {
    for (int failing = 0; failing < 60; ++failing) {
      fragile::until_failure = -1;
      vector<fragile> v;
      v.reserve(4);
      for (int i = 0; i < 4; ++i) v.emplace_back(i);
      const fragile extra(99);
      auto unchanged = [&] {
        ASSERT_EQ(v.size(), 4u);
        for (int i = 0; i < 4; ++i) ASSERT_EQ(v[static_cast<size_t>(i)].value(), i);
      };
      auto attempt = [&](auto f) {
        fragile::until_failure = failing;
        bool threw = false;
        try {
          f();
        } catch (fragile_failure&) {
          threw = true;
        }
        fragile::until_failure = -1;
        return threw;
      };
      if (attempt([&] { v.push_back(extra); })) unchanged();
      while (v.size() > 4) v.pop_back();
      if (attempt([&] { v.resize(40); })) unchanged();
      while (v.size() > 4) v.pop_back();
      if (attempt([&] { v.reserve(1000); })) unchanged();
      vector<fragile> copy;
      if (attempt([&] { copy = v; })) {
        EXPECT_TRUE(copy.empty());
        unchanged();
      }
      // The basic guarantee: sound, whatever it holds.
      attempt([&] { v.insert(v.begin() + 1, extra); });
      attempt([&] { v.erase(v.begin()); });
      for (const fragile& f : v) (void)f.value();
      gc();
    }
  });
}

struct second_throws {
  ptr<node> a;
  int n;
  inline static int made = 0;
  second_throws() : a(make_node(3)), n(3) {
    if (++made == 2) throw 1;
  }
  WARREN_FIELDS(a, n);
};
TEST(Vector, AConstructorThatThrowsLeavesNoPtrBehind) {
  on_checked_goroutine([] {
    vector<second_throws> v;
    v.reserve(8);
    EXPECT_THROW(v.resize(3), int);  // the first was made, the second threw
    EXPECT_TRUE(v.empty());
    for (size_t i = 0; i < 8 * sizeof(second_throws) / sizeof(void*); ++i)
      EXPECT_EQ(detail::load_word(reinterpret_cast<void* const*>(v.data()) + i), nullptr);
  });
}

// ---- where it may live ----
struct holder {
  int n = 0;
  vector<holder> children;  // of its own type
  vector<ptr<holder>> friends;
  string name;
};
TEST(Vector, LivesInCollectedObjectsAndUnderRoots) {
  using map = detail::described<holder>;
  static_assert(map::bits.get(1) && !map::bits.get(2) && map::bits.get(4) && map::bits.get(7));
  static root<vector<ptr<node>>> global;
  on_checked_goroutine([] {
    ptr<holder> h = make<holder>();
    for (int i = 0; i < 50; ++i) {
      h->children.push_back({i, {}, {}, string(std::to_string(i))});
      h->friends.push_back(make<holder>());
      h->friends.back()->friends.push_back(h);
    }
    h->children[7].children.resize(3);
    global = make<vector<ptr<node>>>();
    for (int i = 0; i < 1000; ++i) global->push_back(make_node(i));
    array<vector<int>> many = make_array<vector<int>>(10);
    many[3].push_back(4);
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make_node(-1);
    EXPECT_EQ(h->children[49].name, "49");
    EXPECT_EQ(h->children[7].children.size(), 3u);
    EXPECT_EQ(h->friends[20]->friends[0], h);
    EXPECT_EQ(many[3][0], 4);
  });
  on_checked_goroutine([] {  // and in the next run
    for (int i = 0; i < 1000; ++i) EXPECT_EQ((*global)[static_cast<size_t>(i)]->guard, ~i);
  });
  global = nullptr;
}

TEST(Vector, ManyGoroutinesGrowTheirsWhileOthersCollect) {
  on_checked_goroutine([] {
    constexpr int kGoroutines = 8;
    chan<vector<ptr<node>>> results = make_chan<vector<ptr<node>>>(2);
    std::atomic<int> running{kGoroutines};
    for (int g = 0; g < kGoroutines; ++g) {
      go([&, g] {
        random_numbers random(static_cast<uint64_t>(g) + 1);
        vector<ptr<node>> v;
        for (int i = 0; i < scaled(3000); ++i) {
          v.insert(v.begin() + random.below(v.size() + 1), make_node(g));
          if (random.below(3) == 0) v.erase(v.begin() + random.below(v.size()));
          if (i % 100 == 0) yield();
        }
        results.send(std::move(v));
        running.fetch_sub(1);
      });
    }
    go([&] {
      while (running.load() > 0) {
        gc();
        yield();
      }
      results.close();
    });
    int got = 0;
    for (vector<ptr<node>> v : results) {
      ++got;
      for (const ptr<node>& n : v) ASSERT_EQ(n->guard, ~n->key);
      for (const ptr<node>& n : v) ASSERT_EQ(n->key, v[0]->key);
    }
    EXPECT_EQ(got, kGoroutines);
  });
}

}  // namespace
