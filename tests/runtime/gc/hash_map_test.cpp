// warren::hash_map against std::unordered_map, and what that has no notion of.
#include <algorithm>
#include <array>
#include <map>
#include <ranges>
#include <sstream>
#include <unordered_map>

#include <warren/chan.h>
#include <warren/hash_map.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;

static_assert(std::ranges::forward_range<hash_map<int, int>>);
static_assert(std::forward_iterator<hash_map<string, ptr<node>>::const_iterator>);
static_assert(std::is_convertible_v<hash_map<int, int>::iterator, hash_map<int, int>::const_iterator>);
static_assert(!std::is_convertible_v<hash_map<int, int>::const_iterator, hash_map<int, int>::iterator>);

// ---- random operations ----
template <class K>
struct key;
template <>
struct key<int> {
  static int of(int n) { return n; }
  static int back(int k) { return k; }
};
template <>
struct key<string> {
  static string of(int n) { return std::string("key number ") + std::to_string(n); }
  static int back(const string& k) { return std::stoi(k.str().substr(11)); }
};
template <class V>
struct value;
template <>
struct value<int> {
  static int of(int n) { return n; }
  static int back(int v) { return v; }
};
template <>
struct value<ptr<node>> {
  static ptr<node> of(int n) { return make_node(n); }
  static int back(const ptr<node>& v) {
    EXPECT_EQ(v->guard, ~v->key);
    return v->key;
  }
};
template <>
struct value<placed> {
  static placed of(int n) { return placed(n); }
  static int back(const placed& v) { return v.value(); }
};

template <class K, class V, class Hash = hash<K>>
void agrees_with_std(uint64_t seed, int steps) {
  const int alive_before = placed::alive;
  on_checked_goroutine([&] {
    random_numbers random(seed);
    hash_map<K, V, Hash> ours;
    std::unordered_map<int, int> theirs;
    for (int step = 0; step < steps; ++step) {
      const int n = static_cast<int>(random.below(400));
      switch (random.below(14)) {
        case 0:
        case 1:
        case 2: {
          const auto a = ours.try_emplace(key<K>::of(n), value<V>::of(step));
          EXPECT_EQ(a.second, theirs.try_emplace(n, step).second);
          EXPECT_EQ(key<K>::back(a.first->first), n);
          break;
        }
        case 3: {
          const auto a = ours.insert_or_assign(key<K>::of(n), value<V>::of(step));
          EXPECT_EQ(a.second, theirs.insert_or_assign(n, step).second);
          EXPECT_EQ(value<V>::back(a.first->second), step);
          break;
        }
        case 4: {
          const auto a = ours.emplace(key<K>::of(n), value<V>::of(step));
          EXPECT_EQ(a.second, theirs.emplace(n, step).second);
          break;
        }
        case 5:
        case 6:
        case 7: EXPECT_EQ(ours.erase(key<K>::of(n)), theirs.erase(n)); break;
        case 8: {
          const auto i = ours.find(key<K>::of(n));
          const auto j = theirs.find(n);
          ASSERT_EQ(i == ours.end(), j == theirs.end());
          if (j != theirs.end()) {
            EXPECT_EQ(value<V>::back(i->second), j->second);
            if (random.below(2) == 0) {
              ours.erase(i);
              theirs.erase(j);
            }
          }
          break;
        }
        case 9: {
          if (random.below(60) != 0) break;
          EXPECT_EQ(erase_if(ours, [](const auto& kv) { return key<K>::back(kv.first) % 3 == 0; }),
                    std::erase_if(theirs, [](const auto& kv) { return kv.first % 3 == 0; }));
          break;
        }
        case 10:
          if (random.below(100) == 0) ours.clear(), theirs.clear();
          break;
        case 11: {
          if (random.below(20) != 0) break;
          hash_map<K, V, Hash> moved = std::move(ours);
          EXPECT_TRUE(ours.empty());  // NOLINT(bugprone-use-after-move)
          if constexpr (std::is_copy_constructible_v<V>) {
            hash_map<K, V, Hash> copy = moved;
            EXPECT_EQ(copy.size(), moved.size());
            moved.clear();  // a map that is only forgotten destroys nothing
            moved = copy;
            copy.clear();
          }
          ours.swap(moved);
          break;
        }
        case 12: ours.reserve(random.below(500)); break;
        case 13:
          if (step % 5 == 0) gc();
          break;
      }
      ASSERT_EQ(ours.size(), theirs.size());
      if (step % 32 == 0) {
        size_t seen = 0;
        for (const auto& [k, v] : ours) {
          ++seen;
          const auto j = theirs.find(key<K>::back(k));
          ASSERT_NE(j, theirs.end());
          ASSERT_EQ(value<V>::back(v), j->second);
        }
        ASSERT_EQ(seen, theirs.size());
        for (const auto& [k, v] : theirs) ASSERT_TRUE(ours.contains(key<K>::of(k)));
      }
    }
    ours.clear();
  });
  EXPECT_EQ(placed::alive, alive_before);
}

TEST(HashMap, AgreesWithStdUnderRandomOperationsAndCollections) {
  agrees_with_std<int, int>(1, scaled(20'000));
  agrees_with_std<int, ptr<node>>(2, scaled(10'000));
  agrees_with_std<string, int>(3, scaled(10'000));
  agrees_with_std<string, ptr<node>>(4, scaled(10'000));
  agrees_with_std<int, placed>(5, scaled(5'000));
}

// Every key has the same hash: slow, and right.
struct same_hash {
  size_t operator()(const string&) const { return 7; }
};
// The hash std has for numbers: multiples of a power of two would fill one corner of the table.
struct identity {
  size_t operator()(int k) const { return static_cast<size_t>(k); }
};
TEST(HashMap, IsRightWithBadHashes) {
  agrees_with_std<string, int, same_hash>(6, scaled(3'000));
  agrees_with_std<int, int, identity>(7, scaled(3'000));
}

// Keys that collide under every unkeyed mixing of this kind cost no more than any others: counted, not timed.
struct counting_equal {
  bool operator()(uint64_t a, uint64_t b) const {
    ++calls;
    return a == b;
  }
  inline static size_t calls = 0;
};
TEST(HashMap, PatternsOfKeysDoNotCollide) {
  on_checked_goroutine([] {
    for (const int shift : {0, 8, 16, 24, 32, 40}) {
      hash_map<uint64_t, int, hash<uint64_t>, counting_equal> m;
      counting_equal::calls = 0;
      for (uint64_t i = 0; i < 20'000; ++i) m[i << shift] = 1;
      for (uint64_t i = 0; i < 20'000; ++i) EXPECT_TRUE(m.contains(i << shift));
      // One comparison per key found, and one in 2^32 for others: all 32 bits of the hash have to agree before keys are compared.
      EXPECT_LE(counting_equal::calls, 20'100u) << "shift " << shift;
      // And the hashes spread: probes end at once. Seen by the low bits of the hash filling buckets evenly.
      std::array<int, 256> buckets{};
      for (uint64_t i = 0; i < 20'000; ++i) ++buckets[(hash<uint64_t>()(i << shift) >> 32) % 256];
      EXPECT_LT(*std::max_element(buckets.begin(), buckets.end()), 200) << "shift " << shift;  // mean 78
    }
  });
}

// ---- looking up ----
TEST(HashMap, StringsAreLookedUpByWhatIsAtHand) {
  on_checked_goroutine([] {
    hash_map<string, int> m{{"one", 1}, {"two", 2}};
    EXPECT_TRUE(m.contains("one"));
    EXPECT_TRUE(m.contains(std::string("two")));
    EXPECT_EQ(m.at(std::string_view("two")), 2);
    EXPECT_EQ(m.find("three"), m.end());
    EXPECT_EQ(m["three"], 0);
    m["three"] = 3;
    EXPECT_EQ(m.erase("one"), 1u);
    EXPECT_THROW((void)m.at("one"), std::out_of_range);
    const uint64_t before = read_mem_stats().heap.mallocs + read_mem_stats().heap.tiny_mallocs;
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(m.contains("three"));
    EXPECT_LT(read_mem_stats().heap.mallocs + read_mem_stats().heap.tiny_mallocs, before + 500) << "no string is made to look one up";
    hash_map<int, int> numbers;
    numbers[3] = 4;
    EXPECT_TRUE(numbers.contains(3L)) << "converted, as std does";
    enum class colour { red, green };
    hash_map<colour, string> colours{{colour::red, "red"}};
    EXPECT_EQ(colours[colour::red], "red");
    hash_map<ptr<node>, int> by_address;
    const ptr<node> a = make_node(1);
    by_address[a] = 5;
    gc();
    EXPECT_EQ(by_address.at(a), 5);
    EXPECT_FALSE(by_address.contains(make_node(1)));
  });
}

TEST(HashMap, IteratesInOrderOfInsertionThroughErasuresAndCollections) {
  on_checked_goroutine([] {
    hash_map<int, ptr<node>> m;
    for (int i = 0; i < 1000; ++i) m[i * 7919 % 1000] = make_node(i);
    int expected = 0;
    for (auto i = m.begin(); i != m.end(); ++expected) {
      ASSERT_EQ(i->second->key, expected);
      ASSERT_EQ(i->first, expected * 7919 % 1000);
      if (expected % 50 == 0) gc();
      i = expected % 2 == 0 ? m.erase(i) : std::next(i);
    }
    EXPECT_EQ(expected, 1000);
    EXPECT_EQ(m.size(), 500u);
    // The last one, from an otherwise empty table.
    hash_map<int, int> one{{1, 1}};
    EXPECT_EQ(one.erase(one.begin()), one.end());
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(one.begin(), one.end());
    EXPECT_EQ(m.erase(m.begin(), m.end()), m.end());
    EXPECT_TRUE(m.empty());
    hash_map<int, int> none;
    EXPECT_EQ(none.begin(), none.end());
    EXPECT_EQ(none.erase(4), 0u);
    none.clear();
  });
}

TEST(HashMap, ComparesAndPrints) {
  on_checked_goroutine([] {
    hash_map<string, int> a{{"x", 1}, {"y", 2}}, b{{"y", 2}, {"x", 1}};
    EXPECT_EQ(a, b);
    b["x"] = 3;
    EXPECT_NE(a, b);
    std::ostringstream out;
    out << a << hash_map<int, int>();
    EXPECT_EQ(out.str(), "{x: 1, y: 2}{}");
    EXPECT_EQ(std::ranges::count_if(a, [](const auto& kv) { return kv.second > 1; }), 1);
    std::array<std::pair<string, int>, 2> copied;
    std::copy(a.begin(), a.end(), copied.begin());
    EXPECT_EQ((hash_map<string, int>(copied.begin(), copied.end())), a);
  });
}

// A queue of keys that come and go: the table neither grows without bound nor keeps what was erased.
TEST(HashMap, ChurnNeitherGrowsNorKeepsGarbage) {
  on_checked_goroutine([] {
    hash_map<int, ptr<node>> m;
    for (int i = 0; i < scaled(100'000); ++i) {
      m[i] = make_node(i);
      if (i >= 100) m.erase(i - 100);
      ASSERT_LE(m.size(), 101u);
    }
    EXPECT_LT(m.capacity(), 1000u);
  });
}

// ---- barriers ----
TEST(HashMapBarrier, EverythingThatMovesIsShaded) {
  on_checked_goroutine([] {
    set_gc_percent(-1);
    random_numbers random(11);
    hash_map<string, ptr<node>> m;
    auto content = [&] {
      std::map<const void*, const void*> c;  // place → object
      for (const auto& [k, v] : m) c[&v] = v.get(), c[&k] = k.data();
      return c;
    };
    for (int step = 0; step < 3000; ++step) {
      const auto before = content();
      const string k = "k" + std::to_string(random.below(150));
      ptr<node> fresh = make_node(step);
      recording r;
      switch (random.below(6)) {
        case 0:
        case 1: m[k] = fresh; break;
        case 2: m.insert_or_assign(k, fresh); break;
        case 3: m.erase(k); break;
        case 4:
          if (!m.empty()) m.erase(m.begin());
          break;
        case 5:
          if (random.below(200) == 0) m.clear();
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

TEST(HashMapBarrier, WhatIsErasedLeavesItsPlaceCleared) {
  on_checked_goroutine([] {
    hash_map<string, ptr<node>> m;
    m["a"] = make_node(1);
    const auto* const kv = &*m.begin();
    const void* const text = kv->first.data();
    const void* const object = kv->second.get();
    recording r;
    m.erase("a");
    r.stop();
    EXPECT_TRUE(recording::left(&kv->second, object));
    EXPECT_TRUE(recording::left(&kv->first, text));
    EXPECT_EQ(detail::load_word(reinterpret_cast<void* const*>(&kv->second)), nullptr);
    EXPECT_EQ(detail::load_word(reinterpret_cast<void* const*>(&kv->first)), nullptr);
  });
}

// ---- exceptions ----
struct moody {  // throws from the constructor it is asked to, moves quietly
  ptr<node> n;
  explicit moody(int v) : n(make_node(v)) {
    if (v < 0) throw fragile_failure();
  }
  moody(moody&&) noexcept = default;
  moody& operator=(moody&&) noexcept = default;
  WARREN_FIELDS(n);
};
TEST(HashMap, ValuesThatThrowLeaveItAsItWas) {
  on_checked_goroutine([] {
    hash_map<string, moody> m;
    for (int i = 0; i < 200; ++i) {
      m.try_emplace(std::to_string(i), i);
      EXPECT_THROW(m.try_emplace("new", -1), fragile_failure);
      EXPECT_THROW(m.emplace("new", moody(-1)), fragile_failure);
      ASSERT_FALSE(m.contains("new"));
      ASSERT_EQ(m.size(), static_cast<size_t>(i) + 1);
    }
    gc();
    for (int i = 0; i < 200; ++i) ASSERT_EQ(m.at(std::to_string(i)).n->guard, ~i);
  });
}

// ---- where it may live ----
struct directory {
  string name;
  hash_map<string, directory> inside;  // of its own type
  hash_map<int, ptr<directory>> links;
};
TEST(HashMap, LivesInCollectedObjectsAndUnderRoots) {
  static root<directory> global;
  on_checked_goroutine([] {
    global = make<directory>();
    for (int i = 0; i < 30; ++i) {
      directory& d = global->inside[std::to_string(i)];
      d.name = "directory " + std::to_string(i);
      for (int k = 0; k < 30; ++k) d.inside["sub" + std::to_string(k)].links[k] = global;
    }
    gc();
    for (int k = 0; k < 10'000; ++k) (void)make_node(-1);
  });
  on_checked_goroutine([] {
    EXPECT_EQ(global->inside.at("17").name, "directory 17");
    EXPECT_EQ(global->inside.at("17").inside.at("sub5").links.at(5), ptr<directory>(global));
    EXPECT_EQ(global->inside.size(), 30u);
  });
  global = nullptr;
}

TEST(HashMap, ManyGoroutinesChangeTheirsWhileOthersCollect) {
  on_checked_goroutine([] {
    constexpr int kGoroutines = 8;
    run_while_collecting(kGoroutines, [&](int g) {
      random_numbers random(static_cast<uint64_t>(g) + 21);
      hash_map<string, vector<ptr<node>>> m;
      for (int i = 0; i < scaled(3000); ++i) {
        const string k(std::to_string(random.below(100)));
        m[k].push_back(make_node(g));
        if (random.below(4) == 0) m.erase(k);
        if (i % 100 == 0) yield();
      }
      for (const auto& [k, v] : m) {
        for (const ptr<node>& n : v) EXPECT_EQ(n->guard, ~g);
      }
    });
  });
}

}  // namespace
