#include "server/grpc/request_head.h"

#include <cstdlib>

#include "server/grpc/compression.h"
#include "server/grpc/metadata_field.h"
#include "server/grpc/refusals.h"
#include "server/grpc/timeout.h"

namespace warren::grpc {

void request_head::reset() noexcept {
  path_known_ = post_ = head_ = root_path_ = over_limit_ = bad_timeout_ = bad_binary_ = bad_encoding_ = host_seen_ = false;
  encoding_ = encoding::identity;
  content_ = content::absent;
  accepts_ = 0;
  timeout_.reset();
  authority_.clear();
  path_text_.clear();
  metadata_.clear();
}

void request_head::on_field(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2:
      if (name == "te") return;  // nghttp2 has checked it
      break;
    case 4:
      if (name == "host") {
        if (!host_seen_ && authority_.empty()) authority_ = value;
        host_seen_ = true;
        return;
      }
      break;
    case 5:
      if (name == ":path") {
        if (method_ == nullptr || method_->path != value) method_ = methods_.find(value);
        path_known_ = method_ != nullptr;
        if (!path_known_) {
          root_path_ = value == "/";
          path_text_ = value.substr(0, 256);  // for the message only
        }
        return;
      }
      break;
    case 7:
      if (name == ":method") {
        post_ = value == "POST";
        head_ = value == "HEAD";
        return;
      }
      if (name == ":scheme") return;
      break;
    case 10:
      if (name == ":authority") {
        authority_ = value;  // with both, :authority is the one
        return;
      }
      break;
    case 12:
      if (name == "content-type") {
        constexpr std::string_view grpc = "application/grpc";
        if (!value.starts_with(grpc)) {
          content_ = content::not_grpc;
        } else {
          const std::string_view rest = value.substr(grpc.size());
          if (rest.empty() || rest[0] == ';') {
            content_ = content::grpc;
          } else if (rest[0] == '+') {
            const std::string_view subtype = rest.substr(1, rest.find(';') - 1);
            content_ = subtype == "proto" ? content::grpc_proto : content::grpc_other;
          } else {
            content_ = content::not_grpc;
          }
        }
        return;
      }
      if (name == "grpc-timeout") {
        timeout_ = parse_timeout(value);
        bad_timeout_ = !timeout_;
        return;
      }
      break;
    case 13:
      if (name == "grpc-encoding") {
        bad_encoding_ = !parse_encoding(value, encoding_);
        return;
      }
      break;
    case 20:
      if (name == "grpc-accept-encoding") {
        accepts_ |= parse_accept_encoding(value);
        return;
      }
      break;
    default: break;
  }
  if (!add_field(metadata_, name, value)) bad_binary_ = true;
}

request_head::finding request_head::find() const noexcept {
  if (over_limit_) return finding::over_limit;
  if (content_ == content::absent || content_ == content::not_grpc) return root_path_ ? finding::page : finding::not_grpc;
  if (!post_) return finding::not_post;
  if (!path_known_) return finding::unknown_method;
  if (content_ == content::grpc_other) return finding::other_format;
  if (bad_timeout_) return finding::bad_timeout;
  if (bad_encoding_) return finding::bad_encoding;
  if (bad_binary_) return finding::bad_binary;
  return finding::fine;
}

request_head::refusal request_head::why(finding f) const {
  switch (f) {
    case finding::fine:
    case finding::page: break;
    case finding::over_limit:
      return {"431", status_code::resource_exhausted, "the request's headers are over the server's limit; send less metadata"};
    case finding::not_grpc: return {"415", status_code::invalid_argument, "content-type is not application/grpc; use a gRPC client"};
    case finding::not_post: return {"405", status_code::internal, "the HTTP method is not POST; use a gRPC client"};
    case finding::unknown_method: return {"200", status_code::unimplemented, no_such_method(path_text_)};
    case finding::other_format:
      return {"200", status_code::unimplemented, "the content-type's message format is not served; use application/grpc+proto"};
    case finding::bad_timeout:
      return {"400", status_code::internal, "grpc-timeout is malformed; send 1 to 8 digits and one of H M S m u n"};
    case finding::bad_encoding:
      return {"200", status_code::unimplemented, "grpc-encoding is not supported; send one of " + std::string(kAcceptEncoding)};
    case finding::bad_binary: return {"200", status_code::internal, "a -bin metadata value is not base64"};
  }
  std::abort();
}

}  // namespace warren::grpc
