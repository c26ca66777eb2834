#include "runtime/sched/maxprocs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>

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

bool read_line(const std::string& path, char* line, int n) {
  FILE* f = fopen(path.c_str(), "re");
  if (f == nullptr) return false;
  const bool ok = fgets(line, n, f) != nullptr;
  fclose(f);
  return ok;
}

int limit_of(const std::string& dir, bool v2) {
  char line[128];
  if (v2) return read_line(dir + "/cpu.max", line, sizeof line) ? parse_cpu_max(line) : 0;
  if (!read_line(dir + "/cpu.cfs_quota_us", line, sizeof line)) return 0;
  const long long quota = atoll(line);
  if (!read_line(dir + "/cpu.cfs_period_us", line, sizeof line)) return 0;
  return as_processors(quota, atoll(line));
}

// A limit holds for everything below it: from the process's own group up to the root.
int tightest(const std::string& root, std::string group, bool v2) {
  int least = 0;
  for (;;) {
    const int n = limit_of(root + group, v2);
    if (n > 0 && (least == 0 || n < least)) least = n;
    const size_t slash = group.rfind('/');
    if (group.empty() || slash == std::string::npos) return least;
    group.resize(slash);
  }
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
  FILE* f = fopen(cgroup_file, "re");
  if (f == nullptr) return 0;
  int least = 0;
  char line[4096];
  // "0::/a/b" is version 2, "4:cpu,cpuacct:/a/b" version 1. Inside a container the group's path may be that of the host, which is not to be
  // seen there: then only the root, which is the container's own group, answers.
  while (fgets(line, sizeof line, f) != nullptr) {
    line[strcspn(line, "\n")] = '\0';
    char* controllers = strchr(line, ':');
    if (controllers == nullptr) continue;
    ++controllers;
    char* group = strchr(controllers, ':');
    if (group == nullptr) continue;
    *group++ = '\0';
    if (strcmp(group, "/") == 0) *group = '\0';
    int n = 0;
    if (*controllers == '\0') {
      n = tightest(mount, group, true);
    } else {
      bool cpu = false;
      const std::string names = std::string(",") + controllers + ",";
      cpu = names.find(",cpu,") != std::string::npos;
      if (cpu) n = tightest(std::string(mount) + "/" + controllers, group, false);
    }
    if (n > 0 && (least == 0 || n < least)) least = n;
  }
  fclose(f);
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
