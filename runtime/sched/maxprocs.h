// How many Ps.
#pragma once

namespace warren::rt {

struct procs_choice {
  int n;
  bool from_machine;  // from affinity and quota: to be read again now and then
};

// WARREN_MAXPROCS, else GOMAXPROCS, else usable_processors(). A value in the environment that is not a number from 1 to 1024 is fatal.
procs_choice choose_maxprocs();

// Processors in the affinity mask, less if the cgroup's CPU quota allows less (rounded up; at least 1. Go 1.25 does the same with a floor
// of 2).
int usable_processors();

// The tightest quota of the cgroup that the process is in and of those around it, as processors rounded up; 0: none. cgroup_file: the text
// of /proc/self/cgroup is read from there; mount: where the cgroup file systems are. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us).
int quota_processors(const char* cgroup_file, const char* mount);

// A cpu.max line ("200000 100000", "max 100000") as processors; 0: no limit or not understood.
int parse_cpu_max(const char* line);

}  // namespace warren::rt
