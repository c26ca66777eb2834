// Values of a "-bin" key that were joined in one field, as HTTP lets proxies do: against the limits of a header list they count as the
// fields they were. gRPC's receivers take them apart again, each with its key, so that a long key before many commas would be megabytes of
// metadata, and one indexed field on the wire.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>

namespace warren::http2 {

// How many fields the field stands for.
inline uint32_t joined_values(std::string_view name, std::string_view value) noexcept {
  if (!name.ends_with("-bin")) [[likely]]
    return 1;
  return 1 + static_cast<uint32_t>(std::count(value.begin(), value.end(), ','));
}

}  // namespace warren::http2
