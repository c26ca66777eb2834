// What a received header field says to the user's metadata. The same for requests and answers.
#pragma once
#include <string_view>

#include <warren/grpc/metadata.h>

namespace warren::grpc {

// Adds the field's pairs: none if the name is the protocol's; one usually; several if its key ends in "-bin" and values were joined by
// commas on the way, as proxies may. Returns false if one of those is not base64: it is left out, those beside it are added. REQUIRES: the
// name is lower case (HTTP/2 allows no other).
bool add_field(metadata& into, std::string_view name, std::string_view value);

}  // namespace warren::grpc
