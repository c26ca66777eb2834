// source_line: where in the sources a code address lies, and what stands there. Needs addr2line and line tables (-g1); without them the
// address is all there is.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace interleave {

struct source_line {
  explicit source_line(const void* return_address);
  std::string file;  // full path, empty if unknown
  int line = 0;
  std::string text;  // the line, trimmed
  const void* address;

  std::string short_form() const;  // "run_queue.cpp:32"

  // Fills the cache for many at once: one addr2line for all.
  static void look_up(const std::vector<const void*>& return_addresses);
};

}  // namespace interleave
