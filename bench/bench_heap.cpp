// bench_heap: what making a collected object costs. The objects are garbage as soon as the next one is made; the collector is on, with its
// default GOGC. Twin: bench/peers/go/src/warrenbench/heap/main.go.
#include <array>
#include <cstdint>

#include <warren/ptr.h>

#include "bench/support.h"
#include "runtime/memory.h"

namespace {

using benchmark::State;

struct node {  // 16 bytes, the first word a pointer
  warren::ptr<node> next;
  int64_t value;
};
static_assert(sizeof(node) == 16);

struct block64 {
  std::array<char, 64> bytes;
};

struct block1k {
  std::array<char, 1024> bytes;
};

// Not inlined: the twin's must not be either, or its objects would stay on the stack.
[[gnu::noinline]] warren::ptr<node> make_node(int64_t v) { return warren::make<node>(nullptr, v); }
[[gnu::noinline]] warren::ptr<block64> make_block64() { return warren::make<block64>(); }
[[gnu::noinline]] warren::ptr<block1k> make_block1k() { return warren::make<block1k>(); }

void make16(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) benchmark::DoNotOptimize(make_node(i));
  });
}

void make64_noscan(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) benchmark::DoNotOptimize(make_block64());
  });
}

void make1k_noscan(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) benchmark::DoNotOptimize(make_block1k());
  });
}

// A store of a ptr into a collected object, n times into one slot of 64 objects in turn; and the same while a collection is held in its
// marking. What the barrier shades then has been marked before.
struct cell {
  warren::ptr<node> to;
};
void store(State& state) {
  std::array<warren::ptr<cell>, 64> cells;
  for (auto& c : cells) c = warren::make<cell>();
  const warren::ptr<node> a = make_node(1);
  const warren::ptr<node> b = make_node(2);
  bench::timed(state, [&](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      cells[static_cast<size_t>(i) % 64]->to = i % 2 == 0 ? a : b;
      asm volatile("" ::: "memory");
    }
  });
}
void barrier_off(State& state) { store(state); }
void barrier_on(State& state) {
  warren::rt::collector& gc = warren::rt::memory().gc;
  gc.start(warren::gc_trigger::manual, true);
  store(state);
  do {
    while (gc.mark(~uint64_t{0}) != 0) {
    }
  } while (!gc.finish());
}

}  // namespace

int main(int argc, char** argv) {
  bench::add("make16", make16);
  bench::add("make64_noscan", make64_noscan);
  bench::add("make1k_noscan", make1k_noscan);
  bench::add("barrier_off", barrier_off);
  bench::add("barrier_on", barrier_on);
  return bench::main(argc, argv);
}
