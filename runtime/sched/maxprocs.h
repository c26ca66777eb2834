// How many Ps.
#pragma once

namespace warren::rt {

// WARREN_MAXPROCS, else GOMAXPROCS, else what the process may use: processors in its affinity mask, less if the cgroup's CPU quota (v2
// cpu.max) allows less (rounded up, at least 1; Go 1.25 does the same with a floor of 2). A value in the environment that is not a number
// from 1 to 1024 is fatal.
int initial_maxprocs();

// A cpu.max line ("200000 100000", "max 100000") as processors; 0: no limit or not understood.
int parse_cpu_max(const char* line);

}  // namespace warren::rt
