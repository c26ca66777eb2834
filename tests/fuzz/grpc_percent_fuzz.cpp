// What percent_encode makes may stand in a header, and decodes to the text again if that was UTF-8; decoding takes anything.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/grpc/percent.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string encoded;
  warren::grpc::percent_encode(text, encoded);
  for (const char c : encoded) {
    if (c < 0x20 || c > 0x7E) std::abort();
  }
  if (encoded.starts_with(' ') || encoded.ends_with(' ')) std::abort();
  const std::string once = warren::grpc::percent_decode(encoded);
  // U+FFFD has taken the place of what was no UTF-8; from there on nothing changes any more.
  std::string again;
  warren::grpc::percent_encode(once, again);
  if (again != encoded) std::abort();
  if (once.find("\xEF\xBF\xBD") == std::string::npos && once != text) std::abort();
  if (warren::grpc::percent_decode(text).size() > size) std::abort();
  return 0;
}
