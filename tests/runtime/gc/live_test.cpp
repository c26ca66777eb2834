// The collector under a program: goroutines that build and change graphs on all Ps, while others collect.
// Run a second time by CTest with GCSTRESS, checkmark and poison (gc_live_test_stress), scaled down by WARREN_LIVE_SCALE.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <thread>
#include <variant>

#include <warren/chan.h>
#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/sync.h>

#include "runtime/memory.h"

namespace {

using namespace warren;

int scaled(int n) {
  const char* s = getenv("WARREN_LIVE_SCALE");
  const int by = s == nullptr ? 1 : atoi(s);
  return n / by > 0 ? n / by : 1;
}

class Live : public ::testing::Test {
 protected:
  void SetUp() override { rt::memory().gc.set_checkmark(true); }
};

// A binary search tree with random insertions and removals, whose shape is checked against its own count and order.
struct tree_node {
  uint64_t key;
  uint64_t guard;  // ~key
  ptr<tree_node> left, right;
};
class tree {
 public:
  void insert(uint64_t key) {
    ptr<tree_node>* at = &top_;
    while (*at) {
      if ((*at)->key == key) return;
      at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    }
    *at = make<tree_node>(key, ~key);
    ++size_;
  }
  void remove(uint64_t key) {
    ptr<tree_node>* at = &top_;
    while (*at && (*at)->key != key) at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    if (!*at) return;
    ptr<tree_node> gone = *at;
    if (!gone->left) {
      *at = gone->right;
    } else if (!gone->right) {
      *at = gone->left;
    } else {
      ptr<tree_node>* next = &gone->right;
      while ((*next)->left) next = &(*next)->left;
      ptr<tree_node> successor = *next;
      *next = successor->right;
      successor->left = gone->left;
      successor->right = gone->right;
      *at = successor;
    }
    --size_;
  }
  void check() const {
    size_t n = 0;
    walk(top_, 0, ~uint64_t{0}, &n);
    EXPECT_EQ(n, size_);
  }

 private:
  static void walk(const ptr<tree_node>& t, uint64_t lo, uint64_t hi, size_t* n) {
    if (!t) return;
    ASSERT_EQ(t->guard, ~t->key) << "memory of a live object was reused";
    ASSERT_TRUE(lo <= t->key && t->key <= hi);
    ++*n;
    walk(t->left, lo, t->key, n);
    walk(t->right, t->key, hi, n);
  }
  ptr<tree_node> top_;
  size_t size_ = 0;
};

uint64_t next_random(uint64_t* s) {
  *s ^= *s << 13;
  *s ^= *s >> 7;
  return *s ^= *s << 17;
}

TEST_F(Live, TreesOnManyGoroutinesWhileCollecting) {
  run([] {
    constexpr int kGoroutines = 20;
    std::atomic<int> running{kGoroutines};
    wait_group done;
    done.add(kGoroutines);
    for (int i = 0; i < kGoroutines; ++i) {
      go([&, i] {
        tree t;
        uint64_t seed = 88172645463325252ull + static_cast<uint64_t>(i) * 7919;
        for (int step = 0; step < scaled(6000); ++step) {
          const uint64_t key = next_random(&seed) % 500;
          next_random(&seed) % 3 ? t.insert(key) : t.remove(key);
          if (step % 64 == 0) yield();
          if (step % 1000 == 0) t.check();
        }
        t.check();
        running.fetch_sub(1);
        done.done();
      });
    }
    int cycles = 0;
    while (running.load() > 0) {
      gc();
      ++cycles;
      yield();
    }
    done.wait();
    EXPECT_GT(cycles, 0);
  });
}

TEST_F(Live, CollectFromSeveralGoroutinesAtOnce) {
  run([] {
    const uint64_t before = read_mem_stats().gc.cycles;
    wait_group done;
    done.add(8);
    for (int i = 0; i < 8; ++i) {
      go([&] {
        for (int k = 0; k < 5; ++k) {
          ptr<tree_node> mine = make<tree_node>(1u, ~uint64_t{1});
          const gc_report r = collect();
          EXPECT_GT(r.cycle, before);
          EXPECT_EQ(mine->guard, ~uint64_t{1});
        }
        done.done();
      });
    }
    done.wait();
    EXPECT_GE(read_mem_stats().gc.cycles, before + 5) << "one may serve several callers";
  });
}

TEST_F(Live, AllocationAloneKeepsTheHeapSmall) {
  run([] {
    gc();
    const mem_stats before = read_mem_stats();
    ptr<tree_node> keep;
    for (int i = 0; i < scaled(2'000'000); ++i) {
      ptr<tree_node> n = make<tree_node>(static_cast<uint64_t>(i), 0u);
      if (i % 1000 == 0) {
        n->left = keep;
        keep = n;
      }
    }
    const mem_stats after = read_mem_stats();
    if (scaled(20) == 20) {
      EXPECT_GT(after.gc.by_trigger[static_cast<size_t>(gc_trigger::small)],
                before.gc.by_trigger[static_cast<size_t>(gc_trigger::small)] + 5);
      EXPECT_LT(after.heap.mapped_bytes, before.heap.mapped_bytes + (16u << 20));
    }
    int n = 0;
    for (ptr<tree_node> at = keep; at; at = at->left) ++n;
    EXPECT_EQ(n, scaled(2'000'000) / 1000 + (scaled(2'000'000) % 1000 != 0 ? 1 : 0));
  });
}

TEST_F(Live, TriggersAreToldApart) {
  run([] {
    gc();
    auto count = [](gc_trigger t) { return read_mem_stats().gc.by_trigger[static_cast<size_t>(t)]; };
    const uint64_t tiny = count(gc_trigger::tiny), small = count(gc_trigger::small), large = count(gc_trigger::large);
    const uint64_t manual = count(gc_trigger::manual), background = count(gc_trigger::background);
    for (int i = 0; i < 20'000'000 && count(gc_trigger::tiny) == tiny; ++i)
      for (int k = 0; k < 1000; ++k) (void)make<char>('x');
    EXPECT_GT(count(gc_trigger::tiny), tiny);
    for (int i = 0; i < 20'000'000 && count(gc_trigger::small) == small; ++i)
      for (int k = 0; k < 100; ++k) (void)make<tree_node>();
    EXPECT_GT(count(gc_trigger::small), small);
    for (int i = 0; i < 10'000 && count(gc_trigger::large) == large; ++i) (void)make_array<char>(100'000);
    EXPECT_GT(count(gc_trigger::large), large);
    gc();
    EXPECT_EQ(count(gc_trigger::manual), manual + 1);
    rt::start_background_gc();
    EXPECT_EQ(count(gc_trigger::background), background + 1);
  });
}

// What only the closure of a goroutine that has not started, a parked stack, a channel's buffer or a goroutine in a blocking region holds.
TEST_F(Live, HiddenPlacesAreScanned) {
  run([] {
    constexpr int n = 50;
    wait_group done;
    done.add(n);
    chan<ptr<tree_node>> buffered = make_chan<ptr<tree_node>>(n);
    chan<ptr<tree_node>> handed = make_chan<ptr<tree_node>>(0);
    for (int i = 0; i < n; ++i) {
      const uint64_t key = static_cast<uint64_t>(i);
      buffered.send(make<tree_node>(key, ~key));
      go([p = make<tree_node>(key, ~key), &done, &handed] {
        EXPECT_EQ(p->guard, ~p->key);
        handed.send(make<tree_node>(p->key, ~p->key));  // parks with the element on this stack
        EXPECT_EQ(p->guard, ~p->key);
        done.done();
      });
    }
    gc();
    for (int k = 0; k < 20'000; ++k) (void)make<tree_node>(1u, 1u);
    yield();
    gc();
    for (int k = 0; k < 20'000; ++k) (void)make<tree_node>(1u, 1u);
    for (int i = 0; i < n; ++i) {
      const ptr<tree_node> a = *buffered.recv();
      EXPECT_EQ(a->key, static_cast<uint64_t>(i));
      EXPECT_EQ(a->guard, ~a->key);
      const ptr<tree_node> b = *handed.recv();
      EXPECT_EQ(b->guard, ~b->key);
      if (i % 10 == 0) gc();
    }
    done.wait();
  });
}

TEST_F(Live, BlockingRegionsAreScannedAndMayUseRoots) {
  run([] {
    std::atomic<bool> inside{false}, leave{false};
    wait_group done;
    done.add(1);
    go([&] {
      ptr<tree_node> mine = make<tree_node>(5u, ~uint64_t{5});
      root<tree_node> r = mine;
      blocking([&] {
        inside = true;
        while (!leave.load()) {
          root<tree_node> copy = r;  // waits while a collection marks
          EXPECT_EQ(copy->guard, ~copy->key);
        }
      });
      EXPECT_EQ(mine->guard, ~mine->key);
      done.done();
    });
    while (!inside.load()) yield();
    for (int i = 0; i < 20; ++i) {
      gc();
      for (int k = 0; k < scaled(2000); ++k) (void)make<tree_node>(1u, 1u);
    }
    leave = true;
    done.wait();
  });
}

// Objects whose only references are callee-saved registers of the frame that calls blocking(): the compiler's favourite place for a `this`
// that lives across a call.
std::atomic<int> witnesses_destroyed{0};
struct witness {
  using collected = finalized;
  uint64_t mark = 0x5afe'5afe;
  ~witness() { ++witnesses_destroyed; }
};
[[gnu::noinline]] witness* make_witness() { return make<witness>().get(); }
[[gnu::noinline]] void overwrite_dead_frames() {
  volatile char junk[8192];
  for (size_t i = 0; i < sizeof junk; ++i) junk[i] = 0;
}

[[gnu::noinline]] void hold_in_registers_only(std::atomic<bool>& inside, std::atomic<bool>& collected) {
  // Three live values with no address taken, opaque to the optimizer, used after the call: they go to callee-saved registers.
  witness* a = make_witness();
  witness* b = make_witness();
  witness* c = make_witness();
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c));
  overwrite_dead_frames();
  blocking([&] {
    overwrite_dead_frames();
    inside = true;
    while (!collected) std::this_thread::yield();
  });
  EXPECT_EQ(a->mark + b->mark + c->mark, 3 * uint64_t{0x5afe'5afe});
}

TEST_F(Live, RegistersOfBlockingRegionsAreScanned) {
  run([] {
    witnesses_destroyed = 0;
    std::atomic<bool> inside{false};
    std::atomic<bool> collected{false};
    std::atomic<bool> done{false};
    go([&] {
      hold_in_registers_only(inside, collected);
      done = true;
    });
    while (!inside) yield();
    for (int i = 0; i < 3; ++i) gc();
    yield();
    EXPECT_EQ(witnesses_destroyed.load(), 0);
    collected = true;
    while (!done) yield();
  });
}

TEST_F(Live, ForeignThreadsHoldRoots) {
  run([] {
    std::atomic<bool> stop{false};
    root<tree_node> shared = make<tree_node>(9u, ~uint64_t{9});
    std::thread t([&] {
      while (!stop.load()) {
        root<tree_node> a = shared;
        root<tree_node> b = std::move(a);
        root<tree_node> c = b;
        EXPECT_EQ(c->guard, ~c->key);
      }
    });
    for (int i = 0; i < 30; ++i) {
      gc();
      for (int k = 0; k < scaled(2000); ++k) (void)make<tree_node>(1u, 1u);
    }
    stop = true;
    blocking([&] { t.join(); });
  });
}

struct shifting {
  std::optional<ptr<tree_node>> maybe;
  std::variant<uint64_t, ptr<tree_node>, double> any;
  std::array<ptr<tree_node>, 3> three;
};
TEST_F(Live, OptionalsAndVariantsChangeShape) {
  run([] {
    array<ptr<shifting>> all = make_array<ptr<shifting>>(200);
    for (auto& p : all) p = make<shifting>();
    uint64_t seed = 1;
    auto fresh = [&] {
      const uint64_t key = next_random(&seed);
      return make<tree_node>(key, ~key);
    };
    for (int step = 0; step < scaled(60'000); ++step) {
      shifting& s = *all[next_random(&seed) % all.size()];
      switch (next_random(&seed) % 7) {
        case 0: s.maybe = fresh(); break;
        case 1: s.maybe.reset(); break;
        case 2: s.any = fresh(); break;
        case 3: s.any = next_random(&seed); break;
        case 4: s.three[next_random(&seed) % 3] = fresh(); break;
        case 5: std::swap(s.three[0], s.three[2]); break;
        case 6: s.any = 0.5; break;
      }
      if (step % 4000 == 0) gc();
    }
    gc();
    for (const auto& p : all) {
      auto whole = [](const ptr<tree_node>& n) { return !n || n->guard == ~n->key; };
      EXPECT_TRUE(!p->maybe || whole(*p->maybe));
      const auto* const n = std::get_if<ptr<tree_node>>(&p->any);
      EXPECT_TRUE(n == nullptr || whole(*n));
      for (const auto& one : p->three) EXPECT_TRUE(whole(one));
    }
  });
}

// Objects survive the run that made them as long as a root holds them; the rest is garbage of the next.
TEST_F(Live, TheHeapPersistsOverRuns) {
  root<tree_node> kept;
  run([&] {
    kept = make<tree_node>(3u, ~uint64_t{3});
    for (int i = 0; i < 1000; ++i) (void)make<tree_node>(1u, 1u);
  });
  for (int i = 0; i < 5; ++i) {
    run([&] {
      gc();
      for (int k = 0; k < 1000; ++k) (void)make<tree_node>(1u, 1u);
      EXPECT_EQ(kept->guard, ~uint64_t{3});
    });
  }
}

TEST_F(Live, StatsAddUp) {
  run([] {
    gc();
    const mem_stats a = read_mem_stats();
    for (int i = 0; i < 1000; ++i) (void)make<tree_node>();
    const mem_stats b = read_mem_stats();
    EXPECT_GE(b.heap.mallocs, a.heap.mallocs + 1000);
    EXPECT_EQ(b.heap.objects, b.heap.mallocs - b.heap.frees);
    EXPECT_GE(b.heap.mcache_hits + b.heap.mcentral_hits + b.heap.page_cache_hits + b.heap.mheap_hits,
              a.heap.mcache_hits + a.heap.mcentral_hits + a.heap.page_cache_hits + a.heap.mheap_hits + 990);
    EXPECT_GT(b.heap.reserved_bytes, 0u);
    EXPECT_GE(b.heap.mapped_bytes, b.heap.span_bytes);
    const gc_report r = collect();
    EXPECT_EQ(r.bytes_before + r.bytes_made - r.bytes_freed, r.bytes_marked);
    EXPECT_EQ(r.objects_before + r.objects_made - r.objects_freed, r.objects_marked);
    if (rt::memory().options.stress == 0) {
      EXPECT_GE(r.objects_freed, 900u);
    }
    EXPECT_GT(r.pause_ns, 0);
    EXPECT_GE(r.pause_ns, r.pause_max_ns);
    EXPECT_GT(r.stack_bytes, 0u);
  });
}

}  // namespace
