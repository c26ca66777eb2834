// Explicit-state search, breadth first: every reachable state once, or the shortest way to one that violates something.
#pragma once
#include <cstdint>
#include <string>

#include "invariant.h"
#include "machine.h"

namespace gcmodel {

struct search_options {
  claims check;                       // beside what is always checked: no reachable object is freed
  uint64_t most_states = 30'000'000;  // 40 bytes each
};

struct search_result {
  enum class outcome : uint8_t { holds, violated, gave_up } what = outcome::gave_up;
  uint64_t states = 0, steps = 0;  // states found, steps tried
  uint32_t depth = 0;              // of the deepest state: the search is complete if the outcome is `holds`
  std::string violation;           // a sentence
  std::string trace;               // one line a step
  uint32_t trace_steps = 0;
};

search_result search(const machine& m, const search_options& o);

}  // namespace gcmodel
