#include "server/grpc/answer_fields.h"

#include "server/grpc/base64.h"
#include "server/grpc/limits.h"
#include "server/grpc/percent.h"

namespace warren::grpc {

namespace {

std::string_view decimal(status_code code) {
  static constexpr std::string_view known[kStatusCodes] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                           "9", "10", "11", "12", "13", "14", "15", "16"};
  const auto n = static_cast<uint32_t>(code);
  return n < kStatusCodes ? known[n] : std::string_view();
}

}  // namespace

const nghttp2_nv answer_fields::kHeaders[] = {field(":status", "200"), field("content-type", "application/grpc")};
const nghttp2_nv answer_fields::kHeadersProto[] = {field(":status", "200"), field("content-type", "application/grpc+proto")};
const nghttp2_nv answer_fields::kTrailersOk[] = {field("grpc-status", "0")};

void answer_fields::set_status(status_code code, std::string_view text, std::string_view details) {
  code_ = code;
  text_.clear();
  details_.clear();
  percent_encode(text.substr(0, kMaxMessageText), text_);
  base64_encode(details, details_);
}

std::span<const nghttp2_nv> answer_fields::particular_headers(bool proto, encoding named, const metadata& initial) {
  block_.begin();
  for (const nghttp2_nv& f : proto ? kHeadersProto : kHeaders) block_.add(f);
  if (named != encoding::identity) block_.add("grpc-encoding", to_string(named));
  block_.add(initial);
  return block_.fields();
}

std::span<const nghttp2_nv> answer_fields::particular_trailers(const metadata& trailing) {
  block_.begin();
  add_status(trailing);
  return block_.fields();
}

std::span<const nghttp2_nv> answer_fields::trailers_only(bool proto, const char* http_status, const metadata& trailing) {
  block_.begin();
  block_.add(":status", http_status);
  block_.add((proto ? kHeadersProto : kHeaders)[1]);
  add_status(trailing);
  return block_.fields();
}

void answer_fields::add_status(const metadata& trailing) {
  const std::string_view known = decimal(code_);
  if (known.empty()) {
    block_.add_text("grpc-status", std::to_string(static_cast<uint32_t>(code_)));
  } else {
    block_.add("grpc-status", known);
  }
  if (!text_.empty()) block_.add("grpc-message", text_);
  if (!details_.empty()) block_.add("grpc-status-details-bin", details_);
  block_.add(trailing);
}

}  // namespace warren::grpc
