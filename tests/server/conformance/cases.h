// The cases of Connect's conformance runner that concern a gRPC server: what is sent, and what must come back. The suites and cases have
// that runner's names ("Basic/unary/success"), so that its documents explain them. Whoever makes the calls tells the outcome by a struct;
// what it should have been follows, as in that runner, from the answers that the requests ask for.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connectrpc/conformance/v1/service.pb.h"

namespace warren::conformance {

namespace v1 = ::connectrpc::conformance::v1;

using pairs = std::vector<std::pair<std::string, std::string>>;

enum class shape : uint8_t { unary, server_stream, client_stream, half_duplex, full_duplex };

// A request that no proper client sends: its header fields beside the path and its body, as they are.
struct raw_request {
  std::string verb;
  pairs headers;
  std::string body;
};

struct expectation {
  pairs headers;
  pairs trailers;
  std::vector<v1::ConformancePayload> payloads;
  std::vector<int> codes{0};                                // one of them
  std::optional<std::string> message;                       // of the status; nothing: any
  std::optional<v1::ConformancePayload::RequestInfo> seen;  // in the status's details, the last of them
  int http_status = 200;                                    // 0: any
};

struct call_case {
  std::string name;
  std::string path;
  shape how = shape::unary;
  std::vector<std::string> requests;  // serialised
  pairs metadata{};
  int timeout_ms = 0;  // 0: none
  std::optional<raw_request> raw{};
  expectation expected{};
};

struct outcome {
  int http_status = 200;
  pairs headers;
  pairs trailers;
  std::vector<std::string> messages;  // uncompressed
  int code = -1;
  std::string message;  // decoded
  std::string details;  // grpc-status-details-bin, decoded
};

// The cases of a suite. limit: the server's limit for messages, of the suite that is about it. Throws std::invalid_argument for a name that
// is none.
std::vector<call_case> suite(std::string_view name, uint32_t limit);

// May the suite's requests be compressed? Of some, the point is in the plain bytes.
bool compressible(std::string_view suite_name);

// One line about each thing that is not as expected; empty: all is.
std::vector<std::string> differences(const call_case& c, const outcome& got);

}  // namespace warren::conformance
