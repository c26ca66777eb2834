#include "tests/server/conformance/conformance_service.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <warren/context.h>

#include "server/grpc/base64.h"

namespace warren::conformance {

namespace {

using context = grpc::server_context;
using info = v1::ConformancePayload::RequestInfo;

// The values of -bin fields are Base64 in the runner's messages, as they are on the wire.
std::string as_text(std::string_view key, std::string_view value) {
  if (!key.ends_with("-bin")) return std::string(value);
  std::string text;
  grpc::base64_encode(value, text);
  return text;
}
std::string as_value(std::string_view key, const std::string& text) {
  std::string value;
  return key.ends_with("-bin") && grpc::base64_decode(text, value) ? value : text;
}

// What the handler saw of the call, without the requests.
info observed(context& ctx) {
  info out;
  for (const auto one : ctx.metadata()) {
    v1::Header* header = nullptr;
    for (v1::Header& h : *out.mutable_request_headers()) {
      if (h.name() == one.key) header = &h;
    }
    if (header == nullptr) {
      header = out.add_request_headers();
      header->set_name(std::string(one.key));
    }
    header->add_value(as_text(one.key, one.value));
  }
  if (const auto deadline = ctx.deadline()) {
    const auto left = *deadline - context::clock::now();
    out.set_timeout_ms(std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
  }
  return out;
}

template <class Request>
void add_request(info& to, const Request& request) {
  to.add_requests()->PackFrom(request);
}

template <class Definition>
void send_metadata(context& ctx, const Definition& d) {
  for (const v1::Header& h : d.response_headers()) {
    for (const std::string& v : h.value()) ctx.add_initial_metadata(h.name(), as_value(h.name(), v));
  }
  for (const v1::Header& h : d.response_trailers()) {
    for (const std::string& v : h.value()) ctx.add_trailing_metadata(h.name(), as_value(h.name(), v));
  }
}

// What came compressed is answered compressed, by an encoding that the caller takes.
void answer_in_kind(context& ctx) {
  if (ctx.request_compressed() && !ctx.compress(grpc::encoding::gzip)) ctx.compress(grpc::encoding::deflate);
}

// seen: added to the details, if the error is the first thing that the caller gets.
grpc::status as_status(const v1::Error& e, const info* seen) {
  grpc::status s(static_cast<grpc::status_code>(e.code()), e.message());
  for (const auto& d : e.details()) s.add_detail(d.type_url(), d.value());
  if (seen != nullptr) {
    google::protobuf::Any packed;
    packed.PackFrom(*seen);
    s.add_detail(packed.type_url(), packed.value());
  }
  return s;
}

// false: the call is over.
bool wait(context& ctx, uint32_t ms) { return ms == 0 || !sleep(ctx, std::chrono::milliseconds(ms)); }

template <class Response>
grpc::result<Response> one_answer(context& ctx, const v1::UnaryResponseDefinition* d, info seen) {
  Response out;
  if (d != nullptr) {
    send_metadata(ctx, *d);
    if (!wait(ctx, d->response_delay_ms())) return grpc::cancelled("the caller has gone");
    if (d->has_error()) return as_status(d->error(), &seen);
    out.mutable_payload()->set_data(d->response_data());
  }
  *out.mutable_payload()->mutable_request_info() = std::move(seen);
  return out;
}

// One message of a stream's answers. false: nobody is there any more.
template <class Response>
bool give(context& ctx, const v1::StreamResponseDefinition& d, int index, const info* seen, grpc::writer<Response>& out) {
  Response message;
  message.mutable_payload()->set_data(d.response_data(index));
  if (seen != nullptr) *message.mutable_payload()->mutable_request_info() = *seen;
  return wait(ctx, d.response_delay_ms()) && out.write(message);
}

// The answers from that one on, then the error. The first of all says what was seen.
template <class Response>
grpc::status rest(context& ctx, const v1::StreamResponseDefinition& d, int from, const info& seen, grpc::writer<Response>& out) {
  for (int i = from; i < d.response_data_size(); i++) {
    if (!give(ctx, d, i, i == 0 ? &seen : nullptr, out)) return grpc::cancelled("the caller has gone");
  }
  if (!d.has_error()) return {};
  return as_status(d.error(), d.response_data_size() == 0 ? &seen : nullptr);
}

}  // namespace

grpc::result<v1::UnaryResponse> conformance_service::Unary(context& ctx, const v1::UnaryRequest& request) {
  answer_in_kind(ctx);
  info seen = observed(ctx);
  add_request(seen, request);
  return one_answer<v1::UnaryResponse>(ctx, request.has_response_definition() ? &request.response_definition() : nullptr, std::move(seen));
}

grpc::result<v1::IdempotentUnaryResponse> conformance_service::IdempotentUnary(context& ctx, const v1::IdempotentUnaryRequest& request) {
  answer_in_kind(ctx);
  info seen = observed(ctx);
  add_request(seen, request);
  return one_answer<v1::IdempotentUnaryResponse>(ctx, request.has_response_definition() ? &request.response_definition() : nullptr,
                                                 std::move(seen));
}

grpc::status conformance_service::ServerStream(context& ctx, const v1::ServerStreamRequest& request,
                                               grpc::writer<v1::ServerStreamResponse>& out) {
  if (!request.has_response_definition()) return {};
  answer_in_kind(ctx);
  info seen = observed(ctx);
  add_request(seen, request);
  send_metadata(ctx, request.response_definition());
  return rest(ctx, request.response_definition(), 0, seen, out);
}

grpc::result<v1::ClientStreamResponse> conformance_service::ClientStream(context& ctx, grpc::reader<v1::ClientStreamRequest>& in) {
  info seen = observed(ctx);
  std::optional<v1::UnaryResponseDefinition> d;
  bool first = true;
  for (const v1::ClientStreamRequest& request : in) {
    if (std::exchange(first, false)) {
      answer_in_kind(ctx);
      if (request.has_response_definition()) d = request.response_definition();
    }
    add_request(seen, request);
  }
  if (ctx.cancelled()) return grpc::cancelled("the caller has gone");
  return one_answer<v1::ClientStreamResponse>(ctx, d ? &*d : nullptr, std::move(seen));
}

grpc::status conformance_service::BidiStream(context& ctx, grpc::stream<v1::BidiStreamRequest, v1::BidiStreamResponse>& io) {
  info seen = observed(ctx);
  v1::StreamResponseDefinition d;
  bool first = true;
  bool full_duplex = false;
  int given = 0;
  for (const v1::BidiStreamRequest& request : static_cast<grpc::reader<v1::BidiStreamRequest>&>(io)) {
    if (std::exchange(first, false)) {
      answer_in_kind(ctx);
      full_duplex = request.full_duplex();
      d = request.response_definition();
      send_metadata(ctx, d);
    }
    add_request(seen, request);
    if (!full_duplex) continue;
    if (given == d.response_data_size()) break;  // nothing left to answer with: the error, if there is one
    if (!give(ctx, d, given++, &seen, io)) return grpc::cancelled("the caller has gone");
    seen.Clear();  // what follows says only what came since
  }
  if (ctx.cancelled()) return grpc::cancelled("the caller has gone");
  return rest(ctx, d, given, seen, io);
}

}  // namespace warren::conformance
