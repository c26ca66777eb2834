// outgoing: what a connection writes at once: frames packed in a block, and between them bytes of large messages where they lie.
//
// A message of a few hundred bytes is copied into the block: that is cheaper than to tell the kernel of one piece more. A large one would
// be copied for nothing, so its DATA frames' headers are packed and its bytes are lent by who holds them (stream::lend_body). They must
// stay where they are until all has been written, even if their stream is over before: connection::retire keeps them.
//
// The object lies at the beginning of the block it describes, so that a connection which writes nothing holds neither.
#pragma once
#include <asio/buffer.hpp>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include "server/http2/limits.h"

namespace warren::http2 {

// Not thread-safe: the owner's while it is filled, then of who writes.
class outgoing {
 public:
  // block: of kBlockSize bytes; given back by whoever took it.
  static outgoing* in(char* block) noexcept { return ::new (block) outgoing; }
  char* block() noexcept { return reinterpret_cast<char*>(this); }

  // --- filling: the room from its beginning, and what is lent in between ---
  std::span<char> room() noexcept { return {block() + sizeof(outgoing), kPackedAtOnce - sizeof(outgoing)}; }
  void begin() noexcept {
    next_ = count_ = 0;
    listed_ = lent_ = 0;
  }
  // REQUIRES: of lend.
  bool can_lend() const noexcept { return count_ + 3 <= kPieces && lent_ < kLentAtOnce; }
  // used: bytes of the room that come before. n: above 0.
  void lend(size_t used, const char* bytes, size_t n) noexcept {
    list_room(used);
    list(bytes, n);
    lent_ += n;
  }
  // used: bytes of the room, in all. Returns the bytes there are to write.
  size_t end(size_t used) noexcept {
    list_room(used);
    return used + lent_;
  }

  // --- writing ---
  bool empty() const noexcept { return next_ == count_; }
  // What is left. REQUIRES: not empty.
  std::span<const asio::const_buffer> pieces() const noexcept { return {pieces_ + next_, count_ - next_}; }
  void written(size_t n) noexcept {
    while (n != 0) {
      asio::const_buffer& b = pieces_[next_];
      if (n < b.size()) {
        b += n;
        return;
      }
      n -= b.size();
      next_++;
    }
  }
  void drop() noexcept { next_ = count_; }

 private:
  static constexpr size_t kPieces = 64;  // as many as a stream takes at once

  outgoing() noexcept {}
  void list(const char* bytes, size_t n) noexcept { std::construct_at(pieces_ + count_++, bytes, n); }
  void list_room(size_t used) noexcept {
    if (used != listed_) list(room().data() + listed_, used - listed_);
    listed_ = used;
  }

  size_t next_ = 0;    // piece that is not written yet, or not all of it
  size_t count_ = 0;   // of pieces
  size_t listed_ = 0;  // bytes of the room that are in pieces
  size_t lent_ = 0;    // bytes
  union {              // those that are listed: to clear all of them would be most of what a write of small messages does here
    asio::const_buffer pieces_[kPieces];
  };
};

}  // namespace warren::http2
