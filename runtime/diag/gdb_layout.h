// What deploy/gdb/warren-gdb.py needs to know about this build's structures, as data in the program: so the script works on optimized
// programs without debugging information, live or as a core file, whichever version they are of.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::rt {

struct gdb_entry {
  char name[24];   // "g.status"; the last entry's is empty
  uint64_t value;  // an offset or a size in bytes, or an address
};

extern "C" const gdb_entry warren_gdb_layout[];
extern "C" char warren_gdb_wait_reasons[32][24];  // names, by number

// The linker takes from a library only what somebody mentions.
inline void keep_gdb_layout() noexcept { asm volatile("" : : "r"(warren_gdb_layout), "r"(warren_gdb_wait_reasons)); }

}  // namespace warren::rt
