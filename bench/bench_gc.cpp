// bench_gc: what the collector costs a program, and how long it stops it. Twin: bench/peers/go/src/warrenbench/gc/main.go.
//
//   binary_trees/N           the Computer Language Benchmarks Game's program of that name, depth N, on one goroutine
//   mark_rate                one collection of 1 GB of linked nodes; bytes_per_second: live bytes over the time of a collection by hand
//   mark_scattered           the same, where no table leads to the nodes in the order of their addresses
//   pauses                   100 000 parked goroutines, 1 GB live, two goroutines allocate at 200 MB/s together for 30 seconds. Counters of
//                            the stops of the world in that time, and of how late a goroutine is that is due every millisecond
//   weak_pointers            a million weak pointers: counters of the longest stop of the world in each of some collections
//   finalized_objects        the same with a million objects that have destructors
//   churn                    200 000 objects that are replaced ten million times, of sizes that drift. Counters: resident memory over the
//                            bytes asked for and alive, at the end and at its worst
//   collect_million_parked   one collection with a million parked goroutines
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <vector>

#include <warren/chan.h>
#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/sync.h>
#include <warren/weak.h>

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

// Whole collections of what lives now.
void time_collections(State& state) {
  warren::gc();
  const auto live = static_cast<double>(warren::read_mem_stats().gc.last.bytes_marked);
  double seconds = 0;
  bench::timed(state, [&](int64_t n) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < n; i++) warren::gc();
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(n);
  });
  state.counters["bytes_per_second"] = live / seconds;
}

void mark_rate(State& state) {
  const auto heap = large_heap(size_t{1} << 30);
  time_collections(state);
  benchmark::DoNotOptimize(heap.data());
}

// The same size, and every node is found through two others only, which lie anywhere: a tree laid over the nodes in no order, and two links
// at random in each.
void mark_scattered(State& state) {
  ptr<node> root;
  {
    const size_t n = (size_t{1} << 30) / sizeof(node);
    auto all = warren::make_array<ptr<node>>(n);
    for (auto& at : all) at = warren::make<node>();
    uint64_t seed = 88172645463325252u;
    const auto random = [&seed](size_t below) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      return seed % below;
    };
    for (size_t i = n - 1; i > 0; i--) {
      const size_t k = random(i + 1);
      const ptr<node> t = all[i];
      all[i] = all[k];
      all[k] = t;
    }
    for (size_t i = 0; i < n; i++) {
      for (size_t k = 0; k < 2; k++)
        if (2 * i + 1 + k < n) all[i]->next[k] = all[2 * i + 1 + k];
      for (size_t k = 2; k < 4; k++) all[i]->next[k] = all[random(n)];
    }
    root = all[0];
    for (auto& at : all) at = nullptr;
  }
  time_collections(state);
  benchmark::DoNotOptimize(root.get());
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

double quantile_us(const std::vector<int64_t>& sorted_ns, double q) {
  return sorted_ns.empty() ? 0.0
                           : static_cast<double>(sorted_ns[static_cast<size_t>(q * static_cast<double>(sorted_ns.size() - 1))]) / 1000;
}

// How late a goroutine is that is due every millisecond.
class prober {
 public:
  prober() {
    wg_.add(1);
    warren::go([this] {
      auto due = std::chrono::steady_clock::now();
      while (!end_) {
        due += std::chrono::milliseconds(1);
        const auto now = std::chrono::steady_clock::now();
        if (due > now) warren::sleep(due - now);
        late_.push_back(std::chrono::nanoseconds(std::chrono::steady_clock::now() - due).count());
      }
      wg_.done();
    });
  }
  std::vector<int64_t> sorted() {
    end_ = true;
    wg_.wait();
    std::sort(late_.begin(), late_.end());
    return late_;
  }

 private:
  std::atomic<bool> end_{false};
  std::vector<int64_t> late_;
  warren::wait_group wg_;
};

// Two goroutines that allocate nodes at so many bytes a second together.
void allocate_for(std::chrono::seconds time, int64_t bytes_per_second) {
  warren::wait_group wg;
  for (int g = 0; g < 2; g++) {
    wg.add(1);
    warren::go([&wg, time, each = bytes_per_second / 2] {
      const auto begin = std::chrono::steady_clock::now();
      for (int64_t made = 0;;) {
        for (int i = 0; i < 1000; i++, made += static_cast<int64_t>(sizeof(node))) benchmark::DoNotOptimize(warren::make<node>());
        const auto due =
            begin + std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(made) / static_cast<double>(each) * 1e9));
        const auto now = std::chrono::steady_clock::now();
        if (now - begin > time) break;
        if (due > now) warren::sleep(due - now);
      }
      wg.done();
    });
  }
  wg.wait();
}

void pauses(State& state) {
  const auto heap = large_heap(size_t{1} << 30);
  crowd parked(100'000);
  warren::gc();
  const warren::gc_stats before = warren::read_mem_stats().gc;
  prober late;
  bench::timed(state, [](int64_t) { allocate_for(std::chrono::seconds(30), 200'000'000); });
  const std::vector<int64_t> delays = late.sorted();
  const warren::gc_stats after = warren::read_mem_stats().gc;
  std::vector<int64_t> ns;
  const uint64_t most = after.recent_pauses_ns.size();
  for (uint64_t i = std::max(before.pause_count, after.pause_count > most ? after.pause_count - most : 0); i < after.pause_count; i++)
    ns.push_back(after.recent_pauses_ns[i % most]);
  std::sort(ns.begin(), ns.end());
  state.counters["cycles"] = static_cast<double>(after.cycles - before.cycles);
  state.counters["pauses"] = static_cast<double>(ns.size());
  state.counters["p50_us"] = quantile_us(ns, 0.5);
  state.counters["p99_us"] = quantile_us(ns, 0.99);
  state.counters["max_us"] = quantile_us(ns, 1);
  state.counters["delay_p50_us"] = quantile_us(delays, 0.5);
  state.counters["delay_p99_us"] = quantile_us(delays, 0.99);
  state.counters["delay_p999_us"] = quantile_us(delays, 0.999);
  state.counters["delay_max_us"] = quantile_us(delays, 1);
  // The picture of the modes wants each pause.
  if (const char* const file = std::getenv("BENCH_PAUSES_FILE")) {
    std::ofstream out(file);
    for (const int64_t each : ns) out << each << '\n';
  }
  benchmark::DoNotOptimize(heap.data());
}

// ---- weak pointers ----------------------------------------------------------------------------------------------------------------------
// A million of them, to objects that live; every second collection a tenth of the objects is replaced.
void weak_pointers(State& state) {
  constexpr size_t kObjects = 1'000'000;
  const auto objects = warren::make_array<ptr<node>>(kObjects);
  const auto weaks = warren::make_array<warren::weak<node>>(kObjects);
  for (size_t i = 0; i < kObjects; i++) {
    objects[i] = warren::make<node>();
    weaks[i] = warren::weak<node>(objects[i]);
  }
  std::vector<int64_t> pauses;
  bench::timed(state, [&](int64_t n) {
    for (int64_t k = 0; k < n + 10; k++) {
      if (k % 2 == 1)
        for (size_t i = 0; i < kObjects; i += 10) {
          objects[i] = warren::make<node>();
          weaks[i] = warren::weak<node>(objects[i]);
        }
      warren::gc();
      pauses.push_back(warren::read_mem_stats().gc.last.pause_max_ns);
    }
  });
  std::sort(pauses.begin(), pauses.end());
  state.counters["pause_p50_us"] = quantile_us(pauses, 0.5);
  state.counters["pause_max_us"] = quantile_us(pauses, 1);
}

// ---- finalized objects ------------------------------------------------------------------------------------------------------------------
struct with_destructor {
  using collected = warren::finalized;
  ptr<node> held;
  ~with_destructor() { benchmark::DoNotOptimize(this); }
  WARREN_FIELDS(held);
};

// A million of them that live; before every second collection a tenth is replaced, each of which has something to bring back with it.
void finalized_objects(State& state) {
  constexpr size_t kObjects = 1'000'000;
  const auto objects = warren::make_array<ptr<with_destructor>>(kObjects);
  const auto replace = [&](size_t i) {
    objects[i] = warren::make<with_destructor>();
    objects[i]->held = warren::make<node>();
  };
  for (size_t i = 0; i < kObjects; i++) replace(i);
  std::vector<int64_t> pauses;
  bench::timed(state, [&](int64_t n) {
    for (int64_t k = 0; k < n + 10; k++) {
      if (k % 2 == 1)
        for (size_t i = 0; i < kObjects; i += 10) replace(i);
      warren::gc();
      pauses.push_back(warren::read_mem_stats().gc.last.pause_max_ns);
    }
  });
  std::sort(pauses.begin(), pauses.end());
  state.counters["pause_p50_us"] = quantile_us(pauses, 0.5);
  state.counters["pause_max_us"] = quantile_us(pauses, 1);
}

// ---- churn ------------------------------------------------------------------------------------------------------------------------------
struct block {
  ptr<block> next;
  warren::array<char> bytes;
};

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// 200 000 places; each of ten million steps puts a new object of 16 bytes to 4 KiB into one of them, and the sizes drift: the mean is now
// small, now large, as the load of a server changes over a day. What lives then lies between what once was larger.
void churn(State& state) {
  double worst = 0, last = 0;
  bench::timed(state, [&](int64_t) {
    constexpr size_t kPlaces = 200'000;
    constexpr int kSteps = 10'000'000, kPhases = 20;
    warren::array<ptr<block>> places = warren::make_array<ptr<block>>(kPlaces);
    std::vector<uint32_t> sizes(kPlaces);
    uint64_t seed = 88172645463325252u, live = 0;
    for (int phase = 0; phase < kPhases; phase++) {
      const uint32_t most = phase % 2 == 0 ? 512 : 4096;
      for (int i = 0; i < kSteps / kPhases; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        const size_t at = seed % kPlaces;
        const auto size = static_cast<uint32_t>(16 + (seed >> 32) % most);
        live += uint64_t{size} - sizes[at];
        sizes[at] = size;
        ptr<block> made = warren::make<block>();
        made->bytes = warren::make_array<char>(size);
        places[at] = made;
      }
      last = static_cast<double>(resident_bytes()) / static_cast<double>(live + kPlaces * (sizeof(block) + sizeof(void*)));
      if (phase > 1) worst = std::max(worst, last);
    }
  });
  state.counters["resident_over_live"] = last;
  state.counters["worst_resident_over_live"] = worst;
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
  bench::add("mark_scattered", mark_scattered);
  bench::add_once("pauses", pauses);
  bench::add_once("weak_pointers", weak_pointers);
  bench::add_once("finalized_objects", finalized_objects);
  bench::add_once("churn", churn);
  bench::add("collect_million_parked", collect_million_parked);
  return bench::main(argc, argv);
}
