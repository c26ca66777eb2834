#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

const char* to_string(status_code code) noexcept {
  switch (code) {
    case status_code::ok: return "OK";
    case status_code::cancelled: return "Canceled";
    case status_code::unknown: return "Unknown";
    case status_code::invalid_argument: return "InvalidArgument";
    case status_code::deadline_exceeded: return "DeadlineExceeded";
    case status_code::not_found: return "NotFound";
    case status_code::already_exists: return "AlreadyExists";
    case status_code::permission_denied: return "PermissionDenied";
    case status_code::resource_exhausted: return "ResourceExhausted";
    case status_code::failed_precondition: return "FailedPrecondition";
    case status_code::aborted: return "Aborted";
    case status_code::out_of_range: return "OutOfRange";
    case status_code::unimplemented: return "Unimplemented";
    case status_code::internal: return "Internal";
    case status_code::unavailable: return "Unavailable";
    case status_code::data_loss: return "DataLoss";
    case status_code::unauthenticated: return "Unauthenticated";
  }
  return "Unknown";
}

const char* to_string(method_kind kind) noexcept {
  switch (kind) {
    case method_kind::unary: return "unary";
    case method_kind::server_streaming: return "server_stream";
    case method_kind::client_streaming: return "client_stream";
    case method_kind::bidi_streaming: return "bidi_stream";
  }
  return "unknown";
}

}  // namespace warren::grpc
