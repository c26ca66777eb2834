// A gRPC client for tests that need to see, and to break, every frame: HTTP/2 written by hand on a warren::stream; of nghttp2 only HPACK.
// Use on a goroutine. Every wait has a limit, so that a server that keeps silent fails a test instead of hanging it.
#pragma once
#include <nghttp2/nghttp2.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <warren/net.h>

namespace warren::testing {

using fields = std::vector<std::pair<std::string, std::string>>;

struct frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  int32_t id = 0;
  std::string payload;
};

// What came for one stream.
struct reply {
  // One letter per frame: H headers, D data, R reset; lower case if END_STREAM was on it. "HDh" is a unary answer, "h" trailers-only.
  std::string shape;
  fields headers;   // of the first header block
  fields trailers;  // of the last header block (the same one if there was only one)
  std::string data;
  std::optional<uint32_t> reset;
  bool ended = false;

  static std::string find(const fields& in, std::string_view name) {
    for (const auto& f : in) {
      if (f.first == name) return f.second;
    }
    return "(absent)";
  }
  std::string header(std::string_view name) const { return find(headers, name); }
  std::string trailer(std::string_view name) const { return find(trailers, name); }
  std::string http_status() const { return header(":status"); }
  std::string grpc_status() const { return trailer("grpc-status"); }

  // The messages in data, which must be framed well.
  std::vector<std::string> messages() const {
    std::vector<std::string> all;
    std::string_view left = data;
    while (left.size() >= 5) {
      uint32_t n = 0;
      for (int i = 1; i < 5; i++) n = n << 8 | static_cast<uint8_t>(left[static_cast<size_t>(i)]);
      if (left.size() < 5 + n) break;
      all.emplace_back(left.substr(5, n));
      left.remove_prefix(5 + n);
    }
    if (!left.empty()) all.push_back("(broken framing)");
    return all;
  }
};

inline std::string message(std::string_view payload, char flag = 0) {
  const auto n = static_cast<uint32_t>(payload.size());
  std::string m{flag, static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
  m += payload;
  return m;
}

inline std::string be32(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

class raw_client {
 public:
  static constexpr std::chrono::seconds kPatience{20};

  // greet: send the preface and an empty SETTINGS.
  explicit raw_client(const std::string& address, bool greet = true) : raw_client(dial_stream(address), greet) {}
  // Over a connection made before: through TLS, say, or the server's side of one (tests/server/raw_server.h).
  explicit raw_client(std::unique_ptr<warren::stream> connected, bool greet = true) : socket_(std::move(connected)) {
    socket_->read_deadline(kPatience);
    socket_->write_deadline(kPatience);
    nghttp2_hd_deflate_new(&deflater_, 4096);
    nghttp2_hd_inflate_new(&inflater_);
    if (greet) {
      send(std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
      send_frame(NGHTTP2_SETTINGS, 0, 0, "");
    }
  }
  ~raw_client() {
    nghttp2_hd_deflate_del(deflater_);
    nghttp2_hd_inflate_del(inflater_);
  }
  raw_client(const raw_client&) = delete;
  raw_client& operator=(const raw_client&) = delete;

  warren::stream& socket() { return *socket_; }
  void close() { socket_->close(); }

  // --- sending ---
  void send(std::string_view bytes) {
    asio::error_code ec;
    socket_->write(asio::buffer(bytes.data(), bytes.size()), ec);
    write_error = ec;
  }
  static std::string frame_bytes(uint8_t type, uint8_t flags, int32_t id, std::string_view payload) {
    const auto n = static_cast<uint32_t>(payload.size());
    std::string f{static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n), static_cast<char>(type),
                  static_cast<char>(flags)};
    f += be32(static_cast<uint32_t>(id));
    f += payload;
    return f;
  }
  void send_frame(uint8_t type, uint8_t flags, int32_t id, std::string_view payload) { send(frame_bytes(type, flags, id, payload)); }

  std::string encode(const fields& f) {
    std::vector<nghttp2_nv> nva;
    for (const auto& [name, value] : f) {
      nva.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                     reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    }
    std::string out(nghttp2_hd_deflate_bound(deflater_, nva.data(), nva.size()), '\0');
    const ssize_t n = nghttp2_hd_deflate_hd(deflater_, reinterpret_cast<uint8_t*>(out.data()), out.size(), nva.data(), nva.size());
    out.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return out;
  }

  static fields request_fields(const std::string& path) {
    return {{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "test"}, {"content-type", "application/grpc"},
            {"te", "trailers"}};
  }
  // Replaces, removes (empty value) or appends.
  static fields with(fields f, const std::string& name, const std::string& value) {
    for (auto it = f.begin(); it != f.end(); ++it) {
      if (it->first != name) continue;
      if (value.empty()) {
        f.erase(it);
      } else {
        it->second = value;
      }
      return f;
    }
    if (!value.empty()) f.emplace_back(name, value);
    return f;
  }

  int32_t next_id() { return std::exchange(next_id_, next_id_ + 2); }
  // One HEADERS frame.
  int32_t begin(const fields& f, bool end_stream = false) {
    const int32_t id = next_id();
    headers(id, f, end_stream);
    return id;
  }
  void headers(int32_t id, const fields& f, bool end_stream) {
    send_frame(NGHTTP2_HEADERS, static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end_stream ? NGHTTP2_FLAG_END_STREAM : 0)), id, encode(f));
  }
  void data(int32_t id, std::string_view bytes, bool end_stream) {
    send_frame(NGHTTP2_DATA, end_stream ? NGHTTP2_FLAG_END_STREAM : 0, id, bytes);
  }
  void reset(int32_t id, uint32_t code = NGHTTP2_CANCEL) { send_frame(NGHTTP2_RST_STREAM, 0, id, be32(code)); }
  void window_update(int32_t id, uint32_t n) { send_frame(NGHTTP2_WINDOW_UPDATE, 0, id, be32(n)); }
  int32_t start(const std::string& path, std::string_view payload, const fields& extra = {}) {
    fields f = request_fields(path);
    f.insert(f.end(), extra.begin(), extra.end());
    const int32_t id = begin(f);
    data(id, message(payload), true);
    return id;
  }

  // --- receiving ---
  // The next frame, whatever it is; nothing at the end of the connection.
  std::optional<frame> read_frame() {
    frame f;
    if (!fill(9)) return std::nullopt;
    const auto byte = [this](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(in_[i])); };
    const size_t n = byte(0) << 16 | byte(1) << 8 | byte(2);
    f.type = static_cast<uint8_t>(byte(3));
    f.flags = static_cast<uint8_t>(byte(4));
    f.id = static_cast<int32_t>((byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)) & 0x7fffffff);
    if (!fill(9 + n)) return std::nullopt;
    f.payload = in_.substr(9, n);
    in_.erase(0, 9 + n);
    note(f);
    return f;
  }
  // Reads until stream id is over (END_STREAM or RST_STREAM), or the connection is.
  reply& wait(int32_t id) {
    while (!replies[id].ended && !closed && read_frame()) {
    }
    return replies[id];
  }
  reply& wait_for(int32_t id, std::string_view shape_prefix) {
    while (!replies[id].shape.starts_with(shape_prefix) && !closed && read_frame()) {
    }
    return replies[id];
  }
  reply call(const std::string& path, std::string_view payload, const fields& extra = {}) { return wait(start(path, payload, extra)); }
  // Reads until the server closes.
  void wait_closed() {
    while (!closed && read_frame()) {
    }
  }
  // Sends a PING and waits for its echo: whatever the server did before is visible then.
  bool ping(std::string_view eight = "12345678") {
    pong.clear();
    send_frame(NGHTTP2_PING, 0, 0, eight);
    while (pong.empty() && !closed && read_frame()) {
    }
    return pong == eight;
  }
  // The next n bytes as they are; fewer at the end of the connection.
  std::string take(size_t n) {
    fill(n);
    std::string out = in_.substr(0, n);
    in_.erase(0, n);
    return out;
  }
  // Everything until the server closes, as bytes.
  std::string read_all() {
    while (fill(in_.size() + 1)) {
    }
    return in_;
  }

  std::map<int32_t, reply> replies;
  std::map<uint16_t, uint32_t> settings;             // the server's
  std::vector<std::pair<int32_t, uint32_t>> goaway;  // last stream, code
  std::vector<std::string> goaway_debug;             // one for each
  int pings_received = 0;
  std::string last_ping;                  // its payload
  int64_t connection_window_updates = 0;  // bytes
  std::map<int32_t, int64_t> stream_window_updates;
  std::string pong;
  bool closed = false;      // by the server
  bool timed_out = false;   // we lost patience
  bool acknowledge = true;  // answer SETTINGS and PING
  asio::error_code write_error;

 private:
  bool fill(size_t n) {
    while (in_.size() < n) {
      char block[16 << 10];
      asio::error_code ec;
      const size_t got = socket_->read_some(asio::buffer(block), ec);
      if (ec) {
        closed = true;
        timed_out = ec == asio::error::timed_out;
        return false;
      }
      in_.append(block, got);
    }
    return true;
  }

  fields decode(std::string_view block) {
    fields out;
    auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (;;) {
      nghttp2_nv nv;
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
      if (n < 0) {
        out.emplace_back("(bad hpack)", "");
        return out;
      }
      at += n;
      left -= static_cast<size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        out.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                         std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        return out;
      }
      if (n == 0 && left == 0) return out;
    }
  }

  static uint32_t u32(std::string_view s, size_t at) {
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) v = v << 8 | static_cast<uint8_t>(s[at + i]);
    return v;
  }

  void note(const frame& f) {
    const bool end = (f.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (f.type) {
      case NGHTTP2_HEADERS: {
        reply& r = replies[f.id];
        r.shape += end ? 'h' : 'H';
        fields got = decode(f.payload);
        if (r.headers.empty()) r.headers = got;
        r.trailers = std::move(got);
        r.ended |= end;
        break;
      }
      case NGHTTP2_DATA: {
        reply& r = replies[f.id];
        r.shape += end ? 'd' : 'D';
        r.data += f.payload;
        r.ended |= end;
        break;
      }
      case NGHTTP2_RST_STREAM: {
        reply& r = replies[f.id];
        r.shape += 'R';
        r.reset = u32(f.payload, 0);
        r.ended = true;
        break;
      }
      case NGHTTP2_SETTINGS:
        if ((f.flags & NGHTTP2_FLAG_ACK) != 0) break;
        for (size_t i = 0; i + 6 <= f.payload.size(); i += 6) {
          settings[static_cast<uint16_t>(static_cast<uint8_t>(f.payload[i]) << 8 | static_cast<uint8_t>(f.payload[i + 1]))] =
              u32(f.payload, i + 2);
        }
        if (acknowledge) send_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "");
        break;
      case NGHTTP2_PING:
        if ((f.flags & NGHTTP2_FLAG_ACK) != 0) {
          pong = f.payload;
        } else if (pings_received++, last_ping = f.payload; acknowledge) {
          send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, f.payload);
        }
        break;
      case NGHTTP2_GOAWAY:
        goaway.emplace_back(static_cast<int32_t>(u32(f.payload, 0)), u32(f.payload, 4));
        goaway_debug.push_back(f.payload.substr(8));
        break;
      case NGHTTP2_WINDOW_UPDATE: (f.id == 0 ? connection_window_updates : stream_window_updates[f.id]) += u32(f.payload, 0); break;
      default: break;
    }
  }

  std::unique_ptr<warren::stream> socket_;
  nghttp2_hd_deflater* deflater_ = nullptr;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string in_;
  int32_t next_id_ = 1;
};

}  // namespace warren::testing
