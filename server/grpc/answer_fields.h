// answer_fields: the header blocks of an answer, and the status that the last of them carries.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>

#include "server/grpc/header_block.h"

namespace warren::grpc {

// An answer is headers, messages and trailers, or trailers only. Nearly every call gets the same two blocks, which are built once for all
// of them; others are built here. What a block points to must stay until its frame is written: the status and the texts are kept here, the
// metadata by the caller.
class answer_fields {
 public:
  // Decides the status, which is OK otherwise. text and details are as the user gave them: any bytes.
  void set_status(status_code code, std::string_view text = {}, std::string_view details = {});
  status_code code() const noexcept { return code_; }

  // The blocks. proto: the request's content-type was application/grpc+proto, and the answer's is.
  std::span<const nghttp2_nv> headers(bool proto, encoding named, const metadata& initial) {
    if (initial.empty() && named == encoding::identity) return proto ? kHeadersProto : kHeaders;
    return particular_headers(proto, named, initial);
  }
  std::span<const nghttp2_nv> trailers(const metadata& trailing) {
    if (code_ == status_code::ok && trailing.empty()) return kTrailersOk;
    return particular_trailers(trailing);
  }
  std::span<const nghttp2_nv> trailers_only(bool proto, const char* http_status, const metadata& trailing);

  // Of a call that has not come, once nothing of the answer will be written any more.
  void reset() noexcept {
    code_ = status_code::ok;
    text_.clear();
    details_.clear();
    block_.reset();
  }

 private:
  static const nghttp2_nv kHeaders[2];
  static const nghttp2_nv kHeadersProto[2];
  static const nghttp2_nv kTrailersOk[1];

  std::span<const nghttp2_nv> particular_headers(bool proto, encoding named, const metadata& initial);
  std::span<const nghttp2_nv> particular_trailers(const metadata& trailing);
  void add_status(const metadata& trailing);

  status_code code_ = status_code::ok;
  std::string text_;     // encoded
  std::string details_;  // likewise
  header_block block_;
};

}  // namespace warren::grpc
