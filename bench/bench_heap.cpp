// bench_heap: what making a collected object costs. The objects are garbage as soon as the next one is made; the collector is on, with its
// default GOGC. Twin: bench/peers/go/src/warrenbench/heap/main.go.
#include <array>
#include <cstdint>

#include <warren/ptr.h>

#include "bench/support.h"

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

}  // namespace

int main(int argc, char** argv) {
  bench::add("make16", make16);
  bench::add("make64_noscan", make64_noscan);
  bench::add("make1k_noscan", make1k_noscan);
  return bench::main(argc, argv);
}
