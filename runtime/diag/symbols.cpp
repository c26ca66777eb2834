#include "runtime/diag/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace warren::rt {

namespace {
// Calls take(line) for each line of /proc/self/maps until one returns true.
template <class F>
void each_mapping(F&& take) noexcept {
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char buf[4096];
  size_t have = 0;
  for (;;) {
    const ssize_t n = read(fd, buf + have, sizeof buf - 1 - have);
    if (n <= 0) break;
    have += static_cast<size_t>(n);
    size_t from = 0;
    while (char* end = static_cast<char*>(memchr(buf + from, '\n', have - from))) {
      *end = 0;
      if (take(buf + from)) {
        close(fd);
        return;
      }
      from = static_cast<size_t>(end - buf) + 1;
    }
    have -= from;
    memmove(buf, buf + from, have);
    if (have == sizeof buf - 1) have = 0;  // a line longer than any path: no module of ours
  }
  close(fd);
}
}  // namespace

symbolizer::~symbolizer() {
  for (size_t i = 0; i < module_count_; ++i)
    if (modules_[i].file != nullptr) munmap(const_cast<std::byte*>(modules_[i].file), modules_[i].file_bytes);
}

symbolizer::module* symbolizer::module_of(uintptr_t pc) noexcept {
  for (size_t i = 0; i < module_count_; ++i)
    if (pc - modules_[i].begin < modules_[i].end - modules_[i].begin) return &modules_[i];
  if (module_count_ == kModules) return nullptr;
  module* found = nullptr;
  each_mapping([&](const char* line) {
    unsigned long begin, end, offset;
    char path[256] = "";
    if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %255[^\n]", &begin, &end, &offset, path) < 3 || pc - begin >= end - begin) return false;
    if (path[0] != '/') return true;
    found = &modules_[module_count_++];
    memcpy(found->path, path, sizeof path);
    found->begin = begin;
    found->end = end;
    found->file_offset = offset;
    return true;
  });
  if (found == nullptr) return nullptr;
  const int fd = open(found->path, O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > static_cast<off_t>(sizeof(Elf64_Ehdr))) {
    void* at = mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (at != MAP_FAILED) {
      found->file = static_cast<const std::byte*>(at);
      found->file_bytes = static_cast<size_t>(st.st_size);
    }
  }
  if (fd >= 0) close(fd);
  return found;
}

code_place symbolizer::look_up(const module& mod, uintptr_t pc) noexcept {
  code_place place;
  place.module = mod.path;
  const uintptr_t in_file = pc - mod.begin + mod.file_offset;
  place.module_address = in_file;
  // The file may have been replaced since: nothing in it is trusted.
  const auto inside = [&mod](uint64_t offset, uint64_t bytes) { return offset <= mod.file_bytes && bytes <= mod.file_bytes - offset; };
  if (mod.file == nullptr || memcmp(mod.file, ELFMAG, SELFMAG) != 0 || mod.file[EI_CLASS] != std::byte{ELFCLASS64}) return place;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(mod.file);
  if (!inside(header->e_phoff, uint64_t{header->e_phnum} * sizeof(Elf64_Phdr)) ||
      !inside(header->e_shoff, uint64_t{header->e_shnum} * sizeof(Elf64_Shdr)))
    return place;
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(mod.file + header->e_phoff);
  for (size_t i = 0; i < header->e_phnum; ++i) {
    if (segments[i].p_type == PT_LOAD && in_file - segments[i].p_offset < segments[i].p_filesz)
      place.module_address = in_file - segments[i].p_offset + segments[i].p_vaddr;
  }
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(mod.file + header->e_shoff);
  for (const uint32_t kind : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (size_t i = 0; i < header->e_shnum; ++i) {
      const Elf64_Shdr& table = sections[i];
      if (table.sh_type != kind || table.sh_link >= header->e_shnum || !inside(table.sh_offset, table.sh_size)) continue;
      const Elf64_Shdr& names = sections[table.sh_link];
      if (!inside(names.sh_offset, names.sh_size) || names.sh_size == 0) continue;
      const auto* symbols = reinterpret_cast<const Elf64_Sym*>(mod.file + table.sh_offset);
      const auto* text = reinterpret_cast<const char*>(mod.file + names.sh_offset);
      if (text[names.sh_size - 1] != 0) continue;
      for (size_t s = 0; s < table.sh_size / sizeof(Elf64_Sym); ++s) {
        const Elf64_Sym& symbol = symbols[s];
        if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_name >= names.sh_size) continue;
        if (place.module_address - symbol.st_value >= std::max<uint64_t>(symbol.st_size, 1)) continue;
        place.function = text + symbol.st_name;
        place.offset = place.module_address - symbol.st_value;
        return place;
      }
    }
  }
  return place;
}

code_place symbolizer::find(const void* pc) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(pc);
  auto& cached = cache_[(address * UINT64_C(0x9E3779B97F4A7C15)) >> 54];
  if (cached.pc == pc) return cached.place;
  const module* mod = module_of(address);
  cached.place = mod == nullptr ? code_place{nullptr, 0, "", address} : look_up(*mod, address);
  cached.pc = pc;
  return cached.place;
}

const char* function_name(const code_place& place, char* buf, size_t n, bool demangle) noexcept {
  if (place.function == nullptr) {
    snprintf(buf, n, "?");
    return buf;
  }
  int status = -1;
  char* plain = demangle ? abi::__cxa_demangle(place.function, nullptr, nullptr, &status) : nullptr;
  if (plain == nullptr) {
    snprintf(buf, n, "%s", place.function);
    return buf;
  }
  // "f(int)::{lambda()#1}::operator()() const": what goes is the last list of parameters alone, with what follows it.
  size_t length = strlen(plain);
  for (const char* tail : {" const", " [clone .cold]"}) {
    const size_t t = strlen(tail);
    if (length > t && strcmp(plain + length - t, tail) == 0) plain[length -= t] = 0;
  }
  if (length > 0 && plain[length - 1] == ')') {
    int depth = 0;
    size_t at = length;
    while (at > 0) {
      --at;
      if (plain[at] == ')') ++depth;
      if (plain[at] == '(' && --depth == 0) break;
    }
    if (at > 0) plain[at] = 0;
  }
  snprintf(buf, n, "%s", plain);
  free(plain);
  return buf;
}

}  // namespace warren::rt
