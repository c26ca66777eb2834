// Rich errors: what a status says beside code and message, in the form all gRPC languages know (google.rpc.Status, which travels as
// grpc-status-details-bin).
//
//   return with_detail(invalid_argument("the order is not valid"),
//                      bad_request{{{.field = "amount", .description = "must be above 0"}}});
//   return with_detail(unavailable("try again later"), retry_info{.delay = 500ms});
//   return with_detail(aborted("out of stock"), my_protobuf_message);
//
// Protobuf messages, and find_detail(status, my_protobuf_message) for callers: <warren/grpc/protobuf.h>. The messages of
// google/rpc/*.proto, which many programs have linked already, are not linked by warren; the usual ones have plain structs here that are
// the same on the wire.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <warren/grpc/status.h>

namespace warren::grpc {

struct error_detail {
  std::string type_url;  // "type.googleapis.com/google.rpc.RetryInfo"
  std::string message;   // serialised
};

// The details of a status, in order; none if there are none. nullopt if they are no google.rpc.Status (a peer may send anything).
std::optional<std::vector<error_detail>> details_of(const status& s);

// google.rpc.ErrorInfo: why, for programs.
struct error_info {
  std::string reason;  // "OUT_OF_STOCK"
  std::string domain;  // who defines the reasons: "shop.example.com"
  std::vector<std::pair<std::string, std::string>> metadata{};
};
// google.rpc.RetryInfo: when to try again, at the earliest.
struct retry_info {
  std::chrono::nanoseconds delay{0};
};
// google.rpc.BadRequest: what is wrong with the request.
struct bad_request {
  struct violation {
    std::string field;  // "items[2].amount"
    std::string description;
  };
  std::vector<violation> violations;
};

status with_detail(status s, const error_info& d);
status with_detail(status s, const retry_info& d);
status with_detail(status s, const bad_request& d);
}  // namespace warren::grpc
