// conformance_client --target HOST:PORT [--ca FILE [--cert FILE --key FILE]] [--limit BYTES] --encodings identity,gzip,deflate SUITE…
//
// Makes the calls of the suites (cases.h) frame by frame, each with every encoding that the suite allows and on a connection of its own,
// and compares what comes back. One line per case that is not as expected; the last line says how many there were. Exit status 0 if all
// were as expected, 1 if one was not, 2 for wrong arguments. Written on the raw-frame client, since no proper client sends what some cases
// need, or compresses messages that do not shrink.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>

#include <warren/go.h>
#include <warren/sync.h>
#include <warren/tls.h>

#include "server/grpc/base64.h"
#include "server/grpc/compression.h"
#include "server/grpc/percent.h"
#include "tests/server/conformance/cases.h"
#include "tests/server/raw_client.h"

namespace {

using namespace warren::conformance;
using warren::grpc::encoding;
using warren::testing::fields;
using warren::testing::raw_client;
using warren::testing::reply;

constexpr uint32_t kWindow = 8 << 20;  // more than any answer here

struct arguments {
  std::string target;
  std::string ca;
  std::string certificate;
  std::string key;
  uint32_t limit = 0;
  std::vector<encoding> encodings;
  std::vector<std::string> suites;
};

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
      while (c.how == shape::full_duplex && !client_.replies[id].ended && client_.replies[id].messages().size() <= i &&
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

  static void unpack(const reply& r, encoding how, size_t requests, outcome& out) {
    std::string_view left = r.data;
    for (const std::string& m : r.messages()) {
      const bool compressed = left.at(0) != 0;
      left.remove_prefix(5 + m.size());
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

struct tally {
  int cases = 0;
  int wrong = 0;
};

void run_suite(const arguments& a, const std::string& name, encoding how, tally& sum) {
  const auto cases = suite(name, a.limit);
  // Side by side, because some of them wait; what goes wrong is told in the order of the list.
  std::vector<std::vector<std::string>> wrong(cases.size());
  warren::wait_group all;
  for (size_t i = 0; i < cases.size(); i++) {
    all.add(1);
    warren::go([&, i] {
      try {
        wrong[i] = differences(cases[i], connection(a).call(cases[i], how));
      } catch (const std::exception& e) {
        wrong[i] = {e.what()};
      }
      all.done();
    });
  }
  all.wait();
  for (size_t i = 0; i < cases.size(); i++) {
    sum.cases++;
    if (!wrong[i].empty()) sum.wrong++;
    for (const std::string& w : wrong[i]) std::printf("%s (%s): %s\n", cases[i].name.c_str(), to_string(how), w.c_str());
  }
}

bool parse(int argc, char** argv, arguments& a) {
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      a.suites.push_back(word);
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string value = argv[++i];
    if (word == "--target") {
      a.target = value;
    } else if (word == "--ca") {
      a.ca = value;
    } else if (word == "--cert") {
      a.certificate = value;
    } else if (word == "--key") {
      a.key = value;
    } else if (word == "--limit") {
      a.limit = static_cast<uint32_t>(std::stoul(value));
    } else if (word == "--encodings") {
      for (size_t at = 0; at <= value.size();) {
        const size_t comma = std::min(value.find(',', at), value.size());
        if (!warren::grpc::parse_encoding(value.substr(at, comma - at), a.encodings.emplace_back())) return false;
        at = comma + 1;
      }
    } else {
      return false;
    }
  }
  return !a.target.empty() && !a.encodings.empty() && !a.suites.empty();
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::fprintf(stderr,
                 "usage: conformance_client --target HOST:PORT [--ca FILE [--cert FILE --key FILE]] [--limit BYTES] --encodings "
                 "LIST SUITE...\n");
    return 2;
  }
  tally sum;
  warren::run([&] {
    for (const std::string& name : a.suites) {
      for (const encoding how : a.encodings) {
        if (how != encoding::identity && !compressible(name)) continue;
        run_suite(a, name, how, sum);
      }
    }
  });
  std::printf("%d cases, %d wrong\n", sum.cases, sum.wrong);
  return sum.wrong == 0 ? 0 : 1;
}
