// field_rules against nghttp2: a session of nghttp2's that applies the rules itself gets the same requests, and must say the same of each:
// which fields it hands on, and whether the request is malformed.
#include "server/http2/field_rules.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::http2 {
namespace {

using field = std::pair<std::string, std::string>;

struct request {
  std::vector<field> headers;
  std::vector<size_t> data;        // bytes of each DATA frame
  std::vector<field> trailers;     // none: the last DATA frame, or the headers, end the request
  bool ends_with_trailers = true;  // the trailers' frame ends it
};

struct outcome {
  std::vector<field> fields;  // that were handed on, of the headers and then of the trailers
  bool malformed = false;
  bool ended = false;
};

bool operator==(const outcome& a, const outcome& b) { return a.fields == b.fields && a.malformed == b.malformed && a.ended == b.ended; }

std::string text(const std::vector<field>& fields) {
  std::string s;
  for (const auto& [name, value] : fields) s += "  [" + testing::PrintToString(name) + "] [" + testing::PrintToString(value) + "]\n";
  return s;
}

std::string text(const request& r) {
  return "headers:\n" + text(r.headers) + "data: " + testing::PrintToString(r.data) + "\ntrailers:\n" + text(r.trailers);
}

// --- nghttp2 -----------------------------------------------------------------------------------------------------------------------------

struct deleter {
  void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
  void operator()(nghttp2_hd_deflater* d) const { nghttp2_hd_deflate_del(d); }
};

std::string frame(uint8_t type, uint8_t flags, std::string_view payload) {  // of stream 1, if of any
  std::string f;
  for (int shift : {16, 8, 0}) f += static_cast<char>(payload.size() >> shift);
  f += static_cast<char>(type);
  f += static_cast<char>(flags);
  f += std::string(3, '\0') + (type == NGHTTP2_SETTINGS ? '\0' : '\1');
  return f.append(payload);
}

std::string packed(nghttp2_hd_deflater* d, const std::vector<field>& fields) {
  std::vector<nghttp2_nv> nva;
  const auto bytes = [](const std::string& s) { return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data())); };
  for (const auto& [name, value] : fields) nva.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NO_INDEX});
  std::string block(nghttp2_hd_deflate_bound(d, nva.data(), nva.size()), '\0');
  const ssize_t n = nghttp2_hd_deflate_hd(d, bytes(block), block.size(), nva.data(), nva.size());
  EXPECT_GE(n, 0);
  block.resize(static_cast<size_t>(n));
  return block;
}

outcome of_nghttp2(const request& r) {
  outcome o;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t n,
                                                                 const uint8_t* value, size_t v, uint8_t, void* user) {
    static_cast<outcome*>(user)->fields.emplace_back(std::string(reinterpret_cast<const char*>(name), n),
                                                     std::string(reinterpret_cast<const char*>(value), v));
    return 0;
  });
  nghttp2_session_callbacks_set_on_invalid_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t n, const uint8_t*, size_t, uint8_t, void*) -> int {
        return nghttp2_check_header_name(name, n) != 0 ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* f, void* user) {
    const bool part = f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA;
    if (part && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) static_cast<outcome*>(user)->ended = true;
    return 0;
  });
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* f, void* user) {
    if (f->hd.type == NGHTTP2_RST_STREAM) {
      EXPECT_EQ(f->rst_stream.error_code, static_cast<uint32_t>(NGHTTP2_PROTOCOL_ERROR));
      static_cast<outcome*>(user)->malformed = true;
    }
    return 0;
  });
  nghttp2_session* made = nullptr;
  EXPECT_EQ(nghttp2_session_server_new(&made, callbacks, &o), 0);
  nghttp2_session_callbacks_del(callbacks);
  const std::unique_ptr<nghttp2_session, deleter> session(made);
  nghttp2_hd_deflater* deflater = nullptr;
  EXPECT_EQ(nghttp2_hd_deflate_new(&deflater, 4096), 0);
  const std::unique_ptr<nghttp2_hd_deflater, deleter> owner(deflater);

  std::string in = std::string(NGHTTP2_CLIENT_MAGIC) + frame(NGHTTP2_SETTINGS, 0, {});
  const bool trailers = !r.trailers.empty();
  const auto last = [](bool is) -> uint8_t { return is ? NGHTTP2_FLAG_END_STREAM : 0; };
  in += frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | last(r.data.empty() && !trailers), packed(deflater, r.headers));
  for (size_t i = 0; i < r.data.size(); i++) {
    in += frame(NGHTTP2_DATA, last(i + 1 == r.data.size() && !trailers), std::string(r.data[i], 'd'));
  }
  if (trailers) in += frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | last(r.ends_with_trailers), packed(deflater, r.trailers));
  EXPECT_EQ(nghttp2_session_mem_recv(session.get(), reinterpret_cast<const uint8_t*>(in.data()), in.size()),
            static_cast<ssize_t>(in.size()));
  const uint8_t* out = nullptr;
  while (nghttp2_session_mem_send(session.get(), &out) > 0) {
  }
  return o;
}

// --- ours, as session.cpp uses it --------------------------------------------------------------------------------------------------------

bool block(field_rules& rules, const std::vector<field>& fields, bool trailer, outcome& o) {
  for (const field& f : fields) {
    switch (rules.field(f.first, f.second, trailer)) {
      case field_rules::verdict::good: o.fields.push_back(f); break;
      case field_rules::verdict::ignored: break;
      case field_rules::verdict::malformed: return false;
    }
  }
  return true;
}

bool follow(field_rules& rules, const request& r, outcome& o) {
  if (!block(rules, r.headers, false, o) || !rules.complete()) return false;
  for (const size_t n : r.data) {
    if (!rules.data(n)) return false;
  }
  if (!r.trailers.empty() && (!block(rules, r.trailers, true, o) || !r.ends_with_trailers)) return false;
  return rules.end();
}

outcome of_ours(const request& r) {
  outcome o;
  field_rules rules;
  o.ended = follow(rules, r, o);
  o.malformed = !o.ended;
  return o;
}

std::string text(const outcome& o) {
  return std::string(o.malformed ? "malformed" : o.ended ? "good" : "without an end") + ", handed on:\n" + text(o.fields);
}

void compare(const request& r) {
  const outcome ours = of_ours(r), theirs = of_nghttp2(r);
  ASSERT_TRUE(ours == theirs) << text(r) << "ours: " << text(ours) << "nghttp2's: " << text(theirs);
}

// --- requests ----------------------------------------------------------------------------------------------------------------------------

const std::vector<field> kUsual = {{":method", "POST"},
                                   {":scheme", "http"},
                                   {":path", "/helloworld.Greeter/SayHello"},
                                   {":authority", "localhost:50051"},
                                   {"content-type", "application/grpc"},
                                   {"te", "trailers"},
                                   {"user-agent", "grpc-c++/1.51.1 grpc-c/29.0.0 (linux; chttp2)"}};

const std::string_view kNames[] = {":method",
                                   ":scheme",
                                   ":path",
                                   ":authority",
                                   ":status",
                                   ":protocol",
                                   ":other",
                                   ":",
                                   "",
                                   "te",
                                   "host",
                                   "upgrade",
                                   "connection",
                                   "keep-alive",
                                   "proxy-connection",
                                   "transfer-encoding",
                                   "content-length",
                                   "content-type",
                                   "user-agent",
                                   "grpc-timeout",
                                   "grpc-encoding",
                                   "accept-encoding",
                                   "grpc-accept-encoding",
                                   "x-mine",
                                   "x-Mine",
                                   "user-agenT",
                                   "x\x01y",
                                   "x y",
                                   "x:y",
                                   "\x80",
                                   "tE",
                                   "priority",
                                   "a"};

const std::string_view kValues[] = {"",
                                    " ",
                                    "\t",
                                    "POST",
                                    "GET",
                                    "HEAD",
                                    "CONNECT",
                                    "OPTIONS",
                                    "P OST",
                                    "/",
                                    "*",
                                    "/a/b",
                                    "a/b",
                                    "**",
                                    "/\x80",
                                    "/a b",
                                    "http",
                                    "https",
                                    "HTTP",
                                    "HttpS",
                                    "ftp",
                                    "f+t.p-1",
                                    "1http",
                                    "ht_tp",
                                    "trailers",
                                    "Trailers",
                                    "trailers2",
                                    "gzip",
                                    "0",
                                    "5",
                                    "05",
                                    "8",
                                    "-1",
                                    "5 ",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "99999999999999999999",
                                    "a b",
                                    " a",
                                    "a ",
                                    "a\t",
                                    "a\x7f",
                                    "a\x7f"
                                    "bcdefghij",
                                    "abcdefghij\x01",
                                    "abcdefgh\x80ijklmnop",
                                    "ab\ncdefghijkl",
                                    "localhost",
                                    "user@localhost:1",
                                    "local/host",
                                    "local host",
                                    "abcdefgh",
                                    "abcdefghi",
                                    "u=1, i"};

TEST(field_rules, one_field_more_in_every_place) {
  for (const std::string_view name : kNames) {
    for (const std::string_view value : kValues) {
      for (size_t at : {size_t{0}, size_t{3}, kUsual.size()}) {
        request r{kUsual, {5}, {}};
        r.headers.insert(r.headers.begin() + static_cast<std::ptrdiff_t>(at), {std::string(name), std::string(value)});
        compare(r);
      }
      compare({kUsual, {5}, {{std::string(name), std::string(value)}}});
    }
  }
}

TEST(field_rules, every_byte_in_every_place) {
  for (size_t n : {1, 7, 8, 9, 16, 19}) {
    for (size_t at = 0; at < n; at++) {
      for (int c = 0; c < 256; c++) {
        std::string value(n, 'v');
        value[at] = static_cast<char>(c);
        for (const char* name : {"x-mine", "user-agent"}) {
          field_rules rules;
          const bool legal = nghttp2_check_header_value_rfc9113(reinterpret_cast<const uint8_t*>(value.data()), n) != 0;
          ASSERT_EQ(rules.field(name, value, false) == field_rules::verdict::good, legal) << n << " " << at << " " << c;
        }
        field_rules rules;
        const bool legal = nghttp2_check_path(reinterpret_cast<const uint8_t*>(value.data()), n) != 0;
        ASSERT_EQ(rules.field(":path", value, false) == field_rules::verdict::good, legal) << n << " " << at << " " << c;
      }
    }
  }
}

TEST(field_rules, any_requests) {
  std::mt19937 random(9113);
  const auto below = [&random](size_t n) { return random() % n; };
  int good = 0;
  for (int i = 0; i < 20'000; i++) {
    request r{kUsual, {}, {}, below(8) != 0};
    for (size_t n = below(4); n != 0; n--) {
      const size_t at = below(r.headers.size());
      const auto place = r.headers.begin() + static_cast<std::ptrdiff_t>(at);
      switch (below(5)) {
        case 0: r.headers.erase(place); break;
        case 1: place->second = kValues[below(std::size(kValues))]; break;
        case 2: place->first = kNames[below(std::size(kNames))]; break;
        case 3: std::swap(*place, r.headers[below(r.headers.size())]); break;
        default: r.headers.insert(place, {std::string(kNames[below(std::size(kNames))]), std::string(kValues[below(std::size(kValues))])});
      }
      if (r.headers.empty()) r.headers = kUsual;
    }
    if (below(2) == 0) r.headers.emplace_back("content-length", std::to_string(below(6)));
    for (size_t n = below(4); n != 0; n--) r.data.push_back(below(4));
    for (size_t n = below(3); n != 0; n--) r.trailers.emplace_back(kNames[below(std::size(kNames))], kValues[below(std::size(kValues))]);
    compare(r);
    if (HasFatalFailure()) return;
    if (!of_ours(r).malformed) good++;
  }
  EXPECT_GT(good, 1000);
  EXPECT_LT(good, 19'000);
}

}  // namespace
}  // namespace warren::http2
