// Which header names belong to the protocol and not to the user.
#pragma once
#include <string_view>

namespace warren::grpc {

// Hidden from received metadata, refused in what is sent. Two grpc- names are the user's to see: retry layers read them.
inline bool reserved_header(std::string_view name) noexcept {
  if (name.empty() || name.front() == ':') return true;
  if (name.starts_with("grpc-")) return name != "grpc-previous-rpc-attempts" && name != "grpc-retry-pushback-ms";
  return name == "content-type" || name == "te";
}

// RFC 9113 §8.2.2: connection-specific fields may not occur in HTTP/2; field_rules refuses them on receipt, we must not send them.
inline bool connection_header(std::string_view name) noexcept {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" || name == "transfer-encoding" || name == "upgrade" ||
         name == "host" || name == "content-length";
}

}  // namespace warren::grpc
