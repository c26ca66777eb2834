// Any bytes survive encoding and decoding, padded or not; any text either decodes to something of the right length or is refused.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/grpc/base64.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::string text;
  warren::grpc::base64_encode(bytes, text);
  std::string back;
  if (!warren::grpc::base64_decode(text, back) || back != bytes) std::abort();
  while (text.size() % 4 != 0) text += '=';
  back.clear();
  if (!warren::grpc::base64_decode(text, back) || back != bytes) std::abort();
  back = "kept";
  if (warren::grpc::base64_decode(bytes, back)) {
    if (back.size() > 4 + size * 3 / 4) std::abort();
  } else if (back != "kept") {
    std::abort();
  }
  return 0;
}
