#include "runtime/memory_limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/os/cgroup.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

std::optional<uint64_t> parse_memory_limit(const char* text) noexcept {
  if (strcmp(text, "off") == 0) return kNoMemoryLimit;
  if (*text < '0' || *text > '9') return {};  // strtoull would take a sign and blanks
  char* end;
  errno = 0;
  const unsigned long long n = strtoull(text, &end, 10);
  if (errno != 0) return {};
  constexpr struct {
    const char* name;
    int shift;
  } kUnits[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  for (const auto& u : kUnits) {
    if (strcmp(end, u.name) != 0) continue;
    if (n > (~uint64_t{0} >> 1 >> u.shift)) return {};
    return uint64_t{n} << u.shift;
  }
  return {};
}

uint64_t cgroup_memory_limit(const char* cgroup_file, const char* mount) {
  uint64_t least = kNoMemoryLimit;
  visit_cgroups(
      cgroup_file, mount, "memory",
      [](void* arg, const std::string& dir, bool v2) {
        auto& least = *static_cast<uint64_t*>(arg);
        char line[64];
        if (!read_first_line(dir + (v2 ? "/memory.max" : "/memory.limit_in_bytes"), line, sizeof line)) return;
        char* end;
        errno = 0;
        const unsigned long long n = strtoull(line, &end, 10);
        if (end == line || errno != 0 || n == 0) return;  // "max"
        // Version 1 says "none" as the largest multiple of a page in 63 bits.
        if (n >= (uint64_t{1} << 62)) return;
        if (n < least) least = n;
      },
      &least);
  return least;
}

uint64_t memory_limit_from_environment() {
  for (const char* name : {"WARREN_MEMLIMIT", "GOMEMLIMIT"}) {
    const char* text = getenv(name);
    if (text == nullptr || *text == '\0') continue;
    const std::optional<uint64_t> limit = parse_memory_limit(text);
    if (!limit) fatal("%s=%s: want a number of bytes such as 512MiB (B, KiB, MiB, GiB, TiB), or off", name, text);
    return *limit;
  }
  const uint64_t limit = cgroup_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup");
  return limit == kNoMemoryLimit ? limit : limit / 10 * 9;
}

}  // namespace warren::rt
