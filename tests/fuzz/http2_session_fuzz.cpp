// The HTTP/2 session and a small server on it, fed with arbitrary bytes in arbitrary pieces: no crash, no bytes after the end, streams
// closed at most once; what frame_watch finds does not depend on the pieces, and what comes out not on whether the session slept between
// them. The preface is sent first if the first byte is even; its other bits choose the pieces.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/http2/limits.h"
#include "server/http2/session.h"

namespace {
using namespace warren::http2;

struct echo final : stream {
  size_t body = 0;
  void on_header(std::string_view, std::string_view) override {}
  void on_headers_over_limit() override {}
  void on_headers_end(session&) override {}
  void on_data(session& s, std::string_view bytes) override {
    body += bytes.size();
    s.consume(*this, bytes.size(), 0);
  }
  void on_request_end(session& s) override {
    static uint8_t name[] = ":status", value[] = "200";
    const nghttp2_nv h[] = {{name, value, 7, 3, 0}};
    s.respond_with_body(*this, h);
  }
  bool closed = false;
  void on_closed(uint32_t) override {
    if (closed) std::abort();
    closed = true;
  }
  piece peek_body(session& s, size_t most) override {
    const size_t n = body < most ? body : most;
    if (n == body) {
      static uint8_t name[] = "x", value[] = "y";
      const nghttp2_nv t[] = {{name, value, 1, 1, 0}};
      s.trailers(*this, t);
    }
    return {n, n == body};
  }
  void take_body(char* into, size_t n) override {
    std::fill_n(into, n, 'b');
    body -= n;
  }
  void on_events(session&, uint32_t) override {}
  void run() noexcept override {}
  void on_run_end(session&) override {}
  void on_kill(session&, std::string_view) override {}
  bool on_tick(session&, int64_t, int64_t) override { return true; }
  bool unused() const noexcept override { return true; }
  void on_reuse() override {}
};

struct world : session::events {
  std::vector<std::unique_ptr<echo>> streams;
  session s{session_limits{}, *this};
  stream* open_stream(int32_t) override {
    if (streams.size() > 500) return nullptr;
    streams.push_back(std::make_unique<echo>());
    return streams.back().get();
  }
  void stream_closed(stream&) override {}
  void settings_received() override {}
  void drain_acknowledged() override {}
  bool calls_live() override { return false; }
};

// Every finding up to the one that would end the connection.
std::vector<int64_t> findings(std::string_view bytes, size_t step) {
  std::vector<int64_t> out;
  frame_watch w;
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    for (;;) {
      const frame_watch::finding f = w.look(piece);
      if (f.at > piece.size()) std::abort();
      if (f.what == frame_watch::verdict::fine) break;
      out.push_back(static_cast<int64_t>(f.code) << 32 | static_cast<uint32_t>(f.id));
      if (f.what == frame_watch::verdict::connection_error) return out;
      piece.remove_prefix(f.at);
    }
  }
  return out;
}

// What a session answers to bytes in pieces.
std::string answer(std::string_view bytes, size_t step, bool sleeps) {
  world w;
  std::string out;
  static std::vector<char> room(kBlockSize);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    const bool on = w.s.receive(piece, 0);
    while (const size_t n = w.s.serialise(room)) out.append(room.data(), n);
    if (!on) break;
    if (sleeps) w.s.trim();
  }
  if (w.s.ended() && (w.s.has_output() || !w.s.finished())) std::abort();
  return out;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes;
  if (data[0] % 2 == 0) bytes.assign(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
  bytes.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = data[0] < 16 ? bytes.size() : data[0];
  if (findings(bytes, bytes.size()) != findings(bytes, 1 + data[0] % 16)) std::abort();
  if (answer(bytes, step, true) != answer(bytes, step, false)) std::abort();
  return 0;
}
