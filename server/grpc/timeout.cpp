#include "server/grpc/timeout.h"

#include <limits>

namespace warren::grpc {

namespace {
constexpr size_t kMaxDigits = 8;  // the specification's TimeoutValue

int64_t nanoseconds_of(char unit) noexcept {
  switch (unit) {
    case 'H': return int64_t{3600} * 1'000'000'000;
    case 'M': return int64_t{60} * 1'000'000'000;
    case 'S': return 1'000'000'000;
    case 'm': return 1'000'000;
    case 'u': return 1'000;
    case 'n': return 1;
    default: return 0;
  }
}
}  // namespace

std::optional<int64_t> parse_timeout(std::string_view text) noexcept {
  if (text.size() < 2 || text.size() > kMaxDigits + 1) return std::nullopt;
  const int64_t unit = nanoseconds_of(text.back());
  if (unit == 0) return std::nullopt;
  int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  return value > most / unit ? most : value * unit;
}

std::string format_timeout(int64_t ns) {
  constexpr int64_t kMost = 99'999'999;
  if (ns < 1) ns = 1;
  for (const char unit : {'n', 'u', 'm', 'S', 'M'}) {
    const int64_t of_unit = nanoseconds_of(unit);
    const int64_t value = ns / of_unit + (ns % of_unit != 0 ? 1 : 0);
    if (value <= kMost) return std::to_string(value) + unit;
  }
  return std::to_string(ns / nanoseconds_of('H') + 1) + 'H';  // int64_t holds 2.6 million hours
}

}  // namespace warren::grpc
