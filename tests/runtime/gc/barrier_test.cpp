// Every store of a ptr passes the barrier: each kind of store the language has, against what the barrier's recorder saw.
#include "runtime/gc/barrier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>

#include "runtime/memory.h"
#include "runtime/sched/barrier_buffer.h"
#include "runtime/sched/m.h"
#include "tests/death_style.h"

namespace {

using namespace warren;
using rt::store_kind;

struct event {
  store_kind kind;
  const void* slot;
  const void* old;
  const void* now;
};
std::vector<event> events;

void record(store_kind kind, const void* slot, const volatile void* old, const volatile void* now) {
  events.push_back({kind, slot, const_cast<const void*>(old), const_cast<const void*>(now)});
}

// Records between construction and destruction, on one goroutine at a time.
class recording {
 public:
  recording() {
    events.clear();
    rt::record_store = &record;
    rt::set_barrier_flag(detail::barrier_record, true);
  }
  ~recording() {
    rt::set_barrier_flag(detail::barrier_record, false);
    rt::record_store = nullptr;
  }
};

int count(store_kind k, const void* slot, const void* old, const void* now) {
  return static_cast<int>(std::count_if(events.begin(), events.end(),
                                        [&](const event& e) { return e.kind == k && e.slot == slot && e.old == old && e.now == now; }));
}
#define EXPECT_STORE(kind, slot, old, now) EXPECT_EQ(count(store_kind::kind, slot, old, now), 1) << "the barrier must see it exactly once"

struct node {
  int key = 0;
  ptr<node> next;
};
struct derived_node : node {
  int extra = 0;
  WARREN_FIELDS_WITH_BASE(node, extra);
};

void on_goroutine(void (*f)()) {
  warren::run([f] { f(); });
}

TEST(Barrier, Construct) {
  on_goroutine([] {
    ptr<node> a = make<node>();
    ptr<derived_node> d = make<derived_node>();
    {
      recording r;
      ptr<node> copy(a);
      EXPECT_STORE(construct, &copy, nullptr, a.get());
      ptr<node> moved(std::move(copy));
      EXPECT_STORE(construct, &moved, nullptr, a.get());
      ptr<node> raw(a.get());
      EXPECT_STORE(construct, &raw, nullptr, a.get());
      ptr<node> base(d);
      EXPECT_STORE(construct, &base, nullptr, static_cast<node*>(d.get()));
      ptr<const node> constant(a);
      EXPECT_STORE(construct, &constant, nullptr, a.get());
      EXPECT_EQ(events.size(), 5u);
      ptr<node> null, zero = nullptr;
      EXPECT_EQ(events.size(), 5u) << "a null ptr hides and publishes nothing";
    }
  });
}

TEST(Barrier, AssignInACollectedObject) {
  on_goroutine([] {
    ptr<node> a = make<node>(), b = make<node>(), holder = make<node>();
    ptr<derived_node> d = make<derived_node>();
    {
      recording r;
      holder->next = a;
      EXPECT_STORE(assign, &holder->next, nullptr, a.get());
      holder->next = b;
      EXPECT_STORE(assign, &holder->next, a.get(), b.get());
      holder->next = d;
      EXPECT_STORE(assign, &holder->next, b.get(), static_cast<node*>(d.get()));
      holder->next = nullptr;
      EXPECT_STORE(assign, &holder->next, static_cast<node*>(d.get()), nullptr);
      holder->next = make<node>();
      EXPECT_STORE(assign, &holder->next, nullptr, holder->next.get());
      ptr<node>& self = holder->next;
      events.clear();
      holder->next = self;
      EXPECT_STORE(assign, &holder->next, self.get(), self.get());
      events.clear();
      holder->next = std::move(a);
      EXPECT_EQ(events.size(), 1u);
      EXPECT_TRUE(a) << "moving copies";
    }
  });
}

TEST(Barrier, SwapAndExchange) {
  on_goroutine([] {
    ptr<node> a = make<node>(), b = make<node>();
    node* const pa = a.get();
    node* const pb = b.get();
    {
      recording r;
      swap(a, b);
      EXPECT_STORE(assign, &a, pa, pb);
      EXPECT_STORE(assign, &b, pb, pa);
      events.clear();
      std::swap(a, b);
      EXPECT_EQ(a.get(), pa);
      EXPECT_STORE(assign, &a, pb, pa);
      EXPECT_STORE(assign, &b, pa, pb);
      events.clear();
      const ptr<node> was = std::exchange(a, b);
      EXPECT_EQ(was.get(), pa);
      EXPECT_STORE(assign, &a, pa, pb);
    }
  });
}

TEST(Barrier, Destroy) {
  on_goroutine([] {
    ptr<node> a = make<node>();
    alignas(ptr<node>) std::byte place[sizeof(ptr<node>)];
    {
      recording r;
      auto* p = ::new (place) ptr<node>(a);
      EXPECT_STORE(construct, place, nullptr, a.get());
      p->~ptr();
      EXPECT_STORE(destroy, place, a.get(), nullptr);
    }
  });
}

TEST(Barrier, OptionalAndVariant) {
  on_goroutine([] {
    ptr<node> a = make<node>(), b = make<node>();
    {
      recording r;
      std::optional<ptr<node>> o(a);
      const void* const slot = &*o;
      EXPECT_STORE(construct, slot, nullptr, a.get());
      o = b;
      EXPECT_STORE(assign, slot, a.get(), b.get());
      o.reset();
      EXPECT_STORE(destroy, slot, b.get(), nullptr);
      events.clear();
      o.emplace(a);
      EXPECT_STORE(construct, slot, nullptr, a.get());
      o = std::nullopt;
      EXPECT_STORE(destroy, slot, a.get(), nullptr);

      events.clear();
      std::variant<int, ptr<node>, double> v(a);
      const void* const at = &std::get<1>(v);
      EXPECT_STORE(construct, at, nullptr, a.get());
      v = b;
      EXPECT_STORE(assign, at, a.get(), b.get());
      v = 3;
      EXPECT_STORE(destroy, at, b.get(), nullptr);
      v.emplace<1>(a);
      EXPECT_EQ(count(store_kind::construct, at, nullptr, a.get()), 2);
    }
  });
}

TEST(Barrier, ArraysAndAggregates) {
  on_goroutine([] {
    ptr<node> a = make<node>(), b = make<node>();
    array<ptr<node>> heap_array = make_array<ptr<node>>(4);
    {
      recording r;
      heap_array[2] = a;
      EXPECT_STORE(assign, &heap_array[2], nullptr, a.get());
      std::copy_backward(heap_array.begin(), heap_array.begin() + 3, heap_array.end());
      EXPECT_STORE(assign, &heap_array[3], nullptr, a.get());
      std::fill(heap_array.begin(), heap_array.end(), b);
      for (auto& p : heap_array) EXPECT_EQ(p, b);
      events.clear();
      std::sort(heap_array.begin(), heap_array.end());
      std::rotate(heap_array.begin(), heap_array.begin() + 1, heap_array.end());
      for (const event& e : events) EXPECT_TRUE(e.now == b.get() || e.old == b.get());
      EXPECT_GE(events.size(), 4u);

      events.clear();
      std::array<ptr<node>, 3> on_stack{a, b, a};
      for (int i = 0; i < 3; ++i) EXPECT_STORE(construct, &on_stack[i], nullptr, on_stack[i].get());
      events.clear();
      auto copy = on_stack;
      EXPECT_EQ(events.size(), 3u);
      copy.fill(b);
      EXPECT_EQ(events.size(), 6u);

      events.clear();
      node n{1, a};
      EXPECT_STORE(construct, &n.next, nullptr, a.get());
      node m = n;
      EXPECT_STORE(construct, &m.next, nullptr, a.get());
      m = node{2, b};
      EXPECT_STORE(assign, &m.next, a.get(), b.get());

      events.clear();
      const ptr<node> made = make<node>(3, a);
      EXPECT_STORE(construct, &made->next, nullptr, a.get());
      EXPECT_STORE(construct, &made, nullptr, made.get());
    }
    array<node> nodes = make_array<node>(3);
    {
      recording r;
      array<node> other = nodes;
      EXPECT_EQ(events.size(), 1u) << "an array's address is a ptr";
      other = nodes.slice(1, 3);
      EXPECT_GE(events.size(), 2u);
    }
  });
}

// A vector on a stack whose elements lie in malloc's memory: stores are seen there too (and refused by the check of debug builds: so it is
// off here).
TEST(Barrier, VectorOfPtr) {
  on_goroutine([] {
    const uint32_t was = detail::barrier_flags.load();
    rt::set_barrier_flag(detail::barrier_check, false);
    ptr<node> a = make<node>(), b = make<node>();
    {
      recording r;
      std::vector<ptr<node>> v;
      v.reserve(2);
      v.push_back(a);
      EXPECT_STORE(construct, &v[0], nullptr, a.get());
      v.push_back(b);
      const void* const second = &v[1];
      events.clear();
      v.erase(v.begin());
      EXPECT_STORE(assign, &v[0], a.get(), b.get());
      EXPECT_STORE(destroy, second, b.get(), nullptr);
      events.clear();
      v.reserve(100);
      EXPECT_EQ(events.size(), 2u) << "moved: one construction, one destruction";
      events.clear();
      v.clear();
      EXPECT_EQ(events.size(), 1u);
    }
    if ((was & detail::barrier_check) != 0) rt::set_barrier_flag(detail::barrier_check, true);
  });
}

TEST(Barrier, LambdaCaptures) {
  on_goroutine([] {
    ptr<node> a = make<node>();
    recording r;
    auto f = [a] { return a->key; };
    EXPECT_EQ(events.size(), 1u);
    auto g = f;
    EXPECT_EQ(events.size(), 2u);
    auto h = std::move(g);
    EXPECT_EQ(events.size(), 3u);
    EXPECT_EQ(h(), 0);
  });
}

// ---- the thread's buffer ----
std::vector<uintptr_t> taken(rt::barrier_buffer& b) {
  std::vector<uintptr_t> words;
  b.take([&](uintptr_t w) { words.push_back(w); });
  return words;
}
uintptr_t address(const ptr<node>& p) { return reinterpret_cast<uintptr_t>(p.get()); }

// While marking, both the old and the new value are shaded, and a destroyed ptr is cleared.
TEST(Barrier, ShadesBothAndClearsTheDestroyed) {
  on_goroutine([] {
    ptr<node> a = make<node>(), b = make<node>(), holder = make<node>();
    holder->next = a;
    rt::barrier_buffer& shaded = rt::getm()->shaded;
    shaded.forget();
    alignas(ptr<node>) std::byte place[sizeof(ptr<node>)];
    auto* p = ::new (place) ptr<node>(b);
    rt::set_barrier_flag(detail::barrier_marking, true);
    holder->next = b;
    const std::vector<uintptr_t> by_assign = taken(shaded);
    shaded.forget();
    p->~ptr();
    const std::vector<uintptr_t> by_destroy = taken(shaded);
    rt::set_barrier_flag(detail::barrier_marking, false);
    EXPECT_EQ(by_assign, (std::vector{address(a), address(b)}));
    EXPECT_EQ(by_destroy, std::vector{address(b)});
    void* word;
    memcpy(&word, place, sizeof word);
    EXPECT_EQ(word, nullptr);
  });
}

// What was made while marking is black: to store it shades nothing, as long as the thread remembers.
TEST(Barrier, ANewObjectNeedsNoShading) {
  on_goroutine([] {
    ptr<node> holder = make<node>();
    rt::barrier_buffer& shaded = rt::getm()->shaded;
    (void)make<node>();  // the span is at hand from here on
    shaded.forget();
    rt::memory().heap.set_allocate_black(true);
    rt::set_barrier_flag(detail::barrier_marking, true);
    ptr<node> a = make<node>();
    holder->next = a;
    a = nullptr;
    const std::vector<uintptr_t> pushed = taken(shaded);
    rt::set_barrier_flag(detail::barrier_marking, false);
    rt::memory().heap.set_allocate_black(false);
    EXPECT_EQ(pushed, std::vector<uintptr_t>{});
  });
}

TEST(BarrierBuffer, AWordIsPushedOnceInACycle) {
  const auto b = std::make_unique<rt::barrier_buffer>();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(b->push(0x1000));
  EXPECT_EQ(taken(*b), std::vector<uintptr_t>{0x1000});
  EXPECT_TRUE(b->push(0x1000));
  EXPECT_TRUE(b->empty()) << "it was shaded, whoever has taken it";
  b->forget();
  EXPECT_TRUE(b->push(0x1000));
  EXPECT_EQ(taken(*b), std::vector<uintptr_t>{0x1000});
}
TEST(BarrierBuffer, WhatItHasNoRoomForIsNotTakenForPushed) {
  const auto b = std::make_unique<rt::barrier_buffer>();
  uintptr_t next = 0x1000;
  std::vector<uintptr_t> pushed;
  for (; b->push(next); next += 16) pushed.push_back(next);
  EXPECT_EQ(pushed.size(), rt::barrier_buffer::kCapacity);
  EXPECT_FALSE(b->push(next));
  EXPECT_EQ(taken(*b), pushed);
  EXPECT_TRUE(b->push(next));
  EXPECT_EQ(taken(*b), std::vector<uintptr_t>{next});
  // One that displaced it in the memory of the buffer is no reason to lose either.
  for (const uintptr_t w : pushed) EXPECT_TRUE(b->push(w));
  const std::vector<uintptr_t> again = taken(*b);
  for (const uintptr_t w : again) EXPECT_TRUE(std::ranges::find(pushed, w) != pushed.end());
}

ptr<node>* outside = nullptr;
TEST(BarrierDeathTest, StoreByAThreadWithoutPDuringMarking) {
  tests::choose_death_style();
  EXPECT_DEATH(on_goroutine([] {
                 ptr<node> a = make<node>(), b = make<node>();
                 outside = &a;
                 rt::set_barrier_flag(detail::barrier_marking, true);
                 node* const raw = b.get();
                 std::thread([raw] { *outside = ptr<node>(raw); }).join();
               }),
               "fatal error: a warren::ptr at .* during a collection by a thread without a P .*use warren::root");
}

ptr<node> in_static_data;
TEST(BarrierDeathTest, CheckFindsAPtrInStaticData) {
  tests::choose_death_style();
  EXPECT_DEATH(
      on_goroutine([] {
        rt::set_barrier_flag(detail::barrier_check, true);
        in_static_data = make<node>();
      }),
      "fatal error: a warren::ptr at .* was assigned outside the collected heap and the goroutine stacks, .*: use warren::root there");
}

TEST(BarrierDeathTest, CheckFindsAPtrOnAThreadsStack) {
  tests::choose_death_style();
  EXPECT_DEATH(
      {
        rt::set_barrier_flag(detail::barrier_check, true);
        root<node> r;
        warren::run([&] { r = make<node>(); });
        ptr<node> here = r;
      },
      "fatal error: a warren::ptr at .* was constructed outside the collected heap");
}

TEST(BarrierDeathTest, CheckFindsAPtrInMallocedMemory) {
  tests::choose_death_style();
  EXPECT_DEATH(
      on_goroutine([] {
        rt::set_barrier_flag(detail::barrier_check, true);
        std::vector<ptr<node>> several;
        several.push_back(make<node>());
      }),
      "fatal error: a warren::ptr at .* was constructed outside the collected heap and the goroutine stacks, .*: use warren::root");
}

// In every build, once a collection marks.
TEST(BarrierDeathTest, AMarkingFindsAPtrInMallocedMemory) {
  tests::choose_death_style();
  EXPECT_DEATH(on_goroutine([] {
                 rt::set_barrier_flag(detail::barrier_check, false);
                 const auto outside = std::make_unique<ptr<node>>();
                 for (;;) {
                   go([] { gc(); });
                   for (int i = 0; i < 1000; ++i) {
                     *outside = make<node>();
                     if (i % 100 == 0) yield();
                   }
                 }
               }),
               "fatal error: a warren::ptr at .* was assigned outside the collected heap and the goroutine stacks, .*: use warren::root");
}

TEST(Barrier, CheckAcceptsHeapStackAndClosures) {
  const uint32_t was = detail::barrier_flags.load();
  rt::set_barrier_flag(detail::barrier_check, true);
  on_goroutine([] {
    ptr<node> a = make<node>();
    a->next = a;
    struct {
      ptr<node> p;
      char padding[200];
    } large{a, {}};
    for (int i = 0; i < 10; ++i) {
      go([a] { EXPECT_TRUE(a); });
      go([large] { EXPECT_TRUE(large.p); });
      yield();
    }
    array<ptr<node>> many = make_array<ptr<node>>(10'000);
    std::fill(many.begin(), many.end(), a);
  });
  if ((was & detail::barrier_check) == 0) rt::set_barrier_flag(detail::barrier_check, false);
}

}  // namespace
