// The message framing of gRPC: a flag byte, a 32-bit big-endian length, the message. DATA frame boundaries mean nothing to it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "server/http2/byte_buffer.h"

namespace warren::grpc {

inline constexpr size_t kPrefixSize = 5;

inline void write_prefix(char* out, uint32_t n, bool compressed = false) noexcept {
  out[0] = compressed ? 1 : 0;
  out[1] = static_cast<char>(n >> 24);
  out[2] = static_cast<char>(n >> 16);
  out[3] = static_cast<char>(n >> 8);
  out[4] = static_cast<char>(n);
}

struct framed_message {
  std::string_view bytes;
  bool compressed;
};

// If the piece is one message with its prefix, and nothing besides.
inline std::optional<framed_message> whole_message(std::string_view piece) noexcept {
  if (piece.size() < kPrefixSize || static_cast<uint8_t>(piece[0]) > 1) return std::nullopt;
  const auto byte = [piece](size_t i) -> uint32_t { return static_cast<uint8_t>(piece[i]); };
  if ((byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4)) != piece.size() - kPrefixSize) return std::nullopt;
  return framed_message{piece.substr(kPrefixSize), piece[0] == 1};
}

// Reads a stream of messages, one at a time, from pieces of any size. Never reserves by what a prefix promises beyond kTrusted bytes:
// memory grows with the bytes that came.
class message_reader {
 public:
  static constexpr size_t kTrusted = 16 << 10;  // one DATA frame's worth; a peer must send the rest before we make room for it
  // Room is made for so many times what has come: by then most of the room was paid for, and a message of a MiB, which comes in 64 frames,
  // is moved twice, not six times.
  static constexpr size_t kGrowth = 4;

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
  // For those who recycle it. It is empty, or a message is being read.
  byte_buffer& buffer() noexcept { return message_; }

  // As if the message had been fed.
  void assign(std::string_view message, bool compressed) {
    prefix_have_ = kPrefixSize;
    prefix_[0] = compressed ? 1 : 0;
    length_ = static_cast<uint32_t>(message.size());
    message_.clear();
    message_.append(message);
  }

  bool at_boundary() const noexcept { return prefix_have_ == 0; }  // no byte of a message has come since the last one
  bool compressed() const noexcept { return prefix_[0] == 1; }
  uint32_t length() const noexcept { return length_; }
  std::string_view message() const noexcept {
    return message_.empty() ? std::string_view("") : std::string_view(message_.data(), message_.size());
  }

 private:
  size_t limit_;
  uint32_t length_ = 0;
  uint8_t prefix_have_ = 0;
  char prefix_[kPrefixSize] = {};
  byte_buffer message_;
};

// Follows the framing without keeping anything: where messages end.
class message_follower {
 public:
  // How many messages end within these bytes. The flag byte is not looked at.
  size_t feed(std::string_view bytes) noexcept;
  void reset() noexcept {
    prefix_have_ = 0;
    left_ = 0;
  }

 private:
  uint8_t prefix_have_ = 0;
  uint32_t left_ = 0;  // of the message; its length is read byte by byte into it
};

// Cuts messages out of bytes that pile up faster than they are taken: of a stream of requests, on the handler's side. A message that is
// whole is handed out where it lies. What was cut, and what of an unfinished message somebody waits for, is credit: the sender's window may
// open by so much. So a sender gets no further ahead than its window, and yet a message larger than the window comes through.
class message_cutter {
 public:
  enum class outcome : uint8_t {
    message,
    need_more,  // see missing() and at_boundary()
    bad_flag,   // the flag byte is neither 0 nor 1
    too_large,  // the length is over the limit
  };

  void reset(size_t limit, size_t keep) noexcept {
    limit_ = limit;
    bytes_.reset(keep);
    at_ = credited_ = credit_ = missing_ = 0;
    length_ = 0;
  }

  // Takes over the bytes and leaves an empty buffer. Ends the life of the message handed out before.
  void add(byte_buffer& more);

  // The next message. REQUIRES: the last outcome was message or need_more.
  outcome next(std::span<const char>& message);

  // Of the message that next() handed out or found too large.
  bool compressed() const noexcept { return compressed_; }
  uint32_t length() const noexcept { return length_; }

  // After need_more: what the message lacks, as far as can be told yet; and whether nothing of it has come at all.
  size_t missing() const noexcept { return missing_; }
  bool at_boundary() const noexcept { return at_ == bytes_.size(); }

  // Credit earned since the last call.
  size_t take_credit() noexcept { return std::exchange(credit_, 0); }
  size_t credit() const noexcept { return credit_; }

 private:
  void count_to(size_t end) noexcept {
    credit_ += end - credited_;
    credited_ = end;
  }

  size_t limit_ = 0;
  byte_buffer bytes_;
  size_t at_ = 0;        // the first byte that was not handed out
  size_t credited_ = 0;  // the first byte that has not become credit; at_ or later
  size_t credit_ = 0;
  size_t missing_ = 0;
  uint32_t length_ = 0;
  bool compressed_ = false;
};

}  // namespace warren::grpc
