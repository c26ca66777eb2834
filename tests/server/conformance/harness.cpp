#include "tests/server/conformance/harness.h"

#include <algorithm>
#include <cstdio>
#include <exception>

namespace warren::conformance {

namespace {

bool parse(int argc, char** argv, arguments& a) {
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      a.suites.push_back(word);
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string value = argv[++i];
    if (word == "--target") {
      a.target = value;
    } else if (word == "--ca") {
      a.ca = value;
    } else if (word == "--cert") {
      a.certificate = value;
    } else if (word == "--key") {
      a.key = value;
    } else if (word == "--limit") {
      a.limit = static_cast<uint32_t>(std::stoul(value));
    } else if (word == "--encodings") {
      for (size_t at = 0; at <= value.size();) {
        const size_t comma = std::min(value.find(',', at), value.size());
        a.encodings.push_back(value.substr(at, comma - at));
        at = comma + 1;
      }
    } else {
      return false;
    }
  }
  return !a.target.empty() && !a.encodings.empty() && !a.suites.empty();
}

}  // namespace

int main_of(int argc, char** argv, const caller& call, const std::function<void(const std::function<void()>&)>& run_with) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::fprintf(stderr,
                 "usage: %s --target HOST:PORT [--ca FILE [--cert FILE --key FILE]] [--limit BYTES] --encodings LIST SUITE...\n"
                 "encodings: identity, gzip, deflate\n",
                 argv[0]);
    return 2;
  }
  size_t total = 0;
  size_t wrong = 0;
  run_with([&] {
    for (const std::string& name : a.suites) {
      const std::vector<call_case> cases = suite(name, a.limit);
      for (const std::string& encoding : a.encodings) {
        if (encoding != "identity" && !compressible(name)) continue;
        const auto found = call(a, cases, encoding);
        for (size_t i = 0; i < cases.size(); i++) {
          total++;
          if (!found[i].empty()) wrong++;
          for (const std::string& line : found[i]) std::printf("%s (%s): %s\n", cases[i].name.c_str(), encoding.c_str(), line.c_str());
        }
      }
    }
  });
  std::printf("%zu cases, %zu wrong\n", total, wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace warren::conformance
