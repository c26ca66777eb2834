#include "runtime/sched/maxprocs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "runtime/os/cgroup.h"
#include "runtime/os/environment.h"
#include "runtime/sched/p_table.h"

namespace warren::rt {

namespace {
constexpr int kMost = p_table::kMost;

int as_processors(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  const long long cpus = (quota + period - 1) / period;
  return cpus > kMost ? kMost : static_cast<int>(cpus);
}

int limit_of(const std::string& dir, bool v2) {
  char line[128];
  if (v2) return read_first_line(dir + "/cpu.max", line, sizeof line) ? parse_cpu_max(line) : 0;
  if (!read_first_line(dir + "/cpu.cfs_quota_us", line, sizeof line)) return 0;
  const long long quota = atoll(line);
  if (!read_first_line(dir + "/cpu.cfs_period_us", line, sizeof line)) return 0;
  return as_processors(quota, atoll(line));
}
}  // namespace

int parse_cpu_max(const char* line) {
  char quota_text[32];
  long long period;
  if (sscanf(line, "%31s %lld", quota_text, &period) != 2 || period <= 0) return 0;
  char* end;
  const long long quota = strtoll(quota_text, &end, 10);
  if (end == quota_text || *end != '\0') return 0;  // "max"
  return as_processors(quota, period);
}

int quota_processors(const char* cgroup_file, const char* mount) {
  int least = 0;
  visit_cgroups(
      cgroup_file, mount, "cpu",
      [](void* arg, const std::string& dir, bool v2) {
        int& least = *static_cast<int*>(arg);
        const int n = limit_of(dir, v2);
        if (n > 0 && (least == 0 || n < least)) least = n;
      },
      &least);
  return least;
}

int usable_processors() {
  int cpus = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  const int quota = quota_processors("/proc/self/cgroup", "/sys/fs/cgroup");
  if (quota > 0 && quota < cpus) cpus = quota;
  return cpus < 1 ? 1 : cpus > kMost ? kMost : cpus;
}

procs_choice choose_maxprocs() {
  if (const auto n = environment_number("WARREN_MAXPROCS", 1, kMost, 0)) return {static_cast<int>(n), false};
  if (const auto n = environment_number("GOMAXPROCS", 1, kMost, 0)) return {static_cast<int>(n), false};
  return {usable_processors(), true};
}

}  // namespace warren::rt
