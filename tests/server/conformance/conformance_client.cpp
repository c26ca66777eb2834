// conformance_client: the suites frame by frame (harness.h), each case on a connection of its own. Written on the raw-frame client, since
// no proper client sends what some cases need, or compresses messages that do not shrink, or shows how an answer was framed.
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <warren/go.h>
#include <warren/sync.h>
#include <warren/tls.h>

#include "server/grpc/base64.h"
#include "server/grpc/compression.h"
#include "server/grpc/percent.h"
#include "tests/server/conformance/harness.h"
#include "tests/server/raw_client.h"

namespace {

using namespace warren::conformance;
using warren::grpc::encoding;
using warren::testing::fields;
using warren::testing::raw_client;
using warren::testing::reply;

constexpr uint32_t kWindow = 8 << 20;  // more than any answer here

// A connection whose SETTINGS have been exchanged.
class connection {
 public:
  explicit connection(const arguments& a) : tls_(!a.ca.empty()), client_(dial(a), false) {
    client_.send(std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
    client_.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string{0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE} + warren::testing::be32(kWindow));
    client_.window_update(0, kWindow);
    if (!client_.ping()) throw std::runtime_error("the server does not answer");
  }

  outcome call(const call_case& c, encoding how) {
    return c.raw ? read(client_.wait(send_raw(c)), encoding::identity, c.requests.size()) : call_usual(c, how);
  }

 private:
  static std::unique_ptr<warren::stream> dial(const arguments& a) {
    auto plain = warren::dial_stream(a.target);
    if (a.ca.empty()) return plain;
    asio::ssl::context ctx(asio::ssl::context::tls_client);
    ctx.load_verify_file(a.ca);
    ctx.set_verify_mode(asio::ssl::verify_peer);
    warren::alpn_client(ctx, {"h2"});
    if (!a.certificate.empty()) {
      ctx.use_certificate_chain_file(a.certificate);
      ctx.use_private_key_file(a.key, asio::ssl::context::pem);
    }
    auto t = std::make_unique<warren::tls_conn>(std::move(plain), ctx);
    t->host_name("localhost");
    t->deadline(raw_client::kPatience);
    t->handshake(warren::tls_conn::client);
    return t;
  }

  fields pseudo(const std::string& verb, const std::string& path) const {
    return {{":method", verb}, {":scheme", tls_ ? "https" : "http"}, {":path", path}, {":authority", "localhost"}};
  }

  int32_t send_raw(const call_case& c) {
    fields f = pseudo(c.raw->verb, c.path);
    f.insert(f.end(), c.raw->headers.begin(), c.raw->headers.end());
    const int32_t id = client_.begin(f);
    client_.data(id, c.raw->body, true);
    return id;
  }

  outcome call_usual(const call_case& c, encoding how) {
    fields f = pseudo("POST", c.path);
    f.insert(f.end(), {{"content-type", "application/grpc"}, {"te", "trailers"}});
    if (how != encoding::identity) {
      f.emplace_back("grpc-encoding", to_string(how));
      f.emplace_back("grpc-accept-encoding", to_string(how));
    }
    if (c.timeout_ms != 0) f.emplace_back("grpc-timeout", std::to_string(c.timeout_ms) + "m");
    f.insert(f.end(), c.metadata.begin(), c.metadata.end());
    const bool one_message = c.how == shape::unary || c.how == shape::server_stream;
    const int32_t id = client_.begin(f);
    for (size_t i = 0; i < c.requests.size(); i++) {
      send_message(id, c.requests[i], how, one_message);
      // The answer comes before the next request.
      while (c.how == shape::full_duplex && !client_.replies[id].ended && messages_of(client_.replies[id]).messages.size() <= i &&
             client_.read_frame()) {
      }
      if (client_.replies[id].ended) break;  // an early end
    }
    if (!one_message && !client_.replies[id].ended) client_.data(id, "", true);
    return read(client_.wait(id), how, c.requests.size());
  }

  void send_message(int32_t id, const std::string& bytes, encoding how, bool last) {
    const bool plain = how == encoding::identity;
    const std::string framed = warren::testing::message(plain ? bytes : packed(bytes, how), plain ? 0 : 1);
    constexpr size_t kFrame = 1 << 14;
    for (size_t at = 0; at < framed.size(); at += kFrame) {
      client_.data(id, std::string_view(framed).substr(at, kFrame), last && at + kFrame >= framed.size());
    }
  }

  static std::string packed(std::string_view bytes, encoding how) {
    warren::grpc::byte_buffer out;
    warren::grpc::deflate(how, bytes, out);
    return {out.data(), out.size()};
  }

  // What came, which has to be gRPC to the letter.
  static outcome read(const reply& r, encoding how, size_t requests) {
    outcome out;
    if (!r.ended) throw std::runtime_error("no answer; what came: \"" + r.shape + "\"");
    if (r.shape.find('h') == std::string::npos) throw std::runtime_error("no trailers; what came: \"" + r.shape + "\"");
    out.http_status = std::stoi(r.http_status());
    out.headers = r.headers;
    out.trailers = r.trailers;
    if (out.http_status != 200) {
      out.code = of_http(out.http_status);
      return out;
    }
    if (!r.header("content-type").starts_with("application/grpc")) throw std::runtime_error("content-type is " + r.header("content-type"));
    out.code = std::stoi(r.grpc_status());
    if (const std::string m = r.trailer("grpc-message"); m != "(absent)") out.message = warren::grpc::percent_decode(m);
    if (const std::string d = r.trailer("grpc-status-details-bin"); d != "(absent)" && !warren::grpc::base64_decode(d, out.details)) {
      throw std::runtime_error("grpc-status-details-bin is no Base64");
    }
    unpack(r, how, requests, out);
    return out;
  }

  struct cut {
    std::vector<std::pair<bool, std::string>> messages;  // whether compressed, and the bytes
    bool whole = true;                                   // nothing is left over
  };
  static cut messages_of(const reply& r) {
    cut out;
    std::string_view left = r.data;
    while (left.size() >= 5) {
      size_t n = 0;
      for (size_t i = 1; i < 5; i++) n = n << 8 | static_cast<uint8_t>(left[i]);
      if (left.size() - 5 < n) break;
      if (static_cast<uint8_t>(left[0]) > 1) throw std::runtime_error("a message's flag is neither 0 nor 1");
      out.messages.emplace_back(left[0] != 0, left.substr(5, n));
      left.remove_prefix(5 + n);
    }
    out.whole = left.empty();
    return out;
  }

  static void unpack(const reply& r, encoding how, size_t requests, outcome& out) {
    const cut all = messages_of(r);
    if (!all.whole) throw std::runtime_error("the answer ends within a message");
    for (const auto& [compressed, m] : all.messages) {
      if (compressed && how == encoding::identity) throw std::runtime_error("a compressed answer to an uncompressed request");
      // A request that came compressed is answered in kind, unless that makes the answer longer.
      if (!compressed && how != encoding::identity && requests != 0 && packed(m, how).size() < m.size()) {
        throw std::runtime_error("an uncompressed answer, which " + std::string(to_string(how)) + " would have made shorter");
      }
      if (!compressed) {
        out.messages.push_back(m);
        continue;
      }
      if (r.header("grpc-encoding") != to_string(how)) throw std::runtime_error("grpc-encoding is " + r.header("grpc-encoding"));
      warren::grpc::byte_buffer bytes;
      if (warren::grpc::inflate(how, m, kWindow, bytes) != warren::grpc::inflate_outcome::whole) {
        throw std::runtime_error("an answer cannot be inflated");
      }
      out.messages.emplace_back(bytes.data(), bytes.size());
    }
  }

  // As gRPC's http-grpc-status-mapping has it.
  static int of_http(int status) {
    switch (status) {
      case 400: return 13;
      case 401: return 16;
      case 403: return 7;
      case 404: return 12;
      case 429:
      case 502:
      case 503:
      case 504: return 14;
      default: return 2;
    }
  }

  bool tls_;
  raw_client client_;
};

std::vector<std::vector<std::string>> call_all(const arguments& a, const std::vector<call_case>& cases, const std::string& name) {
  encoding how = encoding::identity;
  if (!warren::grpc::parse_encoding(name, how)) throw std::invalid_argument("there is no encoding " + name);
  std::vector<std::vector<std::string>> wrong(cases.size());
  warren::wait_group all;
  for (size_t i = 0; i < cases.size(); i++) {
    all.go([&, i] {
      try {
        wrong[i] = differences(cases[i], connection(a).call(cases[i], how));
      } catch (const std::exception& e) {
        wrong[i] = {e.what()};
      }
    });
  }
  all.wait();
  return wrong;
}

}  // namespace

int main(int argc, char** argv) {
  return main_of(argc, argv, call_all, [](const std::function<void()>& all) { warren::run([&] { all(); }); });
}
