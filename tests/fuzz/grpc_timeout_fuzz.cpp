// parse_timeout against a slow reading of the rule.
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "server/grpc/timeout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto got = warren::grpc::parse_timeout(text);
  bool good = size >= 2 && size <= 9;
  __int128 value = 0;
  for (size_t i = 0; good && i + 1 < size; i++) {
    good = data[i] >= '0' && data[i] <= '9';
    value = value * 10 + (data[i] - '0');
  }
  if (good) {
    const std::string_view units = "numSMH";
    const __int128 scale[] = {1, 1'000, 1'000'000, 1'000'000'000, 60'000'000'000, 3'600'000'000'000};
    const size_t u = units.find(text.back());
    good = u != units.npos;
    if (good) value *= scale[u];
  }
  if (good != got.has_value()) std::abort();
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  if (good && *got != (value > most ? most : static_cast<int64_t>(value))) std::abort();
  return 0;
}
