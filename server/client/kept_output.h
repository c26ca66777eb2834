// kept_output: the framed messages of a call, from the first that may have to be sent again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "server/client/limits.h"
#include "server/http2/byte_buffer.h"

namespace warren::grpc::client {

// A place in the output is the number of bytes before it, whatever was dropped meanwhile: each attempt of the call has one. Guarded by the
// call's lock.
class kept_output {
 public:
  // Takes the messages, and leaves an empty buffer, or one whose content no longer matters.
  void add(byte_buffer& messages) {
    if (bytes_.empty()) {
      bytes_.swap(messages);
    } else {
      bytes_.append({messages.data(), messages.size()});
    }
  }
  uint64_t begin() const noexcept { return begin_; }                        // what was dropped
  uint64_t end() const noexcept { return begin_ + (bytes_.size() - at_); }  // what was added
  // REQUIRES: begin() <= from, from + n <= end().
  void copy(uint64_t from, char* into, size_t n) const noexcept { std::memcpy(into, bytes_.data() + at_ + (from - begin_), n); }
  // Nobody will ask for what is before to.
  void drop_to(uint64_t to) noexcept {
    if (to <= begin_) return;
    at_ += to - begin_;
    begin_ = to;
    if (at_ == bytes_.size()) {
      bytes_.clear();
      at_ = 0;
    } else if (at_ >= kDropSent) {
      bytes_.drop_front(at_);
      at_ = 0;
    }
  }

 private:
  byte_buffer bytes_;
  size_t at_ = 0;  // where they begin in it
  uint64_t begin_ = 0;
};

}  // namespace warren::grpc::client
