// The message framing of gRPC: a flag byte, a 32-bit big-endian length, the message. DATA frame boundaries mean nothing to it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warren::grpc {

inline constexpr size_t kPrefixSize = 5;

// Writes the prefix of an uncompressed message of n bytes.
inline void write_prefix(char* out, uint32_t n) noexcept {
  out[0] = 0;
  out[1] = static_cast<char>(n >> 24);
  out[2] = static_cast<char>(n >> 16);
  out[3] = static_cast<char>(n >> 8);
  out[4] = static_cast<char>(n);
}

// Reads a stream of messages, one at a time, from pieces of any size. Never reserves by what a prefix promises beyond kTrusted bytes:
// memory grows with the bytes that came.
class message_reader {
 public:
  static constexpr size_t kTrusted = 16 << 10;  // one DATA frame's worth; a peer must send the rest before we make room for it

  enum class outcome : uint8_t {
    need_more,  // all of the piece was taken, the message is not complete
    complete,   // message() is whole; the piece may hold more bytes
    bad_flag,   // the flag byte is neither 0 nor 1
    too_large,  // the length is over the limit; nothing of the message was stored
  };

  explicit message_reader(size_t limit = 0) noexcept : limit_(limit) {}

  // Takes bytes from the front of piece. REQUIRES: the last outcome was need_more, or next() was called since.
  outcome feed(std::string_view& piece);

  // Makes ready for the next message; keeps the memory.
  void next() noexcept {
    prefix_have_ = 0;
    message_.clear();
  }
  void reset(size_t limit) noexcept {
    limit_ = limit;
    next();
  }
  // Gives the memory back if there is more than keep bytes of it.
  void shrink(size_t keep) {
    if (message_.capacity() > keep) std::string().swap(message_);
  }

  bool at_boundary() const noexcept { return prefix_have_ == 0; }  // no byte of a message has come since the last one
  bool compressed() const noexcept { return prefix_[0] == 1; }
  uint32_t length() const noexcept { return length_; }
  std::string_view message() const noexcept { return message_; }

 private:
  size_t limit_;
  uint32_t length_ = 0;
  uint8_t prefix_have_ = 0;
  char prefix_[kPrefixSize] = {};
  std::string message_;
};

}  // namespace warren::grpc
