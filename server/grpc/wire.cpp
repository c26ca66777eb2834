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
  }
  const size_t n = std::min(piece.size(), length_ - message_.size());
  if (const size_t needed = message_.size() + n; needed > message_.capacity()) {
    message_.reserve(std::min<size_t>(length_, std::max(kTrusted, kGrowth * needed)));
  }
  message_.append(piece.substr(0, n));
  piece.remove_prefix(n);
  return message_.size() == length_ ? outcome::complete : outcome::need_more;
}

size_t message_follower::feed(std::string_view bytes) noexcept {
  if (prefix_have_ == 0 && whole_message(bytes)) return 1;  // as nearly always
  size_t ended = 0;
  while (!bytes.empty()) {
    if (prefix_have_ < kPrefixSize) {
      if (prefix_have_ != 0) left_ = left_ << 8 | static_cast<uint8_t>(bytes[0]);
      prefix_have_++;
      bytes.remove_prefix(1);
    } else {
      const size_t n = std::min<size_t>(left_, bytes.size());
      left_ -= static_cast<uint32_t>(n);
      bytes.remove_prefix(n);
    }
    if (prefix_have_ == kPrefixSize && left_ == 0) {
      ended++;
      prefix_have_ = 0;
    }
  }
  return ended;
}

void message_cutter::add(byte_buffer& more) {
  if (at_boundary()) {
    bytes_.clear();
    at_ = credited_ = 0;
    bytes_.swap(more);
    return;
  }
  if (at_ != 0) {
    bytes_.drop_front(at_);
    credited_ -= at_;
    at_ = 0;
  }
  bytes_.append({more.data(), more.size()});
  more.clear();
}

message_cutter::outcome message_cutter::next(std::span<const char>& message) {
  const char* const p = bytes_.data() + at_;
  const size_t have = bytes_.size() - at_;
  if (have != 0 && static_cast<uint8_t>(p[0]) > 1) return outcome::bad_flag;
  if (have < kPrefixSize) {
    missing_ = kPrefixSize - have;
    count_to(bytes_.size());
    return outcome::need_more;
  }
  compressed_ = p[0] == 1;
  const auto byte = [p](int i) -> uint32_t { return static_cast<uint8_t>(p[i]); };
  length_ = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
  if (length_ > limit_) return outcome::too_large;
  if (have - kPrefixSize < length_) {
    missing_ = length_ - (have - kPrefixSize);
    count_to(bytes_.size());
    return outcome::need_more;
  }
  message = {p + kPrefixSize, length_};
  at_ += kPrefixSize + length_;
  count_to(at_ > credited_ ? at_ : credited_);
  return outcome::message;
}

}  // namespace warren::grpc
