// The order of trust, as in the server: first whether it is gRPC at all (":status", content-type), then what it says. A status that the
// server gives in grpc-status counts even beside a bad :status, since a proxy may have changed the one and not the other. Everything odd
// becomes a status that says what was odd; nothing in a response is a reason to crash or to wait for ever.
#include "server/client/response.h"

#include <nghttp2/nghttp2.h>

#include <utility>

#include "server/client/limits.h"
#include "server/grpc/base64.h"
#include "server/grpc/compression.h"
#include "server/grpc/metadata_field.h"
#include "server/grpc/percent.h"
#include "server/grpc/reserved.h"

namespace warren::grpc::client {

namespace {

// Decimal digits only, at most nine. Nothing for anything else.
std::optional<uint32_t> parse_number(std::string_view text) noexcept {
  if (text.empty() || text.size() > 9) return std::nullopt;
  uint32_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<uint32_t>(c - '0');
  }
  return n;
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kQuotedBody)) out += c >= 0x20 && c <= 0x7E ? c : '?';
  return out;
}

}  // namespace

status_code code_of_http(int http_status) noexcept {
  switch (http_status) {
    case 400: return status_code::internal;
    case 401: return status_code::unauthenticated;
    case 403: return status_code::permission_denied;
    case 404: return status_code::unimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return status_code::unavailable;
    default: return status_code::unknown;
  }
}

status_code code_of_reset(uint32_t error_code) noexcept {
  switch (error_code) {
    case NGHTTP2_REFUSED_STREAM: return status_code::unavailable;
    case NGHTTP2_CANCEL: return status_code::cancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM: return status_code::resource_exhausted;
    case NGHTTP2_INADEQUATE_SECURITY: return status_code::permission_denied;
    default: return status_code::internal;
  }
}

void response::on_header(std::string_view name, std::string_view value) {
  if (name == ":status") {
    http_status_ = static_cast<int>(parse_number(value).value_or(0));
  } else if (name == "content-type") {
    content_type_ = value.substr(0, kQuotedBody);
  } else if (name == "grpc-status") {
    code_ = parse_number(value);
    bad_code_ = !code_;
  } else if (name == "grpc-message") {
    message_ = percent_decode(value);
  } else if (name == "grpc-status-details-bin") {
    details_.clear();
    base64_decode(value, details_);  // if it is none, the status goes without
  } else if (name == "grpc-encoding") {
    encoding e;
    encoding_name_ = value.substr(0, kQuotedBody);
    encoding_ = parse_encoding(value, e) ? std::optional(e) : std::nullopt;
  } else {
    if (name == "grpc-retry-pushback-ms") {
      const std::optional<uint32_t> ms = parse_number(value);
      pushback_ = ms ? static_cast<int64_t>(*ms) : -1;  // gRPC A6: what cannot be read means "do not retry"
    }
    take_metadata(name, value);
  }
}

void response::take_metadata(std::string_view name, std::string_view value) {
  if (!add_field(pairs_, name, value)) bad_binary_ = true;
}

response::block response::end_block(bool end_stream) {
  if (!have_initial_ && http_status_ >= 100 && http_status_ < 200 && !end_stream) {
    *this = response();
    return block::informational;
  }
  metadata pairs = std::exchange(pairs_, {});
  if (over_limit_) {
    status_ = resource_exhausted("the server's metadata is over the limit; raise max_header_list or max_header_fields");
    return block::not_grpc;
  }
  if (!have_initial_) {
    have_initial_ = true;
    const bool grpc = content_type_ == "application/grpc" || content_type_.starts_with("application/grpc+") ||
                      content_type_.starts_with("application/grpc;");
    if (!code_ && !bad_code_ && (http_status_ != 200 || !grpc)) {
      status_ = {code_of_http(http_status_), "the answer is not gRPC: HTTP status " + std::to_string(http_status_) + ", content-type \"" +
                                                 printable(content_type_) + "\"; is the address that of a gRPC server?"};
      trailing_ = std::move(pairs);
      return block::not_grpc;
    }
    if (!end_stream) {
      // A grpc-status that is not at the end means nothing yet.
      code_.reset();
      bad_code_ = false;
      message_.clear();
      details_.clear();
      if (bad_binary_) {
        status_ = internal("a -bin metadata value of the server is not base64");
        return block::not_grpc;
      }
      initial_ = std::move(pairs);
      return block::initial;
    }
    trailers_only_ = true;
  } else if (!end_stream) {
    status_ = internal("the server sent a second block of headers that does not end the stream");
    return block::not_grpc;
  }
  trailing_ = std::move(pairs);
  read_status();
  return block::last;
}

void response::read_status() {
  if (bad_code_) {
    status_ = {status_code::unknown, "the server's grpc-status is no number"};
  } else if (!code_) {
    status_ = {status_code::unknown, "the server's trailers have no grpc-status"};
  } else if (*code_ == 0) {
    status_ = bad_binary_ ? internal("a -bin metadata value of the server is not base64") : status();
  } else {
    status_ = {static_cast<status_code>(*code_), std::move(message_), std::move(details_)};
  }
}

void response::end_without_trailers() { status_ = internal("the server ended the stream without a status"); }

}  // namespace warren::grpc::client
