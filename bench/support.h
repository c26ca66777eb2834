// What bench_sched, bench_heap and bench_net share.
#pragma once
#include <benchmark/benchmark.h>

#include <cstdint>

namespace bench {

// Times work(n), n the number of operations Google Benchmark asks for. What the benchmark does before and after is not counted. One call
// instead of Google Benchmark's loop, because most of our benchmarks must tell their other goroutines beforehand how many operations there
// will be.
template <class F>
void timed(benchmark::State& state, F&& work) {
  const auto n = state.max_iterations;
  while (state.KeepRunningBatch(n)) work(static_cast<int64_t>(n));
}

// Registers f under exactly this name. Real time is what decides and is reported; cpu_time is that of the whole process, all Ms and the
// collector included (Google Benchmark's default, the thread's clock, means nothing for a goroutine that changes threads).
inline void add(const char* name, void (*f)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, f)->UseRealTime()->MeasureProcessCPUTime();
}

// The same for a benchmark that is one big thing done once: n is 1.
inline void add_once(const char* name, void (*f)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, f)->UseRealTime()->MeasureProcessCPUTime()->Iterations(1);
}

// The benchmark computed something wrong: says so and ends the process.
[[noreturn]] void wrong(const char* what);

// Runs what the command line asks for on goroutine 1. Google Benchmark's flags; the names in reports and in --benchmark_filter are as they
// were registered, without the "/process_time/real_time" that the library appends.
int main(int argc, char** argv);

}  // namespace bench
