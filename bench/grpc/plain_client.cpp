#include "bench/grpc/plain_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace bench {
namespace {

std::string be(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

// HPACK: a literal that does not enter the table, its name by index (below 15, or continued in a second byte) or, with 0, spelled.
std::string literal(unsigned index, std::string_view name, std::string_view value) {
  std::string out;
  if (index < 15) {
    out += static_cast<char>(index);
  } else {
    out += '\x0f';
    out += static_cast<char>(index - 15);
  }
  // Lengths are below 127.
  if (index == 0) (out += static_cast<char>(name.size())) += name;
  (out += static_cast<char>(value.size())) += value;
  return out;
}

std::string varint(uint64_t n) {
  std::string out;
  for (; n > 0x7f; n >>= 7) out += static_cast<char>((n & 0x7f) | 0x80);
  return out += static_cast<char>(n);
}

constexpr uint32_t kWidest = 0x7fffffff;

}  // namespace

void put_frame(std::string& out, uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  const auto n = static_cast<uint32_t>(payload.size());
  const char head[9] = {static_cast<char>(n >> 16),      static_cast<char>(n >> 8),      static_cast<char>(n),
                        static_cast<char>(type),         static_cast<char>(flags),       static_cast<char>(stream >> 24),
                        static_cast<char>(stream >> 16), static_cast<char>(stream >> 8), static_cast<char>(stream)};
  out.append(head, sizeof head);
  out += payload;
}

std::string request_block(std::string_view path, std::string_view authority) {
  // Static entries: 3 :method POST, 6 :scheme http, 4 :path, 1 :authority, 31 content-type.
  return "\x83\x86" + literal(4, "", path) + literal(1, "", authority) + literal(31, "", "application/grpc") + literal(0, "te", "trailers");
}

std::string framed(std::string_view message) {
  std::string out(1, '\0');
  out += be(static_cast<uint32_t>(message.size()));
  out += message;
  return out;
}

std::string string_field(int field, std::string_view value) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  out += varint(value.size());
  return out += value;
}

std::string number_field(int field, int64_t value) {
  std::string out(1, static_cast<char>(field << 3));
  return out += varint(static_cast<uint64_t>(value));
}

plain_connection::plain_connection(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) {
    throw std::runtime_error("connect " + address + ": not an IPv4 ADDR:PORT");
  }
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    const int error = errno;
    close(fd_);
    throw std::runtime_error("connect " + address + ": " + std::strerror(error));
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  out = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  put_frame(out, kSettings, 0, 0, std::string("\0\4", 2) + be(kWidest));  // INITIAL_WINDOW_SIZE
  put_frame(out, kWindowUpdate, 0, 0, be(kWidest - 65'535));
}

plain_connection::~plain_connection() { close(fd_); }

void plain_connection::flush() {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = send(fd_, out.data() + done, out.size() - done, MSG_NOSIGNAL);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      throw std::runtime_error(std::string("send: ") + std::strerror(errno));
    }
  }
  out.clear();
}

bool plain_connection::fill(bool wait) {
  char block[64 << 10];
  ssize_t n;
  do {
    n = recv(fd_, block, sizeof block, wait ? 0 : MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  if (n < 0) throw std::runtime_error(std::string("recv: ") + std::strerror(errno));
  if (n == 0) throw std::runtime_error("the server closed the connection");
  in_.append(block, static_cast<size_t>(n));
  return true;
}

size_t plain_connection::frame_at(size_t at) const {
  if (in_.size() - at < 9) return 0;
  const size_t size = 9 + (be32(at) >> 8);
  return in_.size() - at < size ? 0 : size;
}

uint32_t plain_connection::be32(size_t at) const {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; i++) v = v << 8 | static_cast<uint8_t>(in_[at + i]);
  return v;
}

void plain_connection::control(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  switch (type) {
    case kSettings:
      if ((flags & kAck) == 0) put_frame(out, kSettings, kAck, 0, "");
      break;
    case kPing:
      if ((flags & kAck) == 0) put_frame(out, kPing, kAck, 0, payload);
      break;
    case kWindowUpdate:
      if (stream == 0 && payload.size() == 4) {
        uint32_t more = 0;
        for (const char c : payload) more = more << 8 | static_cast<uint8_t>(c);
        window_ += more;
      }
      break;
    case kGoaway: throw std::runtime_error("the server said GOAWAY");
    default: break;
  }
}

}  // namespace bench
