// How message bytes are compressed on the wire.
#pragma once
#include <cstdint>

namespace warren::grpc {

enum class encoding : uint8_t {
  identity,
  deflate,  // zlib's format (RFC 1950), as gRPC uses the name
  gzip,     // RFC 1952
};
// "identity", "deflate", "gzip": as in grpc-encoding.
const char* to_string(encoding e) noexcept;

}  // namespace warren::grpc
