// warren::ordered_map against std::map, and what that has no notion of.
#include <algorithm>
#include <map>
#include <numeric>
#include <ranges>
#include <sstream>

#include <warren/ordered_map.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;

static_assert(std::ranges::bidirectional_range<ordered_map<int, int>>);
static_assert(std::bidirectional_iterator<ordered_map<string, ptr<node>>::const_iterator>);
static_assert(sizeof(ordered_map<int, int>) == 16);

string text(int n) {
  char s[32];
  snprintf(s, sizeof s, "key %06d", n);
  return string(s);
}

template <class K, class V, class MakeK, class MakeV, class BackK, class BackV>
void agrees_with_std(uint64_t seed, int steps, int range, MakeK make_key, MakeV make_value, BackK back_key, BackV back_value) {
  const int alive_before = placed::alive;
  on_checked_goroutine([&] {
    random_numbers random(seed);
    ordered_map<K, V> ours;
    std::map<int, int> theirs;
    bool growing = true;
    auto same = [&](auto i, auto j) {
      ASSERT_EQ(i == ours.end(), j == theirs.end());
      if (j != theirs.end()) {
        ASSERT_EQ(back_key(i->first), j->first);
        ASSERT_EQ(back_value(i->second), j->second);
      }
    };
    for (int step = 0; step < steps; ++step) {
      if (step % (steps / 6 + 1) == 0) growing = !growing;
      const int n = static_cast<int>(random.below(static_cast<size_t>(range)));
      switch (random.below(16)) {
        case 0:
        case 1:
        case 2:
        case 3:
          if (growing) {
            EXPECT_EQ(ours.try_emplace(make_key(n), make_value(step)).second, theirs.try_emplace(n, step).second);
          } else {
            EXPECT_EQ(ours.erase(make_key(n)), theirs.erase(n));
          }
          break;
        case 4: {
          const auto a = ours.insert_or_assign(make_key(n), make_value(step));
          EXPECT_EQ(a.second, theirs.insert_or_assign(n, step).second);
          EXPECT_EQ(back_key(a.first->first), n);
          break;
        }
        case 5: {
          const auto a = ours.emplace(make_key(n), make_value(step));
          EXPECT_EQ(a.second, theirs.emplace(n, step).second);
          break;
        }
        case 6: EXPECT_EQ(ours.erase(make_key(n)), theirs.erase(n)); break;
        case 7: same(ours.find(make_key(n)), theirs.find(n)); break;
        case 8: same(ours.lower_bound(make_key(n)), theirs.lower_bound(n)); break;
        case 9: same(ours.upper_bound(make_key(n)), theirs.upper_bound(n)); break;
        case 10: {  // erase by iterator, which gives the next
          const auto i = ours.lower_bound(make_key(n));
          const auto j = theirs.lower_bound(n);
          if (j == theirs.end()) break;
          same(ours.erase(i), theirs.erase(j));
          break;
        }
        case 11: {
          if (random.below(50) != 0) break;
          const int to = n + static_cast<int>(random.below(40));
          same(ours.erase(ours.lower_bound(make_key(n)), ours.lower_bound(make_key(to))),
               theirs.erase(theirs.lower_bound(n), theirs.lower_bound(to)));
          break;
        }
        case 12:
          if (random.below(300) == 0) ours.clear(), theirs.clear();
          break;
        case 13: {
          if (random.below(50) != 0) break;
          ordered_map<K, V> moved = std::move(ours);
          EXPECT_TRUE(ours.empty());  // NOLINT(bugprone-use-after-move)
          if constexpr (std::is_copy_constructible_v<V>) {
            ordered_map<K, V> copy = moved;
            EXPECT_EQ(copy.check_for_testing(), nullptr);
            moved.clear();  // a map that is only forgotten destroys nothing
            moved = copy;
            copy.clear();
          }
          ours.swap(moved);
          break;
        }
        case 14:
          if (step % 5 == 0) gc();
          break;
        case 15: {  // a step to each side
          auto i = ours.lower_bound(make_key(n));
          auto j = theirs.lower_bound(n);
          if (j == theirs.begin()) break;
          same(std::prev(i), std::prev(j));
          break;
        }
      }
      ASSERT_EQ(ours.size(), theirs.size());
      if (step % 64 == 0) {
        ASSERT_STREQ(ours.check_for_testing(), nullptr) << "step " << step;
        auto j = theirs.begin();
        for (const auto& [k, v] : ours) {
          ASSERT_EQ(back_key(k), j->first);
          ASSERT_EQ(back_value(v), j->second);
          ++j;
        }
        auto r = theirs.rbegin();
        for (auto i = ours.rbegin(); i != ours.rend(); ++i, ++r) ASSERT_EQ(back_key(i->first), r->first);
      }
    }
    while (!ours.empty()) {
      ours.erase(random.below(2) == 0 ? ours.begin() : std::prev(ours.end()));
      if (ours.size() % 16 == 0) {
        ASSERT_STREQ(ours.check_for_testing(), nullptr);
      }
    }
  });
  EXPECT_EQ(placed::alive, alive_before);
}

const auto same_number = [](int n) { return n; };
const auto to_node = [](int n) { return make_node(n); };
const auto from_node = [](const ptr<node>& p) {
  EXPECT_EQ(p->guard, ~p->key);
  return p->key;
};
const auto from_text = [](const string& s) { return std::stoi(s.str().substr(4)); };

TEST(OrderedMap, AgreesWithStdUnderRandomOperationsAndCollections) {
  agrees_with_std<int, int>(1, scaled(40'000), 3000, same_number, same_number, same_number, same_number);
  agrees_with_std<int, ptr<node>>(2, scaled(20'000), 1000, same_number, to_node, same_number, from_node);
  agrees_with_std<string, int>(3, scaled(20'000), 1000, text, same_number, from_text, same_number);
  agrees_with_std<string, ptr<node>>(4, scaled(20'000), 500, text, to_node, from_text, from_node);
  agrees_with_std<int, placed>(
      5, scaled(10'000), 600, same_number, [](int n) { return placed(n); }, same_number, [](const placed& p) { return p.value(); });
}

// Large entries: few per node, so a deep tree.
struct wide {
  std::array<ptr<node>, 30> n;
};
TEST(OrderedMap, DeepTrees) {
  static_assert(detail::btree_node<int, wide>::kMost == 5);
  agrees_with_std<int, wide>(
      6, scaled(10'000), 800, same_number,
      [](int n) {
        wide w;
        w.n[29] = make_node(n);
        return w;
      },
      same_number, [](const wide& w) { return from_node(w.n[29]); });
}

TEST(OrderedMap, InOrderReverseAndRandomInsertionGiveTheSame) {
  on_checked_goroutine([] {
    const int n = scaled(20'000);
    ordered_map<int, int> up, down, mixed;
    for (int i = 0; i < n; ++i) up[i] = i;
    for (int i = n; i-- > 0;) down[i] = i;
    for (int i = 0; i < n; ++i) mixed[static_cast<int>(int64_t{i} * 7919 % n)] = 0;
    for (auto& [k, v] : mixed) v = k;
    EXPECT_STREQ(up.check_for_testing(), nullptr);
    EXPECT_STREQ(down.check_for_testing(), nullptr);
    EXPECT_EQ(up, down);
    if (std::gcd(n, 7919) == 1) {
      EXPECT_EQ(up, mixed);
    }
    EXPECT_EQ(std::ranges::distance(up), n);
    EXPECT_TRUE(std::ranges::is_sorted(up, {}, [](const auto& kv) { return kv.first; }));
    EXPECT_EQ(erase_if(up, [](const auto& kv) { return kv.first % 10 != 0; }), static_cast<size_t>(n - (n + 9) / 10));
    EXPECT_STREQ(up.check_for_testing(), nullptr);
  });
}

TEST(OrderedMap, LooksUpComparesAndPrints) {
  on_checked_goroutine([] {
    ordered_map<string, int> m{{"b", 2}, {"a", 1}, {"c", 3}};
    EXPECT_TRUE(m.contains("a"));
    EXPECT_EQ(m.at(std::string_view("b")), 2);
    EXPECT_THROW((void)m.at("z"), std::out_of_range);
    EXPECT_EQ(m.lower_bound("bb")->first, "c");
    EXPECT_EQ(m.equal_range("b").second->first, "c");
    EXPECT_EQ(m.count("q"), 0u);
    std::ostringstream out;
    out << m << ordered_map<int, int>();
    EXPECT_EQ(out.str(), "{a: 1, b: 2, c: 3}{}");
    ordered_map<string, int> other = m;
    EXPECT_EQ(m, other);
    other["b"] = 5;
    EXPECT_LT(m, other);
    ordered_map<int, int, std::greater<>> falling{{1, 1}, {3, 3}, {2, 2}};
    EXPECT_EQ(falling.begin()->first, 3);
    const ordered_map<int, int> none;
    EXPECT_EQ(none.begin(), none.end());
    EXPECT_EQ(none.lower_bound(3), none.end());
    EXPECT_EQ(none.find(3), none.end());
  });
}

TEST(OrderedMapBarrier, EverythingThatMovesIsShaded) {
  on_checked_goroutine([] {
    set_gc_percent(-1);
    random_numbers random(13);
    ordered_map<string, ptr<node>> m;
    auto content = [&] {
      std::map<const void*, const void*> c;  // place → object
      for (const auto& [k, v] : m) c[&v] = v.get(), c[&k] = k.data();
      return c;
    };
    for (int step = 0; step < 3000; ++step) {
      const auto before = content();
      const string k = text(static_cast<int>(random.below(200)));
      ptr<node> fresh = make_node(step);
      recording r;
      switch (random.below(5)) {
        case 0:
        case 1: m[k] = fresh; break;
        case 2: m.erase(k); break;
        case 3:
          if (!m.empty()) m.erase(m.begin());
          break;
        case 4:
          if (auto i = m.lower_bound(k); i != m.end() && step % 600 > 300) m.erase(i);
          break;
      }
      r.stop();
      const auto shaded = recording::shaded();
      const auto after = content();
      for (const auto& [place, object] : before) {
        const auto i = after.find(place);
        ASSERT_TRUE((i != after.end() && i->second == object) || shaded.contains(object)) << "lost unseen in step " << step;
      }
      for (const auto& [place, object] : after) {
        const auto i = before.find(place);
        ASSERT_TRUE((i != before.end() && i->second == object) || shaded.contains(object)) << "came unseen in step " << step;
      }
    }
    set_gc_percent(100);
  });
}

struct moody {
  ptr<node> n;
  explicit moody(int v) : n(make_node(v)) {
    if (v < 0) throw fragile_failure();
  }
  moody(moody&&) noexcept = default;
  moody& operator=(moody&&) noexcept = default;
  WARREN_FIELDS(n);
};
// Orders ints, but cannot stand the number 13.
struct superstitious {
  bool operator()(int a, int b) const {
    if (a == 13 || b == 13) throw fragile_failure();
    return a < b;
  }
};
TEST(OrderedMap, WhatThrowsLeavesItAsItWas) {
  on_checked_goroutine([] {
    ordered_map<int, moody> m;
    for (int i = 0; i < 500; ++i) {
      m.try_emplace(i * 2, i);
      EXPECT_THROW(m.try_emplace(i * 2 + 1, -1), fragile_failure);
      ASSERT_EQ(m.size(), static_cast<size_t>(i) + 1);
    }
    EXPECT_STREQ(m.check_for_testing(), nullptr);
    gc();
    for (int i = 0; i < 500; ++i) ASSERT_EQ(m.at(i * 2).n->guard, ~i);
    ordered_map<int, int, superstitious> s;
    for (int i = 0; i < 300; ++i) {
      if (i != 13) s[i] = i;
    }
    EXPECT_THROW(s[13] = 1, fragile_failure);
    EXPECT_THROW(s.erase(13), fragile_failure);
    EXPECT_EQ(s.size(), 299u);
    EXPECT_STREQ(s.check_for_testing(), nullptr);
  });
}

struct chapter {
  string title;
  ordered_map<int, chapter> parts;  // of its own type
  ordered_map<string, ptr<chapter>> see;
};
TEST(OrderedMap, LivesInCollectedObjectsAndUnderRoots) {
  static root<chapter> book;
  on_checked_goroutine([] {
    book = make<chapter>();
    for (int i = 0; i < 100; ++i) {
      chapter& c = book->parts[i];
      c.title = text(i);
      c.parts[1].see["the beginning"] = book;
    }
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make_node(-1);
  });
  on_checked_goroutine([] {
    EXPECT_EQ(book->parts.at(42).title, text(42));
    EXPECT_EQ(book->parts.at(99).parts.at(1).see.at("the beginning"), ptr<chapter>(book));
  });
  book = nullptr;
}

TEST(OrderedMap, ManyGoroutinesChangeTheirsWhileOthersCollect) {
  on_checked_goroutine([] {
    constexpr int kGoroutines = 8;
    run_while_collecting(kGoroutines, [&](int g) {
      random_numbers random(static_cast<uint64_t>(g) + 31);
      ordered_map<int, ptr<node>> m;
      for (int i = 0; i < scaled(5000); ++i) {
        m[static_cast<int>(random.below(500))] = make_node(g);
        if (random.below(3) != 0) m.erase(static_cast<int>(random.below(500)));
        if (i % 100 == 0) yield();
      }
      EXPECT_STREQ(m.check_for_testing(), nullptr);
      for (const auto& [k, v] : m) EXPECT_EQ(v->guard, ~g);
    });
  });
}

}  // namespace
