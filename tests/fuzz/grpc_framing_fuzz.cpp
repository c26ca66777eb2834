// message_reader gives the same messages and the same end however its input is cut, and never holds more than limit bytes.
// The first byte of the input chooses the cuts.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "server/grpc/wire.h"

namespace {
using warren::grpc::message_reader;

struct reading {
  std::vector<std::string> messages;
  message_reader::outcome end = message_reader::outcome::need_more;
  bool operator==(const reading&) const = default;
};

reading read(std::string_view bytes, size_t step) {
  reading r;
  message_reader m(300);
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    while (!piece.empty()) {
      r.end = m.feed(piece);
      if (m.message().size() > 300) std::abort();
      if (r.end == message_reader::outcome::bad_flag || r.end == message_reader::outcome::too_large) return r;
      if (r.end == message_reader::outcome::complete) {
        r.messages.push_back((m.compressed() ? 'z' : '-') + std::string(m.message()));
        m.next();
      }
    }
  }
  return r;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const reading whole = read(bytes, size);
  if (!(read(bytes, 1) == whole) || !(read(bytes, data[0] % 16 + 1) == whole)) std::abort();
  return 0;
}
