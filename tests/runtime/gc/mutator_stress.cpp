// A program that does everything at once for as long as one likes (WARREN_STRESS_SECONDS, else 20): graphs, channels of pointers, captures
// by reference, optionals and variants, containers that grow, weak pointers, destructors, cleanups, roots in blocking regions, goroutines
// that die. Every object says of itself whether it is whole, and most are reached by somebody who knows which they should be. CTest runs it
// with every check of the collector on.
#include <stdlib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <variant>

#include <warren/chan.h>
#include <warren/cleanup.h>
#include <warren/hash_map.h>
#include <warren/ordered_map.h>
#include <warren/string.h>
#include <warren/sync.h>
#include <warren/vector.h>
#include <warren/weak.h>

#include "tests/runtime/collect_until.h"
#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using warren::testing::collect_until;
using warren::tests::random_numbers;

struct item {
  uint64_t key = 0, guard = ~uint64_t{0};
  std::array<ptr<item>, 3> edges;
};
ptr<item> fresh(uint64_t key) { return make<item>(key, ~key); }
bool is_whole(const ptr<item>& i) { return !i || i->guard == ~i->key; }
void expect_item(const ptr<item>& i, uint64_t key, const char* where) {
  if (!i || i->key != key || i->guard != ~key) ADD_FAILURE() << where << ": not the object that was put there";
}
void expect_whole(const ptr<item>& i, const char* where) {
  if (!is_whole(i)) ADD_FAILURE() << where << ": an object that is not whole";
}

// What the goroutines have in common.
struct meeting {
  chan<ptr<item>> items = make_chan<ptr<item>>(64);
  wait_group dying;
  std::atomic<bool> over{false};
  std::atomic<int64_t> steps{0}, locks{0};
};
std::atomic<int64_t> resources_made{0}, resources_gone{0}, cleanups_due{0}, cleanups_run{0};

struct resource {
  using collected = finalized;
  uint64_t key;
  ptr<item> held;
  explicit resource(uint64_t k) : key(k), held(fresh(k)) { ++resources_made; }
  ~resource() {
    expect_item(held, key, "a destructor");
    ++resources_gone;
  }
  WARREN_FIELDS(key, held);
};

struct shape {
  std::optional<ptr<item>> maybe;
  std::variant<uint64_t, ptr<item>, double> any;
  ptr<resource> owned;
};

struct only {
  uint64_t key = 0, guard = 0;
};
struct holder {
  ptr<only> held;
  ptr<holder> next;
};

// One goroutine's. It lies on that one's stack.
class mutator {
 public:
  mutator(meeting& m, uint64_t seed)
      : meeting_(m), random_(seed), shapes_(make_array<ptr<shape>>(16)), near_(make_array<ptr<holder>>(kPlaces / 2)) {
    for (auto& p : near_) p = make<holder>();
    for (auto& address : far_) {
      way_ = make<holder>(nullptr, way_);
      address = ~reinterpret_cast<uintptr_t>(way_.get());
    }
    for (int i = 0; i < 20'000; ++i) way_ = make<holder>(nullptr, way_);
    for (auto& s : shapes_) s = make<shape>();
    for (auto& i : own_) i = fresh(random_.next());
  }

  void step() {
    switch (random_.below(20)) {
      case 0: return relink();
      case 1: return walk();
      case 2: own() = fresh(random_.next()); return;
      case 3: return send_or_receive();
      case 4: return have_it_made_by_another();
      case 5: return change_shape();
      case 6: return grow();
      case 7: return insert();
      case 8: return look_up();
      case 9: return remember_weakly();
      case 10: return lock();
      case 11: return leave_to_one_who_dies();
      case 12: return write_text();
      case 13: shapes_[random_.below(shapes_.size())]->owned = make<resource>(random_.next()); return;
      case 14: return leave_a_cleanup();
      case 15: return hold_in_a_root();
      default: return move_the_only_pointer();
    }
  }

 private:
  ptr<item>& own() { return own_[random_.below(own_.size())]; }

  void relink() {
    const ptr<item> from = own();
    from->edges[random_.below(3)] = own();
    if (random_.below(8) == 0) from->edges = {};
  }
  void walk() {
    ptr<item> at = own();
    for (int i = 0; i < 200 && at; ++i) {
      expect_whole(at, "a graph");
      at = at->edges[random_.below(3)];
    }
  }
  void send_or_receive() {
    if (random_.below(2) == 0) {
      (void)meeting_.items.try_send(own());
    } else if (std::optional<ptr<item>> got = meeting_.items.try_recv()) {
      expect_whole(*got, "a channel");
      own() = *got;
    }
  }
  // From one object to another, by way of a stack, where it stays for some steps: what a collection sees neither where it was nor where it
  // will be unless the barrier tells it. Some of the places are marked at once, others last, at the end of a long list, which is the only
  // way to them that a collection knows.
  void move_the_only_pointer() {
    auto& [carried, key] = carried_[random_.below(carried_.size())];
    const size_t at = random_.below(kPlaces);
    ptr<only>& place = (at < kPlaces / 2 ? near_[at].get() : reinterpret_cast<holder*>(~far_[at - kPlaces / 2]))->held;
    if (carried) {
      if (carried->key != key || carried->guard != ~key) ADD_FAILURE() << "the only pointer to an object: not the object it led to";
      place = carried;
      carried = nullptr;
    } else if (place) {
      key = place->key;
      carried = place;
      place = nullptr;
    } else {
      key = random_.next();
      carried = make<only>(key, ~key);
    }
  }
  void have_it_made_by_another() {
    const uint64_t key = random_.next();
    ptr<item> made;
    wait_group wg;
    wg.add(1);
    go([&made, &wg, key] {
      made = fresh(key);
      for (int i = 0; i < 20; ++i) made->edges[0] = fresh(key + static_cast<uint64_t>(i));
      wg.done();
    });
    wg.wait();
    expect_item(made, key, "a variable captured by reference");
    expect_item(made->edges[0], key + 19, "what another has stored there");
    own() = made;
  }
  void change_shape() {
    shape& s = *shapes_[random_.below(shapes_.size())];
    if (s.maybe) expect_whole(*s.maybe, "an optional");
    if (const auto* const held = std::get_if<ptr<item>>(&s.any)) expect_whole(*held, "a variant");
    switch (random_.below(6)) {
      case 0: s.maybe = own(); break;
      case 1: s.maybe.reset(); break;
      case 2: s.any = fresh(random_.next()); break;
      case 3: s.any = random_.next(); break;
      case 4: s.any = 0.5; break;
      default: s.owned = nullptr; break;
    }
  }
  void grow() {
    if (growing_.size() > 3000) growing_ = {};
    for (int i = 0; i < 30; ++i) growing_.push_back(fresh(growing_.size()));
    const size_t at = random_.below(growing_.size());
    expect_item(growing_[at], at, "a vector");
  }
  void insert() {
    const uint64_t key = random_.below(2000);
    table_.insert_or_assign(key, fresh(key));
    sorted_.insert_or_assign(key, fresh(key));
  }
  void look_up() {
    const uint64_t key = random_.below(2000);
    if (const auto found = table_.find(key); found != table_.end()) {
      expect_item(found->second, key, "a hash_map");
      if (random_.below(2) == 0) table_.erase(key);
    }
    if (const auto found = sorted_.find(key); found != sorted_.end()) {
      expect_item(found->second, key, "an ordered_map");
      if (random_.below(2) == 0) sorted_.erase(key);
    }
  }
  void remember_weakly() {
    const ptr<item> i = own();
    auto& [pointer, key] = weak_[random_.below(weak_.size())];
    pointer = i;
    key = i->key;
    expect_item(pointer.lock(), key, "a weak pointer to what is held");
  }
  void lock() {
    auto& [pointer, key] = weak_[random_.below(weak_.size())];
    if (const ptr<item> i = pointer.lock()) {
      expect_item(i, key, "a weak pointer");
      ++meeting_.locks;
      if (random_.below(2) == 0) own() = i;
    }
  }
  void leave_to_one_who_dies() {
    meeting_.dying.add(1);
    go([m = &meeting_, kept = own(), n = random_.below(50)] {
      ptr<item> list = kept;
      for (uint64_t i = 0; i < n; ++i) {
        const ptr<item> next = fresh(i);
        next->edges[1] = list;
        list = next;
        if (i % 16 == 7) yield();
      }
      for (uint64_t i = n; i > 0; --i) {
        expect_item(list, i - 1, "the list of one who dies");
        list = list->edges[1];
      }
      expect_whole(list, "what was given to one who dies");
      m->dying.done();
    });
  }
  void write_text() {
    if (shadow_.size() > 2000) shadow_.clear(), text_ = {};
    const std::string more = std::to_string(random_.next());
    text_ += more;
    shadow_ += more;
    if (std::string_view(text_) != shadow_) ADD_FAILURE() << "a string is not what was written";
  }
  void leave_a_cleanup() {
    ptr<item>& at = own();
    at = fresh(random_.next());
    ++cleanups_due;
    add_cleanup(at, [] { ++cleanups_run; });
  }
  void hold_in_a_root() {
    const uint64_t key = random_.next();
    const root<item> r(fresh(key));
    blocking([&r] { const root<item> copy(r); });
    expect_item(r, key, "a root");
  }

  meeting& meeting_;
  random_numbers random_;
  std::array<ptr<item>, 64> own_;
  array<ptr<shape>> shapes_;
  static constexpr size_t kPlaces = 100;
  array<ptr<holder>> near_;
  ptr<holder> way_;
  std::array<uintptr_t, kPlaces / 2> far_;
  std::array<std::pair<ptr<only>, uint64_t>, 8> carried_;
  vector<ptr<item>> growing_;
  hash_map<uint64_t, ptr<item>> table_;
  ordered_map<uint64_t, ptr<item>> sorted_;
  std::array<std::pair<weak<item>, uint64_t>, 64> weak_;
  string text_;
  std::string shadow_;
};

[[gnu::noinline]] void mutate(std::chrono::seconds time) {
  meeting all;
  wait_group mutators;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    mutators.add(1);
    go([&all, &mutators, seed] {
      // It forgets everything now and then, and begins anew. One life it has in any case: a sanitizer may spend all the time on its making.
      for (uint64_t life = 0; life == 0 || !all.over; ++life) {
        mutator m(all, seed + life * 100);
        for (int i = 0; i < 5000 && (life == 0 || !all.over); ++i) {
          m.step();
          if (i % 64 == 0) yield();
        }
        all.steps += 5000;
      }
      mutators.done();
    });
  }
  sleep(time);
  all.over = true;
  mutators.wait();
  all.dying.wait();
  all.items.close();
  while (all.items.recv()) {
  }
  EXPECT_GT(all.locks, 0);
  printf("%lld steps, %lld finalized objects, %lld cleanups, %llu collections\n", static_cast<long long>(all.steps.load()),
         static_cast<long long>(resources_made.load()), static_cast<long long>(cleanups_due.load()),
         static_cast<unsigned long long>(read_mem_stats().gc.cycles));
}

TEST(Mutator, NothingIsLostAndNothingIsKept) {
  const char* const seconds = getenv("WARREN_STRESS_SECONDS");
  run([time = std::chrono::seconds(seconds == nullptr ? 20 : atoi(seconds))] {
    wait_group wg;
    wg.add(1);
    go([&wg, time] {
      mutate(time);
      wg.done();
    });
    wg.wait();
    EXPECT_GT(resources_made, 0);
    // A word that a stack remembers may keep the last of each.
    EXPECT_TRUE(collect_until([] { return resources_gone >= resources_made - 64 && cleanups_run >= cleanups_due - 64; }));
    EXPECT_LE(resources_gone, resources_made);
    EXPECT_LE(cleanups_run, cleanups_due);
    EXPECT_EQ(read_mem_stats().gc.rescan_found, 0u);
  });
}

}  // namespace
