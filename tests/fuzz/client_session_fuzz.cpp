// The client's HTTP/2 session with three calls in flight, fed with arbitrary bytes in arbitrary pieces, as far as the response parser: no
// crash, no bytes after the end, each stream closed at most once. A SETTINGS frame is sent first if the first byte is even; its other bits
// choose the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "server/client/response.h"
#include "server/client/session.h"
#include "server/grpc/wire.h"
#include "server/http2/limits.h"

namespace {
using namespace warren::grpc;
using namespace warren::grpc::client;

struct caller final : stream {
  response head;
  bool closed = false;
  bool decided = false;
  message_cutter cutter;
  byte_buffer inbox;
  size_t left = 40'000;

  caller() { cutter.reset(1 << 16, 0); }
  std::span<const nghttp2_nv> request_headers() override {
    static uint8_t n[] = ":method:scheme:path:authority", v[] = "POSThttp/a/bx";
    static const nghttp2_nv f[] = {{n, v, 7, 4, 0}, {n + 7, v + 4, 7, 4, 0}, {n + 14, v + 8, 5, 4, 0}, {n + 19, v + 12, 10, 1, 0}};
    return f;
  }
  piece peek_body(size_t most) override {
    const size_t k = left < most ? left : most;
    return {k, k == left};
  }
  void take_body(char* into, size_t k) override {
    if (k > left) std::abort();
    std::fill_n(into, k, 'b');
    left -= k;
  }
  void on_header(std::string_view name, std::string_view value) override {
    if (!decided) head.on_header(name, value);
  }
  void on_headers_over_limit() override { head.on_headers_over_limit(); }
  void on_headers_end(session& s, bool end) override {
    if (decided) return;
    switch (head.end_block(end)) {
      case response::block::informational:
        if (end) std::abort();
        break;
      case response::block::initial:
        if (end || !head.final_status().ok()) std::abort();
        break;
      case response::block::not_grpc:
        if (head.final_status().ok()) std::abort();
        decided = true;
        if (!end) s.reset(*this, NGHTTP2_CANCEL);
        break;
      case response::block::last:
        if (!end) std::abort();
        decided = true;
        break;
    }
  }
  void on_data(session& s, std::string_view bytes) override {
    if (decided) return;
    inbox.append(bytes);
    cutter.add(inbox);
    std::span<const char> m;
    message_cutter::outcome o;
    while ((o = cutter.next(m)) == message_cutter::outcome::message) {
    }
    s.consume(*this, cutter.take_credit(), 0);
    if (o != message_cutter::outcome::need_more) {
      decided = true;
      s.reset(*this, NGHTTP2_CANCEL);
    }
  }
  void on_data_end(session&) override { head.end_without_trailers(); }
  void on_closed(ending, uint32_t, std::string_view) override {}
  size_t take_consumed() override { return 0; }
  void pin() noexcept override {}
  void unpin() noexcept override {}
};

struct world final : session::events {
  session s{session_limits{}, *this};
  caller calls[3];
  void settings_received() override {}
  void goaway_received(uint32_t, std::string_view) override {}
  void stream_closed(stream& x, uint32_t) override {
    auto& c = static_cast<caller&>(x);
    if (c.closed) std::abort();
    c.closed = true;
  }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  world w;
  std::string bytes;
  if (data[0] % 2 == 0) bytes.assign("\0\0\0\4\0\0\0\0\0", 9);
  bytes.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = data[0] < 16 ? bytes.size() : data[0];
  for (caller& c : w.calls) w.s.request(c, c.request_headers());
  static std::vector<char> room(warren::http2::kBlockSize);
  const auto flush = [&] {
    while (w.s.serialise(room) != 0) {
    }
  };
  flush();
  std::string_view left = bytes;
  while (!left.empty()) {
    const std::string_view piece = left.substr(0, step);
    left.remove_prefix(piece.size());
    const bool on = w.s.receive(piece, 0);
    flush();
    if (!on) {
      if (!w.s.finished()) std::abort();
      break;
    }
  }
  return 0;
}
