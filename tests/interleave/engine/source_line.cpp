#include "source_line.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <map>

namespace interleave {

namespace {

struct known {
  std::string file;
  int line = 0;
};
std::map<const void*, known>& cache() {
  static std::map<const void*, known> c;
  return c;
}

uintptr_t load_bias() {
  static const uintptr_t bias = [] {
    uintptr_t b = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* out) {
          *static_cast<uintptr_t*>(out) = info->dlpi_addr;  // the first is the executable
          return 1;
        },
        &b);
    return b;
  }();
  return bias;
}

std::string text_of(const std::string& file, int line) {
  static std::map<std::string, std::vector<std::string>> files;
  auto [it, fresh] = files.try_emplace(file);
  if (fresh) {
    std::ifstream in(file);
    for (std::string l; std::getline(in, l);) it->second.push_back(l);
  }
  if (line < 1 || static_cast<size_t>(line) > it->second.size()) return {};
  const std::string& l = it->second[static_cast<size_t>(line) - 1];
  const size_t from = l.find_first_not_of(" \t");
  return from == std::string::npos ? std::string() : l.substr(from);
}

// The library's own headers are not what one wants to see: the innermost frame outside them.
bool of_the_library(const std::string& path) {
  return path.find("/c++/") != std::string::npos || path.find("/bits/") != std::string::npos || path.starts_with("??");
}

}  // namespace

void source_line::look_up(const std::vector<const void*>& return_addresses) {
  std::vector<const void*> unknown;
  for (const void* p : return_addresses)
    if (p != nullptr && cache().try_emplace(p).second) unknown.push_back(p);
  if (unknown.empty()) return;
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return;
  path[n] = 0;
  for (size_t begin = 0; begin < unknown.size(); begin += 200) {
    std::string command = std::string("addr2line -a -i -e '") + path + "'";
    const size_t end = std::min(unknown.size(), begin + 200);
    for (size_t i = begin; i < end; ++i) {
      char number[32];
      snprintf(number, sizeof number, " 0x%zx", reinterpret_cast<uintptr_t>(unknown[i]) - load_bias() - 1);
      command += number;
    }
    command += " 2>/dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return;
    char buffer[4096];
    size_t i = begin;
    known* k = nullptr;
    while (fgets(buffer, sizeof buffer, pipe) != nullptr) {
      std::string s = buffer;
      if (s.starts_with("0x")) {
        k = i < end ? &cache()[unknown[i++]] : nullptr;
        continue;
      }
      if (k == nullptr || of_the_library(s)) continue;
      const size_t colon = s.rfind(':');
      if (colon == std::string::npos) continue;
      k->file = s.substr(0, colon);
      k->line = atoi(s.c_str() + colon + 1);
      k = nullptr;  // the innermost that counts
    }
    pclose(pipe);
  }
}

source_line::source_line(const void* p) : address(p) {
  if (p == nullptr) return;
  look_up({p});
  const known& k = cache()[p];
  file = k.file;
  line = k.line;
  if (!file.empty()) text = text_of(file, line);
}

std::string source_line::short_form() const {
  if (file.empty()) {
    if (address == nullptr) return "an earlier atomic access";
    char number[32];
    snprintf(number, sizeof number, "%p", address);
    return number;
  }
  const size_t slash = file.rfind('/');
  return file.substr(slash == std::string::npos ? 0 : slash + 1) + ":" + std::to_string(line);
}

}  // namespace interleave
