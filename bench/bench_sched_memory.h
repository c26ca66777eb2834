// The part of bench_sched that measures memory.
#pragma once

namespace bench {

// park_million, spawn_million_newborn.
void add_memory_benchmarks();

}  // namespace bench
