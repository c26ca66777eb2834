// HTTP/2 as little as a gRPC load generator needs, frames by hand on a blocking or polled socket: no header block is ever decoded, and
// windows are opened once, as wide as they go, so that the generator costs little beside the server.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

// A frame, appended to `out`.
void put_frame(std::string& out, uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
inline constexpr uint8_t kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoaway = 7, kWindowUpdate = 8;
inline constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;

// The header block of a gRPC request, nothing of it in the dynamic table: the same bytes for every call.
std::string request_block(std::string_view path, std::string_view authority);
// A message with gRPC's five bytes before it.
std::string framed(std::string_view message);

// A protobuf field, its number below 16.
std::string string_field(int field, std::string_view value);
std::string number_field(int field, int64_t value);

// One connection. Not thread-safe. Functions throw std::runtime_error with one line.
class plain_connection {
 public:
  // Connects to "ADDR:PORT" (an IPv4 address) and queues the preface and the settings.
  explicit plain_connection(const std::string& address);
  ~plain_connection();
  plain_connection(const plain_connection&) = delete;
  plain_connection& operator=(const plain_connection&) = delete;

  int fd() const { return fd_; }
  uint32_t next_stream() { return next_stream_ += 2; }

  // Frames to be sent: append, then flush. flush() blocks until all of it is with the kernel.
  std::string out;
  void flush();

  // One read; for each frame of a call on_frame(type, flags, stream, payload). Acknowledges settings and pings (queued in out). False:
  // there is nothing to read now (only with wait = false).
  template <class F>
  bool read(F&& on_frame, bool wait = true) {
    if (!fill(wait)) return false;
    size_t at = 0;
    for (size_t size; (size = frame_at(at)) != 0; at += size) {
      const auto type = static_cast<uint8_t>(in_[at + 3]);
      const auto flags = static_cast<uint8_t>(in_[at + 4]);
      const std::string_view payload(in_.data() + at + 9, size - 9);
      const uint32_t stream = be32(at + 5) & 0x7fffffff;
      if (type == kData || type == kHeaders || type == kReset) {
        on_frame(type, flags, stream, payload);
      } else {
        control(type, flags, stream, payload);
      }
    }
    in_.erase(0, at);
    return true;
  }

  // What may still be sent on the connection and, of the server's settings, on a new stream. Small messages never come near; a caller that
  // sends more has to look.
  int64_t window() const { return window_; }
  void spend(size_t bytes) { window_ -= static_cast<int64_t>(bytes); }

 private:
  bool fill(bool wait);
  size_t frame_at(size_t at) const;  // its size; 0: it is not whole
  uint32_t be32(size_t at) const;
  void control(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);

  int fd_ = -1;
  uint32_t next_stream_ = static_cast<uint32_t>(-1);
  int64_t window_ = 65'535;
  std::string in_;
};

}  // namespace bench
