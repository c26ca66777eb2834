// What a million goroutines cost in memory: parked, and spawned without having run. Twin: memory.go beside the Go twin of bench_sched.cpp.
//
// bytes_each is what the process has more after than before, divided by their number: resident memory and page tables, as the kernel counts
// them. more_mappings is how many kernel mappings came along. (The first run of a process is the honest one: memory that an earlier one
// left to the process is not counted again.)
#include "bench/bench_sched_memory.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/sync.h>

#include "bench/support.h"
#include "runtime/sched/g.h"

namespace bench {
namespace {

constexpr int64_t kMillion = 1'000'000;

struct footprint {
  int64_t bytes = 0;
  int64_t mappings = 0;
};

footprint measure() {
  footprint f;
  char line[512];
  if (FILE* status = std::fopen("/proc/self/status", "re")) {
    long kilobytes;
    while (std::fgets(line, sizeof line, status) != nullptr)
      if (std::sscanf(line, "VmRSS: %ld kB", &kilobytes) == 1 || std::sscanf(line, "VmPTE: %ld kB", &kilobytes) == 1)
        f.bytes += kilobytes * 1024;
    std::fclose(status);
  }
  if (FILE* maps = std::fopen("/proc/self/maps", "re")) {
    while (std::fgets(line, sizeof line, maps) != nullptr) f.mappings += std::strchr(line, '\n') != nullptr ? 1 : 0;
    std::fclose(maps);
  }
  return f;
}

void report(benchmark::State& state, const footprint& before, const footprint& after) {
  state.counters["bytes_each"] = static_cast<double>(after.bytes - before.bytes) / kMillion;
  state.counters["more_mappings"] = static_cast<double>(after.mappings - before.mappings);
}

// One million goroutines that wait to receive from a channel; the time is that of starting and parking all of them.
void park_million(benchmark::State& state) {
  const auto end = warren::make_chan<warren::unit>();
  warren::wait_group wg;
  std::atomic<int64_t> begun{0};
  const footprint before = measure();
  timed(state, [&](int64_t) {
    wg.add(kMillion);
    for (int64_t i = 0; i < kMillion; i++) {
      warren::go([&, end] {
        begun.fetch_add(1, std::memory_order_relaxed);
        end.recv();
        wg.done();
      });
    }
    while (begun.load() != kMillion) warren::yield();
  });
  report(state, before, measure());
  end.close();
  wg.wait();
}

// One million goroutines that have been started by a goroutine which keeps its processor: none of them has run on one P. (On more, others
// run them, and they wait then; in Go, which would end the spawner's time slice, likewise.) The time is that of the spawns.
void spawn_million_newborn(benchmark::State& state) {
  const auto end = warren::make_chan<warren::unit>();
  warren::wait_group wg;
  std::atomic<int64_t> begun{0};
  const footprint before = measure();
  footprint after;
  timed(state, [&](int64_t) {
    wg.add(kMillion);
    warren::rt::getg()->no_safepoint = true;
    for (int64_t i = 0; i < kMillion; i++) {
      warren::go([&, end] {
        begun.fetch_add(1, std::memory_order_relaxed);
        end.recv();
        wg.done();
      });
    }
    after = measure();
    warren::rt::getg()->no_safepoint = false;
  });
  state.counters["had_run"] = static_cast<double>(begun.load());
  report(state, before, after);
  end.close();
  wg.wait();
}

}  // namespace

void add_memory_benchmarks() {
  add_once("park_million", park_million);
  add_once("spawn_million_newborn", spawn_million_newborn);
}

}  // namespace bench
