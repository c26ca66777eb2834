#include "server/grpc/wire.h"

#include <algorithm>
#include <cstring>

namespace warren::grpc {

message_reader::outcome message_reader::feed(std::string_view& piece) {
  if (prefix_have_ < kPrefixSize) {
    const size_t n = std::min(piece.size(), kPrefixSize - prefix_have_);
    if (n != 0) std::memcpy(prefix_ + prefix_have_, piece.data(), n);
    prefix_have_ = static_cast<uint8_t>(prefix_have_ + n);
    piece.remove_prefix(n);
    // The flag is judged as soon as it is there: a stream that is not gRPC need not send four bytes more to be told so.
    if (prefix_have_ > 0 && static_cast<uint8_t>(prefix_[0]) > 1) return outcome::bad_flag;
    if (prefix_have_ < kPrefixSize) return outcome::need_more;
    const auto byte = [this](int i) -> uint32_t { return static_cast<uint8_t>(prefix_[i]); };
    length_ = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
    if (length_ > limit_) return outcome::too_large;
    message_.reserve(std::min<size_t>(length_, kTrusted));
  }
  const size_t n = std::min(piece.size(), length_ - message_.size());
  message_.append(piece.data(), n);
  piece.remove_prefix(n);
  return message_.size() == length_ ? outcome::complete : outcome::need_more;
}

}  // namespace warren::grpc
