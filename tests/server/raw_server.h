// A server for tests that need to misbehave in every frame: the other side of raw_client, which does the framing. What it calls replies are
// requests here: replies[id].headers, .data, .shape.
#pragma once
#include <memory>
#include <string>

#include "tests/server/raw_client.h"

namespace warren::testing {

class raw_server {
 public:
  raw_server() : listener_(listen("127.0.0.1:0")) { listener_.accept_deadline(raw_client::kPatience); }

  std::string address() const { return listener_.address(); }
  void close() { listener_.close(); }

  // The next connection as it comes.
  tcp_conn accept_raw() { return listener_.accept(); }

  // The next connection, its preface read and SETTINGS sent (payload: entries as on the wire).
  std::unique_ptr<raw_client> accept(std::string_view settings = {}) {
    auto c = std::make_unique<raw_client>(std::make_unique<tcp_conn>(listener_.accept()), false);
    preface = c->take(NGHTTP2_CLIENT_MAGIC_LEN);
    c->send_frame(NGHTTP2_SETTINGS, 0, 0, settings);
    return c;
  }
  static std::string setting(uint16_t id, uint32_t value) {
    return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value);
  }

  // Reads until the request of the n-th stream (from 0) is complete; its id.
  static int32_t next_request(raw_client& c, int n = 0) {
    const int32_t id = 1 + 2 * n;
    c.wait(id);
    return id;
  }
  static void headers(raw_client& c, int32_t id, const fields& extra = {}) {
    fields f{{":status", "200"}, {"content-type", "application/grpc"}};
    f.insert(f.end(), extra.begin(), extra.end());
    c.headers(id, f, false);
  }
  static void trailers(raw_client& c, int32_t id, const std::string& code, const fields& extra = {}) {
    fields f{{"grpc-status", code}};
    f.insert(f.end(), extra.begin(), extra.end());
    c.headers(id, f, true);
  }
  static void answer(raw_client& c, int32_t id, std::string_view payload) {
    headers(c, id);
    c.data(id, message(payload), false);
    trailers(c, id, "0");
  }
  static void trailers_only(raw_client& c, int32_t id, const std::string& code, const fields& extra = {}) {
    fields f{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", code}};
    f.insert(f.end(), extra.begin(), extra.end());
    c.headers(id, f, true);
  }

  std::string preface;

 private:
  tcp_listener listener_;
};

}  // namespace warren::testing
