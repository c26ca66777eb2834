// The grpc-timeout header.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace warren::grpc {

// 1 to 8 digits and one unit of H M S m u n. Nanoseconds; "99999999H" and whatever else int64_t cannot hold becomes its maximum.
// Nothing for any other text: the rule leaves no room for signs, spaces or fractions.
std::optional<int64_t> parse_timeout(std::string_view text) noexcept;

// The inverse: ns nanoseconds (at least 1), rounded up to what 8 digits of some unit can say.
std::string format_timeout(int64_t ns);

}  // namespace warren::grpc
