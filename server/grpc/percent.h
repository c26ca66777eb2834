// The percent encoding of grpc-message.
#pragma once
#include <string>
#include <string_view>

namespace warren::grpc {

// Appends text so that it may stand in a header: bytes outside 0x20–0x7E and '%' as %XX. What is not UTF-8 becomes U+FFFD first, one for
// each byte that starts no valid sequence.
void percent_encode(std::string_view text, std::string& out);

// The inverse. Lenient, as the specification wants: a '%' that two hex digits do not follow stays as it is.
std::string percent_decode(std::string_view text);

}  // namespace warren::grpc
