// What the two clients have in common: arguments, which cases to go through, what is said of them.
//
//   CLIENT --target HOST:PORT [--ca FILE [--cert FILE --key FILE]] [--limit BYTES] --encodings identity,gzip,deflate SUITE…
//
// One line for each thing that is not as expected; the last line says how many cases there were. Exit status 0 if all were as expected, 1
// if one was not, 2 for wrong arguments.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/server/conformance/cases.h"

namespace warren::conformance {

struct arguments {
  std::string target;
  std::string ca;  // empty: no TLS
  std::string certificate;
  std::string key;
  uint32_t limit = 0;
  std::vector<std::string> encodings;
  std::vector<std::string> suites;
};

// Makes the calls of one suite, side by side since some of them wait; for each what differences() says, or why there was no outcome.
using caller =
    std::function<std::vector<std::vector<std::string>>(const arguments&, const std::vector<call_case>&, const std::string& encoding)>;

// run_with: from where the callers are called; a goroutine, for those that need one.
int main_of(int argc, char** argv, const caller& call, const std::function<void(const std::function<void()>&)>& run_with);

}  // namespace warren::conformance
