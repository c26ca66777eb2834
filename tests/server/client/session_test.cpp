// The client's HTTP/2 session without a socket: bytes in, bytes and events out.
#include "server/client/session.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/http2/limits.h"
#include "tests/server/raw_client.h"

namespace {

using namespace warren::grpc::client;
using warren::testing::be32;
using warren::testing::raw_client;

struct one_stream final : stream {
  std::string events;
  std::string body = "request";
  size_t at = 0;
  int64_t now = 0;
  std::vector<nghttp2_nv> fields;
  std::span<const nghttp2_nv> request_headers() override {
    const auto nv = [](const char* n, const char* v) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(n)), reinterpret_cast<uint8_t*>(const_cast<char*>(v)), strlen(n),
                        strlen(v), 0};
    };
    fields = {nv(":method", "POST"), nv(":scheme", "http"), nv(":path", "/a/b"), nv(":authority", "x")};
    return fields;
  }
  piece peek_body(size_t most) override {
    const size_t n = std::min(most, body.size() - at);
    return {n, n == body.size() - at};
  }
  void take_body(char* into, size_t n) override {
    std::memcpy(into, body.data() + at, n);
    at += n;
  }
  void on_header(std::string_view name, std::string_view) override { events.append("h(").append(name).append(")"); }
  void on_headers_over_limit() override { events += "over "; }
  void on_headers_end(session&, bool end) override { events += end ? "H! " : "H "; }
  void on_data(session& s, std::string_view bytes) override {
    events.append("D").append(std::to_string(bytes.size())).append(" ");
    s.consume(*this, bytes.size(), now);
  }
  void on_data_end(session&) override { events += "D! "; }
  void on_closed(ending, uint32_t, std::string_view) override {}
  size_t take_consumed() override { return 0; }
  void pin() noexcept override {}
  void unpin() noexcept override {}
};

struct world final : session::events {
  session s;
  one_stream st;
  int settings = 0;
  std::string log;
  explicit world(const session_limits& limits = {}) : s(limits, *this) {}
  void settings_received() override { settings++; }
  void goaway_received(uint32_t code, std::string_view debug) override {
    log += "goaway " + std::to_string(code) + " " + std::string(debug) + ";";
  }
  void stream_closed(stream& x, uint32_t code) override { log += "closed " + std::to_string(x.id()) + " " + std::to_string(code) + ";"; }
  std::string output() {
    std::string all;
    std::vector<char> room(warren::http2::kBlockSize);
    while (const size_t n = s.serialise(room)) all.append(room.data(), n);
    return all;
  }
  bool settle() { return s.receive(raw_client::frame_bytes(NGHTTP2_SETTINGS, 0, 0, ""), 0); }
};

TEST(client_session, begins_with_the_preface_and_no_push) {
  world w;
  const std::string out = w.output();
  EXPECT_TRUE(out.starts_with(std::string_view(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN)));
  EXPECT_NE(out.find(std::string("\0\2\0\0\0\0", 6)), std::string::npos);  // ENABLE_PUSH 0
  EXPECT_EQ(w.s.max_concurrent_streams(), 100u);                           // nghttp2's guess until the server has said
  EXPECT_TRUE(w.settle());
  EXPECT_EQ(w.settings, 1);
  EXPECT_EQ(w.s.max_concurrent_streams(), 0xffffffffu);
}

TEST(client_session, goaway_closes_what_is_above_its_last_stream_and_forbids_more) {
  world w;
  w.settle();
  ASSERT_TRUE(w.s.request(w.st, w.st.request_headers()));
  w.output();
  EXPECT_TRUE(w.s.receive(raw_client::frame_bytes(NGHTTP2_GOAWAY, 0, 0, be32(0) + be32(0) + "bye"), 0));
  EXPECT_EQ(w.log, "goaway 0 bye;closed 1 7;");
  one_stream other;
  EXPECT_FALSE(w.s.request(other, other.request_headers()));
}

TEST(client_session, a_flood_of_settings_ends_it) {
  world w;
  bool on = true;
  int n = 0;
  while (on && n < 100'000) {
    on = w.settle();
    n++;
  }
  EXPECT_FALSE(on);
  EXPECT_LE(n, static_cast<int>(warren::http2::kMaxQueuedAcks) + 2);  // nobody takes the acknowledgements
  w.output();
  EXPECT_TRUE(w.s.finished());
}

TEST(client_session, garbage_ends_it_with_words) {
  world w;
  EXPECT_FALSE(w.s.receive("HTTP/1.1 400 Bad Request\r\n\r\n", 0) && !w.s.finished() && w.s.trouble().empty());
  w.output();
  EXPECT_TRUE(w.s.finished());
  EXPECT_FALSE(w.s.trouble().empty());
}

// http2::windows is tested with the server's session; here that the client's uses it.
TEST(client_session, windows_grow_as_answers_are_read_and_fill_them) {
  constexpr uint32_t kWindow = 64 << 10;
  for (const uint32_t most : {8 * kWindow, 0u}) {
    world w({.windows = {kWindow, kWindow, most, 8 * kWindow}});
    w.settle();
    ASSERT_TRUE(w.s.request(w.st, w.st.request_headers()));
    w.output();
    EXPECT_TRUE(w.s.receive(raw_client::frame_bytes(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""), 1));
    EXPECT_TRUE(w.s.receive(raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\x88"), 1));  // :status 200
    w.output();
    const std::string piece = raw_client::frame_bytes(NGHTTP2_DATA, 0, 1, std::string(kWindow / 4, 'd'));
    EXPECT_TRUE(w.s.receive(piece, 1));
    const std::string out = w.output();
    const size_t ping = out.find(raw_client::frame_bytes(NGHTTP2_PING, 0, 0, "wbdp????").substr(0, 13));
    EXPECT_EQ(ping != std::string::npos, most != 0);
    if (most == 0) continue;
    EXPECT_TRUE(w.s.receive(piece + piece, 1000));
    EXPECT_TRUE(w.s.receive(raw_client::frame_bytes(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, out.substr(ping + 9, 8)), 1000));
    // Another quarter, and it is open for more than it ever was.
    EXPECT_TRUE(w.s.receive(piece, 1000));
    w.output();
    for (int i = 0; i < 6; i++) {
      EXPECT_TRUE(w.s.receive(piece, 1000));
      w.output();
    }
    w.st.events.clear();
    EXPECT_TRUE(w.s.receive(piece + piece + piece + piece + piece, 1000));  // more than the initial window at once
    EXPECT_EQ(w.st.events, "D16384 D16384 D16384 D16384 D16384 ");
  }
}

}  // namespace
