// Weak pointers, cleanups, finalizers, keep_alive: what happens at the end of objects.
#include <memory>
#include <string>
#include <unordered_set>

#include <warren/chan.h>
#include <warren/cleanup.h>
#include <warren/hash_map.h>
#include <warren/sync.h>
#include <warren/vector.h>
#include <warren/weak.h>

#include "runtime/finalizer_pool.h"
#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"
#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;
using warren::testing::clobber_stack;

// As that of collect_until.h, but for destructors that block: nobody waits for them.
template <class F>
bool collect_until(F&& done) {
  for (int i = 0; i < 200 && !done(); ++i) {
    clobber_stack();
    gc();
    yield();
  }
  return done();
}

// ---- weak -------------------------------------------------------------------------------------------------------------------------------
TEST(Weak, FollowsItsObjectWhileThatLives) {
  on_checked_goroutine([] {
    const weak<node> none;
    EXPECT_FALSE(none.lock());
    EXPECT_TRUE(none.expired());
    EXPECT_TRUE(none == nullptr);
    const ptr<node> n = make_node(5);
    const weak w(n);
    gc();
    EXPECT_EQ(w.lock(), n);
    EXPECT_FALSE(w.expired());
    const weak<void> base(n);
    EXPECT_EQ(base.lock().get(), n.get());
    weak<node> other = weak<node>(make_node(6));
    other = n;
    EXPECT_EQ(other, w);
    other.reset();
    EXPECT_NE(other, w);
    EXPECT_FALSE(weak<node>(ptr<node>()).lock());
    keep_alive(n);
  });
}

[[gnu::noinline]] void make_weak(vector<weak<node>>& out, int n) {
  for (int i = 0; i < n; ++i) out.push_back(weak<node>(make_node(i)));
}
TEST(Weak, IsClearedWhenItsObjectIsGone) {
  on_checked_goroutine([] {
    vector<weak<node>> w;
    make_weak(w, 1000);
    EXPECT_TRUE(collect_until([&] { return std::ranges::count_if(w, [](const auto& x) { return x.expired(); }) >= 998; }));
    EXPECT_GE(read_mem_stats().gc.weak_cells_cleared, 998u);
    // Copies of one whose object is gone are equal still; others are not.
    const weak<node> copy = w[3];
    EXPECT_EQ(copy, w[3]);
    EXPECT_NE(copy, w[4]);
    EXPECT_FALSE(copy == nullptr);
  });
}

[[gnu::noinline]] void make_many_cells() {
  std::unordered_set<const void*> cells;
  vector<ptr<node>> many;
  vector<weak<node>> weaks;
  for (int i = 0; i < scaled(20'000); ++i) {
    many.push_back(make_node(i));
    weaks.push_back(weak(many.back()));
    cells.insert(weaks.back().identity());
  }
  EXPECT_EQ(cells.size(), many.size());
  gc();
  for (size_t i = 0; i < many.size(); ++i) {
    EXPECT_EQ(weaks[i].lock(), many[i]);
    EXPECT_EQ(weak(many[i]), weaks[i]);
  }
  EXPECT_GE(read_mem_stats().gc.weak_cells, many.size());
}
TEST(Weak, OneCellPerAddress) {
  on_checked_goroutine([] {
    const ptr<node> n = make_node(1);
    const weak a(n), b(n);
    EXPECT_EQ(a, b);
    EXPECT_EQ(a.identity(), b.identity());
    EXPECT_EQ(hash<weak<node>>()(a), hash<weak<node>>()(b));
    const weak<int> inside(ptr<int>(&n->key)), deeper(ptr<int>(&n->guard));
    EXPECT_NE(inside, deeper) << "different addresses in one object";
    EXPECT_EQ(deeper.lock().get(), &n->guard);
    make_many_cells();
    EXPECT_TRUE(collect_until([&] { return read_mem_stats().gc.weak_cells < 100; })) << "cells without a weak pointer are forgotten";
    keep_alive(n);
  });
}

// A cache: the map keeps its weak pointers, they do not keep the values.
TEST(Weak, ACacheThatKeepsNothing) {
  on_checked_goroutine([] {
    hash_map<string, weak<node>> cache;
    auto get = [&](const string& k) {
      if (const auto i = cache.find(k); i != cache.end()) {
        if (ptr<node> n = i->second.lock()) return n;
      }
      ptr<node> n = make_node(static_cast<int>(k.size()));
      cache.insert_or_assign(k, weak(n));
      return n;
    };
    const ptr<node> kept = get("kept");
    for (int i = 0; i < 100; ++i) (void)get(std::to_string(i));
    EXPECT_TRUE(collect_until([&] { return std::ranges::count_if(cache, [](const auto& kv) { return kv.second.expired(); }) >= 98; }));
    EXPECT_EQ(get("kept"), kept);
    keep_alive(kept);
  });
}

struct with_weak_friend {
  using collected = finalized;
  weak<node> friend_;
  weak<with_weak_friend> self;
  std::string text;  // needs the destructor
  inline static std::atomic<int> saw_friend{0}, saw_self{0}, destroyed{0};
  ~with_weak_friend() {
    if (const ptr<node> n = friend_.lock()) {
      EXPECT_EQ(n->guard, ~n->key);
      ++saw_friend;
    }
    saw_self += self.lock() ? 1 : 0;
    ++destroyed;  // last: who reads it knows of the others
  }
};
[[gnu::noinline]] void make_weak_friends(const ptr<node>& n, int count) {
  for (int i = 0; i < count; ++i) {
    ptr<with_weak_friend> f = make<with_weak_friend>();
    f->friend_ = n;
    f->self = f;
  }
}
// Weak pointers in an object that its finalizer brings back work on, even if nobody else had kept their cell.
TEST(Weak, InAnObjectWithAFinalizer) {
  on_checked_goroutine([] {
    const ptr<node> n = make_node(77);
    make_weak_friends(n, 50);
    EXPECT_TRUE(collect_until([] { return with_weak_friend::destroyed >= 48; }));
    const int destroyed = with_weak_friend::destroyed;
    EXPECT_GE(with_weak_friend::saw_friend, destroyed);
    EXPECT_EQ(with_weak_friend::saw_self, 0) << "cleared before the finalizer is queued";
    gc();
    gc();
    keep_alive(n);
  });
}

// Goroutines lock, replace and forget objects that they share by weak pointers alone, while the caller collects: what they get is whole,
// and stays so while it is held. Returns how many were made.
template <class T, class Make, class Whole>
int share_by_weak_pointers(Make make_one, Whole is_whole) {
  constexpr int kSlots = 50, kGoroutines = 6;
  vector<weak<T>> shared(kSlots);
  mutex m;
  std::atomic<int> made{0}, wrong{0};
  run_while_collecting(kGoroutines, [&](int g) {
    random_numbers random(static_cast<uint64_t>(g) + 3);
    vector<ptr<T>> held(10);
    for (int i = 0; i < scaled(4000); ++i) {
      const size_t slot = random.below(kSlots);
      m.lock();
      const weak<T> w = shared[slot];
      m.unlock();
      ptr<T> p = w.lock();
      if (!p) {
        p = make_one(i);
        ++made;
        m.lock();
        shared[slot] = weak(p);
        m.unlock();
      }
      if (i % 50 == 0) yield();  // a collection may end, and destructors run
      if (!is_whole(*p)) ++wrong;
      held[random.below(10)] = p;
    }
  });
  EXPECT_EQ(wrong, 0);
  shared.clear();
  return made;
}
bool is_whole_node(const node& n) { return n.guard == ~n.key; }

TEST(Weak, ManyGoroutinesLockWhileOthersForgetAndCollect) {
  on_checked_goroutine([] { share_by_weak_pointers<node>(&make_node, &is_whole_node); });
}

// The same with destructors, each of which runs once: it reads what its object points to and puts that back among the shared.
struct shared_end {
  using collected = finalized;
  static constexpr uint64_t kWhole = 0x77686f6c65;
  uint64_t state = kWhole;
  ptr<node> held;
  inline static std::atomic<int> ended{0}, wrong{0};
  inline static root<vector<ptr<node>>> salvaged;
  inline static mutex lock;
  explicit shared_end(int n) : held(make_node(n)) {}
  bool is_whole() const { return state == kWhole && is_whole_node(*held); }
  ~shared_end() {
    if (!is_whole()) ++wrong;
    state = 0;
    lock.lock();
    if (salvaged) (*salvaged)[static_cast<size_t>(held->key) % salvaged->size()] = held;  // else the test is over
    lock.unlock();
    ++ended;
  }
  WARREN_FIELDS(state, held);
};
TEST(Weak, ManyGoroutinesShareFinalizedObjectsWhileTheirEndsAreFound) {
  on_checked_goroutine([] {
    shared_end::ended = shared_end::wrong = 0;
    shared_end::salvaged = make<vector<ptr<node>>>(20);
    const int made =
        share_by_weak_pointers<shared_end>([](int n) { return make<shared_end>(n); }, [](const shared_end& e) { return e.is_whole(); });
    EXPECT_TRUE(collect_until([&] { return shared_end::ended >= made - 20; })) << shared_end::ended << " of " << made;
    EXPECT_LE(shared_end::ended, made);
    EXPECT_EQ(shared_end::wrong, 0);
    shared_end::lock.lock();
    for (const ptr<node>& n : *shared_end::salvaged) EXPECT_TRUE(!n || is_whole_node(*n));
    shared_end::salvaged = nullptr;
    shared_end::lock.unlock();
  });
}

// lock() shades what it returns, as every store of a ptr does.
TEST(WeakBarrier, LockShades) {
  on_checked_goroutine([] {
    const ptr<node> n = make_node(1);
    const weak w(n);
    recording r;
    const ptr<node> got = w.lock();
    r.stop();
    EXPECT_TRUE(recording::shaded().contains(n.get()));
    EXPECT_EQ(got, n);
  });
}

// ---- cleanups ---------------------------------------------------------------------------------------------------------------------------
std::atomic<int> cleaned{0};
[[gnu::noinline]] void make_cleaned(int n) {
  for (int i = 0; i < n; ++i) {
    const ptr<node> p = make_node(i);
    add_cleanup(
        p, [](int k) { cleaned += k; }, 1);
    add_cleanup(
        p, [](const string& s, const ptr<node>& other) { cleaned += s == "text" && other->guard == ~other->key ? 1 : 0; }, string("text"),
        make_node(5));
  }
}
TEST(Cleanup, RunsWithItsArgumentsOnceTheObjectIsGone) {
  cleaned = 0;
  on_checked_goroutine([] {
    const ptr<node> kept = make_node(0);
    add_cleanup(kept, [] { cleaned += 1'000'000; });
    make_cleaned(500);
    EXPECT_TRUE(collect_until([] { return cleaned >= 996; }));
    EXPECT_LE(cleaned, 1000);
    const gc_stats s = read_mem_stats().gc;
    EXPECT_GE(s.cleanups_run, 996u);
    EXPECT_GE(s.cleanups_waiting, 1u);
    keep_alive(kept);
  });
}

[[gnu::noinline]] void add_and_stop_cleanups(vector<cleanup>& all, const std::shared_ptr<std::atomic<int>>& counter) {
  vector<ptr<node>> objects;
  for (int i = 0; i < 100; ++i) {
    objects.push_back(make_node(i));
    all.push_back(add_cleanup(
        objects.back(), [](const std::shared_ptr<std::atomic<int>>& c) { ++*c; }, counter));
  }
  EXPECT_EQ(counter.use_count(), 101);
  for (size_t i = 0; i < 50; ++i) EXPECT_TRUE(all[i].stop());
  for (size_t i = 0; i < 50; ++i) EXPECT_FALSE(all[i].stop()) << "twice";
  EXPECT_EQ(counter.use_count(), 51) << "what a stopped cleanup held is destroyed at once";
  for (const ptr<node>& n : objects) EXPECT_EQ(n->guard, ~n->key);
}
TEST(Cleanup, CanBeStopped) {
  on_checked_goroutine([] {
    const auto counter = std::make_shared<std::atomic<int>>(0);
    vector<cleanup> all;
    add_and_stop_cleanups(all, counter);
    EXPECT_TRUE(collect_until([&] { return *counter >= 48; }));
    EXPECT_LE(*counter, 50);
    EXPECT_FALSE(cleanup().stop());
    // Numbers are used again; the old handles stop nobody else's.
    const ptr<node> p = make_node(3);
    vector<cleanup> fresh;
    for (int i = 0; i < 100; ++i) fresh.push_back(add_cleanup(p, [] {}));
    for (cleanup& c : all) EXPECT_FALSE(c.stop());
    for (cleanup& c : fresh) EXPECT_TRUE(c.stop());
    keep_alive(p);
  });
}

struct with_both {
  using collected = finalized;
  std::string text = "x";
  inline static std::atomic<int> order{0};
  ~with_both() {
    int none = 0;
    order.compare_exchange_strong(none, 1);
  }
};
[[gnu::noinline]] void make_with_both() {
  const ptr<with_both> p = make<with_both>();
  add_cleanup(p, [] {
    int destroyed = 1;
    with_both::order.compare_exchange_strong(destroyed, 2);
  });
}
TEST(Cleanup, ComesAfterTheFinalizerOfItsObject) {
  on_checked_goroutine([] {
    make_with_both();
    EXPECT_TRUE(collect_until([] { return with_both::order == 2; })) << with_both::order;
  });
}

struct counted {
  std::shared_ptr<std::atomic<int>> p;
  void operator()() const { ++*p; }
};
TEST(Cleanup, WhatItHeldIsDestroyedOnce) {
  const auto counter = std::make_shared<std::atomic<int>>(0);
  on_checked_goroutine([&] {
    [&]() __attribute__((noinline)) { add_cleanup(make_node(1), counted{counter}); }
    ();
    EXPECT_TRUE(collect_until([&] { return counter.use_count() == 1; }));
    EXPECT_EQ(*counter, 1);
  });
}

TEST(CleanupDeathTest, TheObjectItselfAsArgument) {
  choose_death_style();
  EXPECT_DEATH(run([] {
                 const ptr<node> p = make_node(1);
                 add_cleanup(
                     p, [](const ptr<node>&) {}, p);
               }),
               "fatal error: add_cleanup: the cleanup's function or one of its arguments holds the address of the object itself");
  EXPECT_DEATH(run([] {
                 const ptr<node> p = make_node(1);
                 add_cleanup(p, [inside = &p->guard] { *inside = 3; });
               }),
               "holds the address of the object itself");
  EXPECT_DEATH(run([] {
                 static node not_collected;
                 add_cleanup(ptr<node>(&not_collected), [] {});
               }),
               "fatal error: add_cleanup: .* is not the address of a collected object: make it with warren::make");
}

TEST(Cleanup, AWayBackToTheObjectIsReported) {
  on_checked_goroutine([] {
    const ptr<node> p = make_node(1);
    ::testing::internal::CaptureStderr();
    const ptr<node> way = make_node(2);
    way->next = make_node(3);
    way->next->next = p;
    const cleanup bad = add_cleanup(
        p, [](const ptr<node>&) {}, way);
    const cleanup good = add_cleanup(
        p, [](const ptr<node>&) {}, make_node(4));
    gc();
    const std::string said = ::testing::internal::GetCapturedStderr();
    char expected[100];
    snprintf(expected, sizeof expected, "warren: a cleanup of the object at %p will never run", static_cast<void*>(p.get()));
    EXPECT_NE(said.find(expected), std::string::npos) << said;
    EXPECT_EQ(said.find("warren:"), said.rfind("warren:")) << "the other one is fine: " << said;
    ::testing::internal::CaptureStderr();
    gc();
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "once";
    cleanup(bad).stop();
    cleanup(good).stop();
  });
}

// ---- destructors and cleanups that misbehave --------------------------------------------------------------------------------------------
struct throws_at_the_end {
  using collected = finalized;
  std::string text;
  inline static std::atomic<int> ran{0};
  ~throws_at_the_end() noexcept(false) {
    ++ran;
    throw std::runtime_error("no more");
  }
};
[[gnu::noinline]] void make_throwing(int n) {
  for (int i = 0; i < n; ++i) (void)make<throws_at_the_end>();
}
TEST(Misbehaviour, ADestructorThatThrowsIsReportedAndOthersRun) {
  on_checked_goroutine([] {
    ::testing::internal::CaptureStderr();
    make_throwing(20);
    const auto held = std::make_shared<int>(17);  // by the cleanup that throws, until that was reported
    [&]() __attribute__((noinline)) {
      add_cleanup(
          make_node(1), [](const std::shared_ptr<int>& n) { throw *n; }, held);
    }
    ();
    cleaned = 0;
    make_cleaned(10);
    // More have thrown than there are runners: one of these has reported it and gone on.
    EXPECT_TRUE(collect_until([&] { return throws_at_the_end::ran >= 12 && cleaned >= 16 && held.use_count() == 1; }));
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("warren: the destructor of"), std::string::npos) << said;
    EXPECT_NE(said.find("throws_at_the_end threw std::runtime_error: no more; it is given up, others run on: catch it inside"),
              std::string::npos)
        << said;
    EXPECT_NE(said.find("warren: the cleanup of"), std::string::npos) << said;
    EXPECT_NE(said.find("threw int; it is given up"), std::string::npos) << said;
  });
}

struct throws_noexcept {
  using collected = finalized;
  std::string text;
  ~throws_noexcept() { throw_it(); }
  void throw_it() { throw std::runtime_error("cannot be caught"); }
};
[[gnu::noinline]] void make_throwing_noexcept(int n) {
  for (int i = 0; i < n; ++i) (void)make<throws_noexcept>();
}
TEST(MisbehaviourDeathTest, ANoexceptDestructorThatThrowsEndsTheProcessWithTheException) {
  choose_death_style();
  EXPECT_DEATH(run([] {
                 make_throwing_noexcept(100);
                 collect_until([] { return false; });
               }),
               "fatal error: goroutine [0-9]+: uncaught exception std::runtime_error: cannot be caught");
}

// A destructor may make objects, finalized ones too: each generation of these makes the next.
struct generation {
  using collected = finalized;
  int left;
  std::string text;
  inline static std::atomic<int> ended{0};
  explicit generation(int n) : left(n), text(100, 'x') {}
  ~generation() {
    ++ended;
    for (int i = 0; i < 100; ++i) (void)make_node(i);
    if (left > 0) (void)make<generation>(left - 1);
  }
  WARREN_FIELDS(left, text);
};
TEST(Misbehaviour, DestructorsMayMakeObjects) {
  on_checked_goroutine([] {
    [&]() __attribute__((noinline)) {
      for (int i = 0; i < 10; ++i) (void)make<generation>(5);
    }
    ();
    EXPECT_TRUE(collect_until([] { return generation::ended >= 50; })) << generation::ended;
  });
}

struct waits_for_ever {
  using collected = finalized;
  std::string text;
  inline static root_chan<unit> gate;
  inline static std::atomic<int> began{0}, ended{0};
  ~waits_for_ever() {
    ++began;
    (void)gate.get().recv();
    ++ended;
  }
};
TEST(Misbehaviour, DestructorsThatBlockHoldUpOthersOnlyWhenAllRunnersDo) {
  on_checked_goroutine([] {
    waits_for_ever::gate = root_chan<unit>(make_chan<unit>());
    auto make_waiting = [](int n) __attribute__((noinline)) {
      for (int i = 0; i < n; ++i) (void)make<waits_for_ever>();
    };
    rt::finalizer_patience_for_testing = 0;
    ::testing::internal::CaptureStderr();
    make_waiting(3);
    EXPECT_TRUE(collect_until([] { return waits_for_ever::began >= 2; }));
    const int blocked = waits_for_ever::began;
    cleaned = 0;
    make_cleaned(10);
    EXPECT_TRUE(collect_until([] { return cleaned >= 16; })) << "others run beside " << blocked << " that wait";
    std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("warren: the destructor of"), std::string::npos) << said;
    EXPECT_NE(said.find("waits_for_ever has been running for"), std::string::npos) << said;
    EXPECT_NE(said.find("destructors and cleanups must not wait"), std::string::npos) << said;
    // All of them: no more goroutines are made, what is ready waits, and nothing is lost.
    ::testing::internal::CaptureStderr();
    make_waiting(30);
    EXPECT_TRUE(collect_until([] { return waits_for_ever::began >= rt::kMostRunners; }));
    const int64_t goroutines = goroutine_count();
    cleaned = 0;
    make_cleaned(10);
    for (int i = 0; i < 5; ++i) {
      clobber_stack();
      gc();
      yield();
    }
    EXPECT_EQ(waits_for_ever::began, rt::kMostRunners);
    EXPECT_EQ(cleaned, 0);
    EXPECT_LE(goroutine_count(), goroutines);
    said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("0 are left"), std::string::npos) << said;
    rt::finalizer_patience_for_testing = rt::kPatience;
    waits_for_ever::gate.get().close();
    EXPECT_TRUE(
        collect_until([] { return waits_for_ever::ended >= 30 && waits_for_ever::began == waits_for_ever::ended && cleaned >= 16; }));
  });
}

// ---- arrays of finalized elements -------------------------------------------------------------------------------------------------------
struct element {
  using collected = finalized;
  std::string text;
  inline static std::atomic<int> ended{0};
  inline static int made = 0, fail_at = -1;
  element() : text(50, 'e') {
    if (made++ == fail_at) throw fragile_failure();
  }
  ~element() {
    EXPECT_EQ(text.size(), 50u);
    ++ended;
  }
  WARREN_FIELDS(text);
};
TEST(MakeArray, FinalizedElementsAreDestroyedEach) {
  element::ended = 0;
  on_checked_goroutine([] {
    [&]() __attribute__((noinline)) {
      array<element> a = make_array<element>(100);
      EXPECT_EQ(a[99].text.size(), 50u);
    }
    ();
    EXPECT_TRUE(collect_until([] { return element::ended == 100; })) << element::ended;
    // A constructor throws: those before it are destroyed, it and those behind it are not.
    element::ended = element::made = 0;
    element::fail_at = 40;
    [&]() __attribute__((noinline)) { EXPECT_THROW((void)make_array<element>(100), fragile_failure); }
    ();
    element::fail_at = -1;
    EXPECT_TRUE(collect_until([] { return element::ended == 40; })) << element::ended;
    // An address in the array keeps all of it.
    element::ended = 0;
    const ptr<element> last(&make_array<element>(10)[9]);
    clobber_stack();
    gc();
    gc();
    yield();
    EXPECT_EQ(element::ended, 0);
    EXPECT_EQ(last->text.size(), 50u);
  });
}

TEST(MakeArray, FromValuesListsAndRanges) {
  on_checked_goroutine([] {
    const array<int> sevens = make_array<int>(5, 7);
    EXPECT_EQ(sevens.size(), 5u);
    EXPECT_EQ(sevens[4], 7);
    const array<string> words = make_array<string>({"a", "bc"});
    EXPECT_EQ(words[1], "bc");
    const ptr<node> n = make_node(3);
    const array<ptr<node>> nodes = make_array<ptr<node>>(100, n);
    EXPECT_EQ(nodes[99], n);
    const std::vector<int> from{1, 2, 3};
    const auto copied = make_array_from(from);
    EXPECT_EQ(copied[2], 3);
    const auto mapped = make_array_from(std::array{make_node(1), make_node(2)});
    gc();
    for (int k = 0; k < 5000; ++k) (void)make_node(-1);
    EXPECT_EQ(mapped[1]->key, 2);
    EXPECT_TRUE(make_array<int>({}).empty());
    struct not_zero {
      int x = 5;
    };
    EXPECT_EQ(make_array<not_zero>(3)[2].x, 5);
    EXPECT_THROW((void)make_array<uint64_t>(~size_t{0} / 4), std::bad_array_new_length);
    for (const size_t count : {size_t{1}, size_t{7}, size_t{8}, size_t{1023}, size_t{5000}}) {
      const array<uint64_t> a = make_array<uint64_t>(count, 1);
      EXPECT_EQ(object_at(a.end()), object_at(a.begin()));
    }
  });
}

}  // namespace
