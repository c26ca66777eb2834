// The ground that h2spec covers, on our own feet. h2spec is the usual prover of HTTP/2 servers; these tests go through every case of its
// list (generic, http2, hpack; the --strict ones too) against our server with our raw-frame client, so that they run wherever the other
// tests do. A test's suite is the tool's group and section: what it calls http2/5.1.1 is Http2_5_1_1 here.
//
// Each case runs twice, on plain TCP and through TLS. It begins on a new connection whose SETTINGS both sides have acknowledged, and talks
// to the page at `/`, the one resource of a gRPC server that is plain HTTP. The verdicts are the tool's or narrower: where it takes the end
// of the connection for an answer, we want the GOAWAY with its code too; where it takes a reset stream, the connection must go on.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include <warren/tls.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"
#include "tests/server/tls/authority.h"

namespace warren::testing::h2spec {

// One certificate for all tests of the process, in files as the server wants it.
struct certificate {
  certificate() {
    std::string pattern = std::filesystem::temp_directory_path() / "warren_h2spec_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    where = pattern;
    authority signer("server authority");
    ca = signer.pem();
    const authority::pair p = signer.issue("localhost", "DNS:localhost");
    std::ofstream(where / "cert.pem") << p.certificate;
    std::ofstream(where / "key.pem") << p.key;
  }
  ~certificate() { std::filesystem::remove_all(where); }
  certificate(const certificate&) = delete;
  certificate& operator=(const certificate&) = delete;

  std::string ca;
  std::filesystem::path where;
};

using codes = std::initializer_list<uint32_t>;

inline bool among(codes allowed, uint32_t code) { return std::find(allowed.begin(), allowed.end(), code) != allowed.end(); }

// One connection to the server under test. Use on a goroutine.
class peer {
 public:
  peer(const std::string& address, const certificate* with_tls, bool greet = true)
      : tls_(with_tls != nullptr), c(connect(address, with_tls), greet) {
    if (greet) shake_hands();
  }

  fields get() const { return {{":method", "GET"}, {":scheme", tls_ ? "https" : "http"}, {":path", "/"}, {":authority", "localhost"}}; }
  fields post() const { return raw_client::with(get(), ":method", "POST"); }
  static fields plus(fields f, const std::string& name, const std::string& value) {
    f.emplace_back(name, value);
    return f;
  }
  static fields less(fields f, std::string_view name) {
    std::erase_if(f, [&](const auto& one) { return one.first == name; });
    return f;
  }
  // Fields of a size that fills frames: n of them, 4000 bytes each.
  static fields bulk(int n) {
    fields f;
    for (int i = 0; i < n; i++) f.emplace_back("x-bulk-" + std::to_string(i), std::string(4000, 'x'));
    return f;
  }

  // --- sending ---
  static constexpr uint8_t kEnd = NGHTTP2_FLAG_END_STREAM;
  static constexpr uint8_t kWhole = NGHTTP2_FLAG_END_HEADERS;
  void frame(uint8_t type, uint8_t flags, int32_t id, std::string_view payload) { c.send_frame(type, flags, id, payload); }
  void headers(int32_t id, const fields& f, uint8_t flags) { frame(NGHTTP2_HEADERS, flags, id, c.encode(f)); }
  void continuation(int32_t id, const fields& f, uint8_t flags) { frame(NGHTTP2_CONTINUATION, flags, id, c.encode(f)); }
  void request(int32_t id = 1) { headers(id, get(), kEnd | kWhole); }  // a whole GET
  void data(int32_t id, std::string_view bytes, bool end) { c.data(id, bytes, end); }
  static std::string dependency(uint32_t on, uint8_t weight, bool exclusive = false) {
    return be32(on | (exclusive ? 1u << 31 : 0)) + static_cast<char>(weight);
  }
  void priority(int32_t id, uint32_t on, uint8_t weight, bool exclusive = false) {
    frame(NGHTTP2_PRIORITY, 0, id, dependency(on, weight, exclusive));
  }
  static std::string setting(uint16_t id, uint32_t value) {
    return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value);
  }
  void settings(const std::string& entries) { frame(NGHTTP2_SETTINGS, 0, 0, entries); }

  // --- verdicts ---
  // GOAWAY with one of these codes, and the end of the connection.
  void connection_error(codes allowed) {
    c.wait_closed();
    EXPECT_FALSE(c.timed_out) << "the connection stays open";
    ASSERT_FALSE(c.goaway.empty()) << "the connection ended without GOAWAY";
    EXPECT_TRUE(among(allowed, c.goaway.back().second)) << "GOAWAY with code " << c.goaway.back().second;
  }
  // RST_STREAM of the stream or GOAWAY, with one of these codes; after the former the connection goes on.
  void stream_error(int32_t id, codes allowed) {
    while (!c.closed && !c.replies[id].reset && c.goaway.empty() && c.read_frame()) {
    }
    const reply& r = c.replies[id];
    if (r.reset) {
      EXPECT_TRUE(among(allowed, *r.reset)) << "RST_STREAM with code " << *r.reset;
      lives();
    } else if (!c.goaway.empty()) {
      EXPECT_TRUE(among(allowed, c.goaway.back().second)) << "GOAWAY with code " << c.goaway.back().second;
    } else {
      ADD_FAILURE() << (c.timed_out ? "no error at all" : "the connection ended without a word");
    }
  }
  // The page, whole, and nothing wrong beside it.
  void answered(int32_t id = 1) {
    const reply& r = c.wait(id);
    EXPECT_EQ(r.http_status(), "200");
    EXPECT_EQ(r.shape, "Hd");
    EXPECT_FALSE(r.data.empty());
    EXPECT_TRUE(c.goaway.empty());
  }
  void closes() {
    c.wait_closed();
    EXPECT_TRUE(c.closed && !c.timed_out) << "the connection stays open";
  }
  void lives() { EXPECT_TRUE(c.ping("goes on?")) << "no answer to PING"; }
  // The next SETTINGS acknowledgement.
  void acknowledged() {
    EXPECT_TRUE(find([](const testing::frame& f) { return f.type == NGHTTP2_SETTINGS && (f.flags & NGHTTP2_FLAG_ACK) != 0; }))
        << "SETTINGS is not acknowledged";
  }
  // The size of the next DATA frame; -1: none came.
  int next_data() {
    int size = -1;
    find([&](const testing::frame& f) {
      if (f.type != NGHTTP2_DATA) return false;
      size = static_cast<int>(f.payload.size());
      return true;
    });
    return size;
  }
  // Reads until a frame is the one; false: the connection ended before.
  template <class F>
  bool find(F is_it) {
    while (const auto f = c.read_frame()) {
      if (is_it(*f)) return true;
    }
    return false;
  }

 private:
  static std::unique_ptr<warren::stream> connect(const std::string& address, const certificate* with_tls) {
    if (with_tls == nullptr) return dial_stream(address);
    asio::ssl::context ctx(asio::ssl::context::tls_client);
    ctx.add_certificate_authority(asio::buffer(with_tls->ca));
    ctx.set_verify_mode(asio::ssl::verify_peer);
    alpn_client(ctx, {"h2"});
    auto t = std::make_unique<tls_conn>(dial_stream(address), ctx);
    t->host_name("localhost");
    t->deadline(raw_client::kPatience);
    t->handshake(tls_conn::client);
    return t;
  }
  void shake_hands() {
    bool theirs = false;
    bool ours = false;
    while (!(theirs && ours) && !c.closed) {
      const auto f = c.read_frame();
      if (!f || f->type != NGHTTP2_SETTINGS) continue;
      ((f->flags & NGHTTP2_FLAG_ACK) != 0 ? ours : theirs) = true;
    }
    EXPECT_TRUE(theirs && ours) << "no handshake";
  }

  bool tls_;

 public:
  raw_client c;
};

inline constexpr auto kGet = static_cast<uint8_t>(peer::kEnd | peer::kWhole);  // the flags of a GET's one HEADERS frame

// The server's preface: SETTINGS that acknowledge nothing. For two of the groups, not greeted.
inline void expect_settings_first(peer& p) {
  p.c.send(std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
  p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535));
  const auto first = p.c.read_frame();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type, NGHTTP2_SETTINGS);
  EXPECT_EQ(first->flags & NGHTTP2_FLAG_ACK, 0);
}

// Runs the case on a connection of each kind. greet: false for those that are about the preface itself.
template <class F>
void on_both(F body, bool greet = true) {
  static const certificate once;
  for (const bool tls : {false, true}) {
    SCOPED_TRACE(tls ? "TLS" : "plain");
    grpc::server_options o;
    if (tls) o.tls = {.certificate = once.where / "cert.pem", .key = once.where / "key.pem"};
    with_server(o, [&](grpc::server& s, text_service&) {
      peer p(s.address(), tls ? &once : nullptr, greet);
      body(p);
    });
  }
}

}  // namespace warren::testing::h2spec
