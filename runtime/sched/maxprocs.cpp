#include "runtime/sched/maxprocs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {
constexpr int kMaxProcs = 1024;

int from_environment(const char* name) {
  const char* text = getenv(name);
  if (text == nullptr || *text == '\0') return 0;
  char* end;
  const long n = strtol(text, &end, 10);
  if (*end != '\0' || n < 1 || n > kMaxProcs) fatal("%s=%s is not a number from 1 to %d; correct it or unset it", name, text, kMaxProcs);
  return static_cast<int>(n);
}
}  // namespace

int parse_cpu_max(const char* line) {
  char quota_text[32];
  long long period;
  if (sscanf(line, "%31s %lld", quota_text, &period) != 2 || period <= 0) return 0;
  char* end;
  const long long quota = strtoll(quota_text, &end, 10);
  if (end == quota_text || *end != '\0' || quota <= 0) return 0;  // "max"
  const long long cpus = (quota + period - 1) / period;
  return cpus > kMaxProcs ? kMaxProcs : static_cast<int>(cpus);
}

int initial_maxprocs() {
  if (const int n = from_environment("WARREN_MAXPROCS")) return n;
  if (const int n = from_environment("GOMAXPROCS")) return n;
  int cpus = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  if (FILE* f = fopen("/sys/fs/cgroup/cpu.max", "re")) {
    char line[128];
    if (fgets(line, sizeof line, f) != nullptr) {
      const int limit = parse_cpu_max(line);
      if (limit > 0 && limit < cpus) cpus = limit;
    }
    fclose(f);
  }
  return cpus < 1 ? 1 : cpus > kMaxProcs ? kMaxProcs : cpus;
}

}  // namespace warren::rt
