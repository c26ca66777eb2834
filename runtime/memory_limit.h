// Where the memory limit comes from at the start of a program.
#pragma once
#include <cstdint>
#include <optional>

namespace warren::rt {

inline constexpr uint64_t kNoMemoryLimit = ~uint64_t{0};

// Go's syntax: a decimal number of bytes, or with B, KiB, MiB, GiB or TiB behind it; "off". Nothing for any other text.
std::optional<uint64_t> parse_memory_limit(const char* text) noexcept;

// The tightest memory limit of the cgroup that the process is in and of those around it (memory.max, or memory.limit_in_bytes of version
// 1); kNoMemoryLimit if there is none. The arguments are those of visit_cgroups (os/cgroup.h).
uint64_t cgroup_memory_limit(const char* cgroup_file, const char* mount);

// WARREN_MEMLIMIT, else GOMEMLIMIT, else nine tenths of the cgroup's limit, else none. A value that is no limit is fatal. The tenth is for
// what the limit does not count: the program's code, malloc, threads.
uint64_t memory_limit_from_environment();

}  // namespace warren::rt
