// What function an address of code belongs to, for dumps and metrics.
//
// Reads /proc/self/maps and the symbol tables of the files (.symtab, which has static functions and those of a program linked without
// -rdynamic; .dynsym where that was stripped). Not dladdr and dl_iterate_phdr: they know exported symbols only, and take the loader's lock,
// which a goroutine in dlopen may hold for ever when somebody wants to know what hangs. No lock, no malloc: file mappings and a fixed
// cache.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::rt {

struct code_place {
  const char* function = nullptr;  // as in the symbol table (mangled); nullptr: not known. Valid while the symbolizer lives.
  size_t offset = 0;               // of the address from the function's beginning
  const char* module = "";         // path of the file, "" when the address lies in none. Valid while the symbolizer lives.
  uintptr_t module_address = 0;    // as tools like addr2line want it
};

// One thread at a time.
class symbolizer {
 public:
  symbolizer() = default;
  ~symbolizer();
  symbolizer(const symbolizer&) = delete;
  symbolizer& operator=(const symbolizer&) = delete;

  code_place find(const void* pc) noexcept;

 private:
  static constexpr size_t kModules = 64;
  static constexpr size_t kCached = 1024;

  struct module {
    char path[256];
    uintptr_t begin = 0, end = 0;  // of one mapping with code in it
    uintptr_t file_offset = 0;     // of begin
    const std::byte* file = nullptr;
    size_t file_bytes = 0;
  };

  module* module_of(uintptr_t pc) noexcept;
  code_place look_up(const module& mod, uintptr_t pc) noexcept;

  module modules_[kModules];
  size_t module_count_ = 0;
  struct {
    const void* pc = nullptr;
    code_place place;
  } cache_[kCached];
};

// Writes a readable name of the function to buf, with parameters left out as in Go's dumps: "warren::run_all(...)". Returns buf.
// demangle: through the C++ library, which allocates: not where the process may be in any state.
const char* function_name(const code_place& place, char* buf, size_t n, bool demangle) noexcept;

}  // namespace warren::rt
