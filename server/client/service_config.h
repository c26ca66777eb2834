// service_config: what a service's owner tells its clients (gRPC's doc/service_config.md, proposals A2 and A6), parsed and checked.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace warren::grpc::client {

struct retry_policy {
  int max_attempts = 1;  // the first included; at most kMostAttempts
  int64_t initial_backoff_ns = 0;
  int64_t max_backoff_ns = 0;
  double multiplier = 1;
  uint32_t retryable = 0;  // 1 << code
};

struct hedging_policy {
  int max_attempts = 1;
  int64_t delay_ns = 0;
  uint32_t non_fatal = 0;  // 1 << code
};

struct method_config {
  std::optional<bool> wait_for_ready;
  std::optional<int64_t> timeout_ns;
  std::optional<uint32_t> max_request;
  std::optional<uint32_t> max_response;
  std::optional<retry_policy> retry;
  std::optional<hedging_policy> hedging;
};

struct throttling {
  double max_tokens = 0;  // 0: no throttling
  double token_ratio = 0;
};

struct service_config {
  // By "/service/method", "/service/" for the rest of a service, "" for the rest.
  std::map<std::string, method_config, std::less<>> methods;
  throttling throttle;
  std::string load_balancing;  // "pick_first", "round_robin", or empty

  // path: "/service/method". nullptr: nothing is said about it.
  const method_config* find(std::string_view path) const;
};

// Throws std::invalid_argument: one line, with the place of the mistake. Empty text is an empty config. Names that are not known are
// passed over, as the specification wants.
service_config parse_service_config(std::string_view json);

}  // namespace warren::grpc::client
