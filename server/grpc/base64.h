// Base64 of metadata values whose key ends in "-bin".
#pragma once
#include <string>
#include <string_view>

namespace warren::grpc {

// Appends the encoding without padding, as gRPC emits it.
void base64_encode(std::string_view bytes, std::string& out);

// Appends the decoded bytes. Takes padded and unpadded text of the standard alphabet, as the specification demands of receivers. false
// (with out as it was) for a character outside it, a length no encoder makes, padding in the wrong place. Unused trailing bits may be set.
bool base64_decode(std::string_view text, std::string& out);

}  // namespace warren::grpc
