// Compressing and inflating single messages with zlib.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include <warren/grpc/compression.h>

#include "server/http2/byte_buffer.h"

namespace warren::grpc {

// What grpc-accept-encoding says of us.
inline constexpr std::string_view kAcceptEncoding = "identity,deflate,gzip";

// false: not one of ours.
bool parse_encoding(std::string_view name, encoding& out) noexcept;

// The encodings in a list such as "identity, gzip;q=0.5", as bits 1 << encoding; names that are not ours are passed over.
uint32_t parse_accept_encoding(std::string_view list) noexcept;

// Appends the compressed bytes. Throws std::bad_alloc. REQUIRES: how is not identity.
void deflate(encoding how, std::string_view bytes, byte_buffer& out);

enum class inflate_outcome : uint8_t {
  whole,
  too_large,  // more than limit bytes came out; inflating stopped there
  malformed,  // not of that format, damaged, cut off, or followed by something else
};

// Appends the inflated bytes. Memory grows with what comes out and never past limit by more than one step, whatever the input promises.
// Throws std::bad_alloc. REQUIRES: how is not identity.
inflate_outcome inflate(encoding how, std::string_view bytes, size_t limit, byte_buffer& out);

}  // namespace warren::grpc
