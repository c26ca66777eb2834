#include "tests/server/conformance/cases.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <stdexcept>

#include "rpc_status.pb.h"

namespace warren::conformance {

namespace {

using info = v1::ConformancePayload::RequestInfo;
using strings = std::vector<std::string>;

const std::string kService = "/connectrpc.conformance.v1.ConformanceService/";
constexpr const char* kData = "test response";

constexpr int kUnknown = 2;
constexpr int kInvalidArgument = 3;
constexpr int kDeadlineExceeded = 4;
constexpr int kResourceExhausted = 8;
constexpr int kUnimplemented = 12;
constexpr int kInternal = 13;
constexpr int kUnauthenticated = 16;

// What a case is made of: the answer to ask for, and how to ask.
struct plan {
  std::string name;
  shape how = shape::unary;
  strings headers{};      // of x-custom-header
  strings trailers{};     // of x-custom-trailer
  int responses = 1;      // messages that say kData; of a method with one answer: 1 or an error
  int error = 0;          // code
  std::string message{};  // of the error
  int requests = 1;       // of methods that take a stream
  bool with_metadata = false;
  int timeout_ms = 0;
  int delay_ms = 0;
  std::vector<int> sizes{};  // of the requests, relative to the server's limit
  bool definition = true;    // false: the requests are empty messages
  bool idempotent = false;   // by the method that may be a GET in other protocols
};

bool takes_stream(shape s) { return s == shape::client_stream || s == shape::half_duplex || s == shape::full_duplex; }
bool gives_stream(shape s) { return s == shape::server_stream || s == shape::half_duplex || s == shape::full_duplex; }

void put(google::protobuf::RepeatedPtrField<v1::Header>& into, const char* name, const strings& values) {
  if (values.empty()) return;
  v1::Header* h = into.Add();
  h->set_name(name);
  for (const std::string& v : values) h->add_value(v);
}

template <class Definition>
void fill_common(Definition& d, const plan& p) {
  put(*d.mutable_response_headers(), "x-custom-header", p.headers);
  put(*d.mutable_response_trailers(), "x-custom-trailer", p.trailers);
  d.set_response_delay_ms(static_cast<uint32_t>(p.delay_ms));
  if (p.error != 0) {
    d.mutable_error()->set_code(p.error);
    d.mutable_error()->set_message(p.message);
  }
}
void fill(v1::UnaryResponseDefinition& d, const plan& p) {
  fill_common(d, p);
  if (p.error == 0) d.set_response_data(kData);
}
void fill(v1::StreamResponseDefinition& d, const plan& p) {
  fill_common(d, p);
  for (int i = 0; i < p.responses; i++) d.add_response_data(kData);
}

template <class Request>
void grow(Request& r, size_t size) {
  constexpr size_t kOverhead = 4;  // of the field: its tag, and its length of three bytes
  r.clear_request_data();
  r.set_request_data(std::string(size - r.ByteSizeLong() - kOverhead, 'x'));
  if (r.ByteSizeLong() != size) throw std::invalid_argument("a limit of this size is not provided for; choose one from 32 KiB to 1 MiB");
}

template <class Request>
void add_request(call_case& c, std::vector<google::protobuf::Any>& all, const Request& r) {
  c.requests.push_back(r.SerializeAsString());
  all.emplace_back().PackFrom(r);
}

template <class Request>
void make_requests(call_case& c, std::vector<google::protobuf::Any>& all, const plan& p, uint32_t limit) {
  for (int i = 0; i < p.requests; i++) {
    Request r;
    if (i == 0 && p.definition) {
      fill(*r.mutable_response_definition(), p);
      if constexpr (std::is_same_v<Request, v1::BidiStreamRequest>) r.set_full_duplex(p.how == shape::full_duplex);
    } else if (p.definition) {
      r.set_request_data(kData);
    }
    if (!p.sizes.empty()) grow(r, static_cast<size_t>(static_cast<int>(limit) + p.sizes[static_cast<size_t>(i)]));
    add_request(c, all, r);
  }
}

// What the server must have seen: the metadata, the time limit and these requests.
info seen(const call_case& c, const std::vector<google::protobuf::Any>& requests, size_t from, size_t to, bool all = true) {
  info out;
  if (all) {
    for (const auto& [name, value] : c.metadata) {
      v1::Header* h = nullptr;
      for (v1::Header& one : *out.mutable_request_headers()) {
        if (one.name() == name) h = &one;
      }
      if (h == nullptr) (h = out.add_request_headers())->set_name(name);
      h->add_value(value);
    }
    if (c.timeout_ms != 0) out.set_timeout_ms(c.timeout_ms);
  }
  for (size_t i = from; i < to; i++) *out.add_requests() = requests[i];
  return out;
}

call_case make(const std::string& suite_name, const plan& p, uint32_t limit = 0) {
  call_case c;
  c.name = suite_name + "/" + p.name;
  c.how = p.how;
  c.timeout_ms = p.timeout_ms;
  if (p.with_metadata) c.metadata = {{"x-conformance-test", "Value1"}, {"x-conformance-test", "Value2"}};
  std::vector<google::protobuf::Any> all;
  switch (p.how) {
    case shape::unary:
      if (p.idempotent) {
        c.path = kService + "IdempotentUnary";
        make_requests<v1::IdempotentUnaryRequest>(c, all, p, limit);
        break;
      }
      c.path = kService + "Unary";
      make_requests<v1::UnaryRequest>(c, all, p, limit);
      break;
    case shape::server_stream:
      c.path = kService + "ServerStream";
      make_requests<v1::ServerStreamRequest>(c, all, p, limit);
      break;
    case shape::client_stream:
      c.path = kService + "ClientStream";
      make_requests<v1::ClientStreamRequest>(c, all, p, limit);
      break;
    case shape::half_duplex:
    case shape::full_duplex:
      c.path = kService + "BidiStream";
      make_requests<v1::BidiStreamRequest>(c, all, p, limit);
      break;
  }
  expectation& e = c.expected;
  // A request that says nothing of the answer, or none at all, is answered by what was seen, and a stream by nothing.
  const bool defined = p.definition && p.requests > 0;
  if (defined) {
    for (const std::string& v : p.headers) e.headers.emplace_back("x-custom-header", v);
    for (const std::string& v : p.trailers) e.trailers.emplace_back("x-custom-trailer", v);
  }
  const int responses = gives_stream(p.how) ? (defined ? p.responses : 0) : (p.error == 0 ? 1 : 0);
  const size_t n = all.size();
  for (int i = 0; i < responses; i++) {
    v1::ConformancePayload& payload = e.payloads.emplace_back();
    if (defined) payload.set_data(kData);
    const auto k = static_cast<size_t>(i);
    if (p.how == shape::full_duplex && k < n) {
      *payload.mutable_request_info() = seen(c, all, k, k + 1, i == 0);
    } else if (i == 0) {
      *payload.mutable_request_info() = seen(c, all, 0, n);
    }
  }
  if (p.error != 0) {
    e.codes = {p.error};
    e.message = p.message;
    if (responses == 0) e.seen = seen(c, all, 0, n);
  }
  return c;
}

// The call ends with that code, whatever else it was to answer.
call_case ends_with(call_case c, int code) {
  c.expected = {};
  c.expected.codes = {code};
  return c;
}

const char* shape_name(shape s) {
  switch (s) {
    case shape::unary: return "unary";
    case shape::server_stream: return "server-stream";
    case shape::client_stream: return "client-stream";
    case shape::half_duplex: return "bidi-stream/half-duplex";
    case shape::full_duplex: return "bidi-stream/full-duplex";
  }
  std::abort();
}
std::string named(shape s, const char* what) { return std::string(shape_name(s)) + "/" + what; }

// How many messages a call of that kind usually has.
plan usual(shape s, const char* what) {
  plan p{.name = named(s, what), .how = s};
  p.requests = takes_stream(s) ? 2 : 1;
  p.responses = gives_stream(s) ? 2 : 1;
  return p;
}

constexpr shape kShapes[] = {shape::unary, shape::client_stream, shape::server_stream, shape::full_duplex, shape::half_duplex};

std::vector<call_case> basic() {
  const std::string suite_name = "Basic";
  std::vector<call_case> out;
  const auto add = [&](plan p) {
    p.headers = {"foo"};
    p.trailers = {"bing"};
    p.with_metadata = true;
    out.push_back(make(suite_name, p));
  };
  for (const shape s : kShapes) add(usual(s, "success"));
  for (const shape s : {shape::client_stream, shape::half_duplex}) {
    plan p = usual(s, "no-requests");
    p.requests = 0;
    add(p);
  }
  for (const shape s : {shape::server_stream, shape::half_duplex}) {
    plan p = usual(s, "no-responses");
    p.requests = 1;
    p.responses = 0;
    add(p);
  }
  call_case c{.name = suite_name + "/unimplemented", .path = kService + "Unimplemented", .requests = {""}};
  c.expected.codes = {kUnimplemented};
  out.push_back(c);
  return out;
}

plan failing(shape s, const char* what, int code, std::string message) {
  plan p = usual(s, what);
  p.responses = 0;
  p.error = code;
  p.message = std::move(message);
  return p;
}

std::vector<call_case> errors() {
  const std::string suite_name = "Errors";
  static constexpr const char* names[] = {"canceled",       "unknown",           "invalid-argument",   "deadline-exceeded",   "not-found",
                                          "already-exists", "permission-denied", "resource-exhausted", "failed-precondition", "aborted",
                                          "out-of-range",   "unimplemented",     "internal",           "unavailable",         "data-loss",
                                          "unauthenticated"};
  std::vector<call_case> out;
  for (const shape s : {shape::unary, shape::server_stream}) {
    for (int code = 1; code <= 16; code++) {
      std::string text = names[code - 1];
      std::replace(text.begin(), text.end(), '-', ' ');
      out.push_back(make(suite_name, failing(s, names[code - 1], code, text)));
    }
  }
  out.push_back(make(suite_name, failing(shape::unary, "unicode-error-message", kInternal,
                                         "\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\n")));
  const auto add = [&](plan p, bool with_metadata = true) {
    p.headers = {"foo"};
    p.trailers = {"bing"};
    p.with_metadata = with_metadata;
    out.push_back(make(suite_name, p));
  };
  for (const shape s : {shape::unary, shape::server_stream, shape::client_stream, shape::half_duplex}) {
    plan p = failing(s, "error-with-metadata", kUnauthenticated, "unauthenticated");
    p.requests = 1;
    if (s == shape::half_duplex) p.name = "bidi-stream/error-with-metadata";
    add(p, false);
  }
  for (const shape s : {shape::server_stream, shape::full_duplex, shape::half_duplex}) {
    plan with = failing(s, "error-with-responses", kInternal, "the stream failed");
    with.responses = 2;
    add(with);
    plan none = failing(s, s == shape::full_duplex ? "error-no-responses" : "error-with-no-responses", kInternal, "the stream failed");
    if (s == shape::full_duplex) none.requests = 1;
    add(none);
  }
  for (const int n : {1, 2}) {
    plan p = failing(shape::client_stream, n == 1 ? "error-one-request" : "error-multiple-requests", kInternal, "the stream failed");
    p.requests = n;
    out.push_back(make(suite_name, p));
  }
  return out;
}

std::vector<call_case> duplicate_metadata() {
  const std::string suite_name = "Duplicate Metadata";
  std::vector<call_case> out;
  const auto add = [&](plan p) {
    p.headers = {"foo", "bar", "baz"};
    p.trailers = {"bing", "quux"};
    p.with_metadata = p.name != "server-stream/no-response";
    out.push_back(make(suite_name, p));
  };
  for (const shape s : kShapes) add(usual(s, "success"));
  for (const shape s : {shape::unary, shape::client_stream}) add(failing(s, "error", kInternal, "it failed"));
  plan nothing = usual(shape::server_stream, "no-response");
  nothing.responses = 0;
  add(nothing);
  for (const shape s : {shape::server_stream, shape::full_duplex, shape::half_duplex}) {
    plan with = failing(s, "error-with-responses", kInternal, "the stream failed");
    with.responses = 2;
    add(with);
    plan none = failing(s, s == shape::full_duplex ? "error-no-responses" : "error-with-no-responses", kInternal, "the stream failed");
    if (s == shape::full_duplex) none.requests = 1;
    add(none);
  }
  return out;
}

std::vector<call_case> timeouts() {
  std::vector<call_case> out;
  for (const shape s : kShapes) {
    plan p = usual(s, "");
    p.name = shape_name(s);
    p.timeout_ms = 200;
    p.delay_ms = 1500;
    out.push_back(ends_with(make("Timeouts", p), kDeadlineExceeded));
  }
  return out;
}

std::vector<call_case> deadline_propagation() {
  std::vector<call_case> out;
  for (const shape s : {shape::unary, shape::client_stream, shape::server_stream, shape::full_duplex}) {
    plan p = usual(s, "success");
    p.timeout_ms = 20'000;
    out.push_back(make("Deadline Propagation", p));
  }
  return out;
}

std::vector<call_case> server_empty() {
  std::vector<call_case> out;
  for (const shape s : {shape::unary, shape::client_stream, shape::server_stream, shape::half_duplex}) {
    plan p = usual(s, "empty-request");
    p.requests = 1;
    p.definition = false;
    p.with_metadata = true;
    out.push_back(make("Server Empty Requests", p));
  }
  return out;
}

std::vector<call_case> message_size(uint32_t limit) {
  std::vector<call_case> out;
  constexpr int kOver = 10;
  const auto add = [&](shape s, const char* what, std::vector<int> sizes) {
    plan p = usual(s, what);
    p.sizes = std::move(sizes);
    out.push_back(make("Server Message Size", p, limit));
    if (*std::max_element(p.sizes.begin(), p.sizes.end()) == 0) return;
    call_case& c = out.back();
    // Full duplex answers the good request before it meets the bad one.
    std::vector<v1::ConformancePayload> before;
    if (s == shape::full_duplex && p.sizes[0] == 0) before = {c.expected.payloads[0]};
    c = ends_with(std::move(c), kResourceExhausted);
    c.expected.payloads = std::move(before);
  };
  for (const shape s : {shape::unary, shape::server_stream}) {
    add(s, "request-equal-to-server-limit", {0});
    add(s, "request-exceeds-server-limit", {kOver});
  }
  for (const shape s : {shape::client_stream, shape::half_duplex, shape::full_duplex}) {
    add(s, "all-requests-equal-to-server-limit", {0, 0});
    add(s, "first-request-exceeds-server-limit", {kOver, 0});
    add(s, "subsequent-request-exceeds-server-limit", {0, kOver});
  }
  return out;
}

// No suite of the runner's for gRPC, but the method is there.
std::vector<call_case> idempotent() {
  plan p = usual(shape::unary, "success");
  p.headers = {"foo"};
  p.trailers = {"bing"};
  p.with_metadata = true;
  p.idempotent = true;
  return {make("Idempotent", p)};
}

std::vector<call_case> client_certificates() {
  plan p = usual(shape::client_stream, "");
  p.name = "client-stream";
  p.headers = {"foo"};
  p.trailers = {"bing"};
  p.with_metadata = true;
  return {make("TLS Client Certs", p)};
}

std::string framed(std::string_view payload, char flag = 0) {
  const auto n = static_cast<uint32_t>(payload.size());
  return std::string{flag, static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)} +
         std::string(payload);
}

call_case raw(const char* name, const std::string& method, raw_request r, std::vector<int> codes) {
  call_case c{.name = name, .path = method.starts_with('/') ? method : kService + method, .requests = {}, .raw = std::move(r)};
  c.expected.codes = std::move(codes);
  return c;
}
pairs grpc_headers(const char* content_type, pairs more = {}) {
  more.insert(more.begin(), {{"content-type", content_type}, {"te", "trailers"}});
  return more;
}

std::vector<call_case> subformat() {
  std::vector<call_case> out;
  for (const bool with : {true, false}) {
    plan p = usual(shape::unary, "");
    p.name = with ? "with-proto-sub-format" : "without-proto-sub-format";
    call_case c = make("gRPC Proto Sub-Format Requests", p);
    const char* type = with ? "application/grpc+proto" : "application/grpc";
    c.raw = raw_request{"POST", grpc_headers(type), framed(c.requests[0])};
    c.expected.headers = {{"content-type", type}};
    out.push_back(std::move(c));
  }
  return out;
}

std::vector<call_case> unexpected() {
  const char* proto = "application/grpc+proto";
  const char* plain = "application/grpc";
  const std::string one = framed("");
  std::vector<call_case> out{
      raw("unary/no-request", "Unary", {"POST", grpc_headers(proto), ""}, {kUnimplemented}),
      raw("unary/multiple-requests", "Unary", {"POST", grpc_headers(proto), one + one}, {kUnimplemented}),
      raw("server-stream/no-request", "ServerStream", {"POST", grpc_headers(proto), ""}, {kUnimplemented}),
      raw("server-stream/multiple-requests", "ServerStream", {"POST", grpc_headers(proto), one + one}, {kUnimplemented}),
      raw("unexpected-verb", "Unary", {"DELETE", grpc_headers(plain), one}, {kUnknown, kInternal, kUnimplemented}),
      raw("unexpected-uri", "/connectrpc.conformance.v1.UnknownService/UnknownMethod", {"POST", grpc_headers(plain), one},
          {kUnimplemented}),
      raw("unexpected-codec", "Unary", {"POST", grpc_headers("application/grpc+foo"), one}, {kUnknown, kInternal, kUnimplemented}),
      raw("unexpected-compression", "Unary", {"POST", grpc_headers(plain, {{"grpc-encoding", "foo"}}), framed("\x28\xb5\x2f\xfd")},
          {kUnimplemented}),
      raw("unexpected-compressed-message", "Unary", {"POST", grpc_headers(proto, {{"grpc-encoding", "identity"}}), framed("", 1)},
          {kInternal}),
      // A prefix that promises ten bytes before three, and three bytes of a prefix.
      raw("client-stream/incomplete-message", "ClientStream", {"POST", grpc_headers(plain), std::string("\0\0\0\0\x0a\0\0\0", 8)},
          {kInternal, kInvalidArgument}),
      raw("client-stream/incomplete-message-prefix", "ClientStream", {"POST", grpc_headers(plain), std::string(3, '\0')},
          {kInternal, kInvalidArgument}),
  };
  for (call_case& c : out) {
    c.name = "gRPC Unexpected Requests/" + c.name;
    c.expected.http_status = 0;
  }
  out.push_back(
      raw("Unexpected Requests/unexpected-content-type", "Unary", {"POST", {{"content-type", "image/jpeg"}}, "12345678"}, {kUnknown}));
  out.back().expected.http_status = 415;
  return out;
}

strings values(const pairs& of, std::string_view name) {
  strings out;
  for (const auto& [n, v] : of) {
    if (n == name) out.push_back(v);
  }
  return out;
}
std::string joined(const strings& all) {
  std::string out;
  for (const std::string& s : all) out += (out.empty() ? "" : ", ") + s;
  return out.empty() ? "none" : out;
}

void compare_pairs(strings& out, const char* what, const pairs& want, const pairs& got) {
  strings names;
  for (const auto& [name, value] : want) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    names.push_back(name);
    const strings w = values(want, name);
    const strings g = values(got, name);
    if (w != g) out.push_back(std::string(what) + " " + name + ": " + joined(g) + " instead of " + joined(w));
  }
}

void compare_info(strings& out, const info& want, const info& got) {
  for (const v1::Header& w : want.request_headers()) {
    const auto there = std::find_if(got.request_headers().begin(), got.request_headers().end(), [&](const v1::Header& g) {
      return g.name() == w.name() && g.SerializeAsString() == w.SerializeAsString();
    });
    if (there == got.request_headers().end()) out.push_back("the server did not see the header " + w.ShortDebugString());
  }
  const int64_t most = want.timeout_ms() + want.timeout_ms() / 100;  // gRPC C++ rounds up to three digits
  if (want.has_timeout_ms() != got.has_timeout_ms()) {
    out.push_back("the server saw " + std::string(got.has_timeout_ms() ? "a" : "no") + " time limit");
  } else if (want.has_timeout_ms() && (got.timeout_ms() <= 0 || got.timeout_ms() > most)) {
    out.push_back("the server saw a time limit of " + std::to_string(got.timeout_ms()) + " ms, and it was " +
                  std::to_string(want.timeout_ms()));
  }
  if (want.requests_size() != got.requests_size()) {
    out.push_back("the server saw " + std::to_string(got.requests_size()) + " requests, and there were " +
                  std::to_string(want.requests_size()));
    return;
  }
  for (int i = 0; i < want.requests_size(); i++) {
    if (want.requests(i).type_url() != got.requests(i).type_url() || want.requests(i).value() != got.requests(i).value()) {
      out.push_back("the server saw another request " + std::to_string(i));
    }
  }
}

}  // namespace

std::vector<call_case> suite(std::string_view name, uint32_t limit) {
  if (name == "basic") return basic();
  if (name == "errors") return errors();
  if (name == "duplicate_metadata") return duplicate_metadata();
  if (name == "timeouts") return timeouts();
  if (name == "deadline_propagation") return deadline_propagation();
  if (name == "server_empty") return server_empty();
  if (name == "message_size") return message_size(limit);
  if (name == "idempotent") return idempotent();
  if (name == "client_certificates") return client_certificates();
  if (name == "subformat") return subformat();
  if (name == "unexpected") return unexpected();
  throw std::invalid_argument("there is no suite " + std::string(name));
}

bool compressible(std::string_view name) { return name != "server_empty" && name != "subformat" && name != "unexpected"; }

std::vector<std::string> differences(const call_case& c, const outcome& got) {
  const expectation& want = c.expected;
  strings out;
  if (want.http_status != 0 && got.http_status != want.http_status) {
    out.push_back("HTTP status " + std::to_string(got.http_status) + " instead of " + std::to_string(want.http_status));
  }
  if (std::find(want.codes.begin(), want.codes.end(), got.code) == want.codes.end()) {
    out.push_back("status " + std::to_string(got.code) + " \"" + got.message + "\" instead of " + std::to_string(want.codes[0]));
  }
  if (want.message && got.message != *want.message) out.push_back("message \"" + got.message + "\" instead of \"" + *want.message + "\"");
  compare_pairs(out, "header", want.headers, got.headers);
  compare_pairs(out, "trailer", want.trailers, got.trailers);
  if (got.messages.size() != want.payloads.size()) {
    out.push_back(std::to_string(got.messages.size()) + " messages instead of " + std::to_string(want.payloads.size()));
  }
  for (size_t i = 0; i < std::min(got.messages.size(), want.payloads.size()); i++) {
    v1::UnaryResponse m;  // all answers have the same shape
    if (!m.ParseFromString(got.messages[i])) {
      out.push_back("message " + std::to_string(i) + " cannot be parsed");
      continue;
    }
    if (m.payload().data() != want.payloads[i].data()) out.push_back("message " + std::to_string(i) + " has other data");
    compare_info(out, want.payloads[i].request_info(), m.payload().request_info());
  }
  if (want.seen) {
    RpcStatus s;
    info there;
    if (!s.ParseFromString(got.details) || s.details_size() == 0 || !s.details(s.details_size() - 1).UnpackTo(&there)) {
      out.push_back("the status has no details that say what the server saw");
    } else {
      if (s.code() != got.code) out.push_back("the status's details have another code");
      if (s.message() != got.message) out.push_back("the status's details have another message");
      compare_info(out, *want.seen, there);
    }
  }
  return out;
}

}  // namespace warren::conformance
