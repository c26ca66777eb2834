// bench_gc: what the collector costs a program, and how long it stops it. Twin: bench/peers/go/src/warrenbench/gc/main.go.
//
//   binary_trees/N           the Computer Language Benchmarks Game's program of that name, depth N, on one goroutine
//   mark_rate                one collection of 1 GB of linked nodes; bytes_per_second: live bytes over the time of a collection by hand
//   pauses                   100 000 parked goroutines, 1 GB live, two goroutines allocate at 200 MB/s together for ten seconds. The
//   counters
//                            are of the stops of the world in that time
//   collect_million_parked   one collection with a million parked goroutines
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include <warren/chan.h>
#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/sync.h>

#include "bench/support.h"
#include "bench/trees.h"

namespace {

using benchmark::State;
using warren::ptr;

// ---- binary trees -----------------------------------------------------------------------------------------------------------------------
struct tree {
  ptr<tree> left, right;
};
struct collected {
  using node = tree;
  using handle = ptr<tree>;
  static const tree* at(const ptr<tree>& t) { return t.get(); }
  static ptr<tree> make(const ptr<tree>& l, const ptr<tree>& r) { return warren::make<tree>(l, r); }
  static void drop(ptr<tree>& t) { t = nullptr; }
};

template <int Depth>
void binary_trees(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t k = 0; k < n; k++)
      if (!bench::trees<collected>::run(Depth)) bench::wrong("a tree lost nodes");
  });
}

// ---- a large heap -----------------------------------------------------------------------------------------------------------------------
struct node {  // 64 bytes
  ptr<node> next[4];
  int64_t payload[4] = {};
};
static_assert(sizeof(node) == 64);

// So many bytes of nodes, each reached from a table, and linked at random.
warren::array<ptr<node>> large_heap(size_t bytes) {
  const size_t n = bytes / (sizeof(node) + sizeof(void*));
  const warren::array<ptr<node>> all = warren::make_array<ptr<node>>(n);
  uint64_t seed = 88172645463325252u;
  for (size_t i = 0; i < n; i++) {
    ptr<node> made = warren::make<node>();
    for (auto& to : made->next) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      if (i > 0) to = all[seed % i];
    }
    all[i] = made;
  }
  return all;
}

void mark_rate(State& state) {
  const auto heap = large_heap(size_t{1} << 30);
  warren::gc();
  const auto live = static_cast<double>(warren::read_mem_stats().gc.last.bytes_marked);
  double seconds = 0;
  bench::timed(state, [&](int64_t n) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < n; i++) warren::gc();
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(n);
  });
  state.counters["bytes_per_second"] = live / seconds;
  benchmark::DoNotOptimize(heap.data());
}

// ---- pauses -----------------------------------------------------------------------------------------------------------------------------
// Goroutines that wait for the end.
class crowd {
 public:
  explicit crowd(int64_t n) {
    done_.add(static_cast<int>(n));
    for (int64_t i = 0; i < n; i++)
      warren::go([this, end = end_] {
        ++begun_;
        (void)end.recv();
        done_.done();
      });
    while (begun_ < n) warren::yield();
  }
  ~crowd() {
    end_.close();
    done_.wait();
  }

 private:
  warren::chan<warren::unit> end_ = warren::make_chan<warren::unit>();
  warren::wait_group done_;
  std::atomic<int64_t> begun_{0};
};

void pauses(State& state) {
  const auto heap = large_heap(size_t{1} << 30);
  crowd parked(100'000);
  const warren::gc_stats before = warren::read_mem_stats().gc;
  bench::timed(state, [](int64_t) {
    static constexpr auto kTime = std::chrono::seconds(10);
    static constexpr int64_t kBytesEach = 100'000'000;  // per second and goroutine
    warren::wait_group wg;
    for (int g = 0; g < 2; g++) {
      wg.add(1);
      warren::go([&wg] {
        const auto begin = std::chrono::steady_clock::now();
        for (int64_t made = 0;;) {
          for (int i = 0; i < 1000; i++, made += static_cast<int64_t>(sizeof(node))) benchmark::DoNotOptimize(warren::make<node>());
          const auto due = begin + std::chrono::nanoseconds(made * 1'000'000'000 / kBytesEach);
          const auto now = std::chrono::steady_clock::now();
          if (now - begin > kTime) break;
          if (due > now) warren::sleep(due - now);
        }
        wg.done();
      });
    }
    wg.wait();
  });
  const warren::gc_stats after = warren::read_mem_stats().gc;
  std::vector<int64_t> ns;
  const uint64_t most = after.recent_pauses_ns.size();
  for (uint64_t i = std::max(before.pause_count, after.pause_count > most ? after.pause_count - most : 0); i < after.pause_count; i++)
    ns.push_back(after.recent_pauses_ns[i % most]);
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) {
    return ns.empty() ? 0.0 : static_cast<double>(ns[static_cast<size_t>(q * static_cast<double>(ns.size() - 1))]) / 1000;
  };
  state.counters["pauses"] = static_cast<double>(ns.size());
  state.counters["p50_us"] = at(0.5);
  state.counters["p99_us"] = at(0.99);
  state.counters["max_us"] = at(1);
  benchmark::DoNotOptimize(heap.data());
}

void collect_million_parked(State& state) {
  crowd parked(1'000'000);
  warren::gc();
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) warren::gc();
  });
}

}  // namespace

int main(int argc, char** argv) {
  bench::add("binary_trees/16", binary_trees<16>);
  bench::add_once("binary_trees/21", binary_trees<21>);
  bench::add("mark_rate", mark_rate);
  bench::add_once("pauses", pauses);
  bench::add("collect_million_parked", collect_million_parked);
  return bench::main(argc, argv);
}
