// What the tests of the collected containers share: elements of each kind, a recorder of the barrier, and random numbers.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/string.h>
#include <warren/sync.h>

#include "runtime/gc/barrier.h"
#include "runtime/memory.h"
#include "runtime/sched/stop.h"

namespace warren::tests {

inline int scaled(int n) {
  const char* s = getenv("WARREN_LIVE_SCALE");
  const int by = s == nullptr ? 1 : atoi(s);
  return n / by > 0 ? n / by : 1;
}

// Checkmark after every collection, on a goroutine, and the test ends with a collection that must find the heap sound. With
// WARREN_TEST_ENDS=running no checkmark, and all ends of objects while the world runs.
template <class F>
void on_checked_goroutine(F f) {
  const bool running = getenv("WARREN_TEST_ENDS") != nullptr;
  rt::memory().gc.set_checkmark(!running);
  if (running) rt::memory().gc.set_ends_in_pause_for_testing(0);
  run([&] {
    f();
    gc();
  });
}

class random_numbers {
 public:
  explicit random_numbers(uint64_t seed) : s_(seed * 0x9e3779b97f4a7c15 | 1) {}
  uint64_t next() {
    s_ ^= s_ << 13;
    s_ ^= s_ >> 7;
    return s_ ^= s_ << 17;
  }
  size_t below(size_t n) { return n == 0 ? 0 : next() % n; }

 private:
  uint64_t s_;
};

struct node {
  int key = 0;
  int guard = ~0;
  ptr<node> next;
};
inline ptr<node> make_node(int key) { return make<node>(key, ~key); }

// An element that is not moved word by word: it has constructors of its own, and knows where it is.
class placed {
 public:
  placed() : placed(0) {}
  explicit placed(int v) : self_(here()), n_(make_node(v)) { ++alive; }
  placed(const placed& o) : self_(here()), n_(o.n_) { ++alive; }
  placed(placed&& o) noexcept : self_(here()), n_(o.n_) { ++alive; }
  placed& operator=(const placed&) = delete;
  placed& operator=(placed&& o) noexcept {
    n_ = o.n_;
    return *this;
  }
  ~placed() {
    EXPECT_EQ(self_, here()) << "moved behind its back";
    --alive;
  }
  int value() const {
    EXPECT_EQ(self_, here()) << "moved behind its back";
    EXPECT_EQ(n_->guard, ~n_->key);
    return n_->key;
  }
  friend bool operator==(const placed& a, const placed& b) { return a.value() == b.value(); }
  inline static int alive = 0;

 private:
  uintptr_t here() const { return reinterpret_cast<uintptr_t>(this); }
  uintptr_t self_;
  ptr<node> n_;
  WARREN_FIELDS(self_, n_);
};

// Throws from the copy that is asked for.
struct fragile_failure {};
class fragile {
 public:
  explicit fragile(int v = 0) : n_(make_node(v)) { tick(); }
  fragile(const fragile& o) : n_(o.n_) { tick(); }
  fragile& operator=(const fragile& o) {
    tick();
    n_ = o.n_;
    return *this;
  }
  int value() const {
    EXPECT_EQ(n_->guard, ~n_->key);
    return n_->key;
  }
  friend bool operator==(const fragile& a, const fragile& b) { return a.value() == b.value(); }
  inline static int until_failure = -1;  // constructions and copies until one throws; negative: never

 private:
  static void tick() {
    if (until_failure >= 0 && until_failure-- == 0) throw fragile_failure();
  }
  ptr<node> n_;
  WARREN_FIELDS(n_);
};

// ---- the barrier, listened to ----
struct barrier_event {
  rt::store_kind kind;
  const void* slot;
  const void* old;
  const void* now;
};
// Of the goroutine that made it: finalizers store, too, meanwhile.
class recording {
 public:
  recording() {
    events().clear();
    owner() = goroutine_id();
    rt::record_store = [](rt::store_kind kind, const void* slot, const volatile void* old, const volatile void* now) {
      if (goroutine_id() != owner()) return;
      events().push_back({kind, slot, const_cast<const void*>(old), const_cast<const void*>(now)});
    };
    rt::set_barrier_flag(detail::barrier_record, true);
  }
  ~recording() { stop(); }
  void stop() {
    rt::set_barrier_flag(detail::barrier_record, false);
    rt::record_store = nullptr;
  }
  static uint64_t& owner() {
    static uint64_t id = 0;
    return id;
  }
  static std::vector<barrier_event>& events() {
    static std::vector<barrier_event> e;
    return e;
  }
  // What a marking would have been told of.
  static std::set<const void*> shaded() {
    std::set<const void*> s;
    for (const barrier_event& e : events()) s.insert(e.old), s.insert(e.now);
    return s;
  }
  // Was it seen that this value left that place?
  static bool left(const void* slot, const void* value) {
    for (const barrier_event& e : events()) {
      if (e.slot == slot && e.old == value) return true;
    }
    return false;
  }
};

// Where the heap says the object with this address begins; nullptr: in none. Spans may only be asked while nobody allocates or sweeps.
inline const void* object_at(const void* p) {
  rt::stop_the_world("a test looks at the heap");
  const rt::object_ref o = rt::memory().heap.find_object(reinterpret_cast<uintptr_t>(p));
  const void* const at = o ? reinterpret_cast<const void*>(o.address()) : nullptr;
  rt::start_the_world();
  return at;
}

// Runs f(0) to f(n - 1) on goroutines of their own, and collects until all of them have ended.
template <class F>
void run_while_collecting(int n, const F& f) {
  std::atomic<int> running{n};
  wait_group done;
  for (int i = 0; i < n; ++i)
    done.go([&running, &f, i] {
      f(i);
      --running;
    });
  while (running.load() > 0) {
    gc();
    yield();
  }
  done.wait();
}

}  // namespace warren::tests
