// What every call of a server shares. Read-only while it serves, except the counters.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include <warren/grpc/server.h>

#include "server/grpc/method_table.h"
#include "server/http2/alarms.h"

namespace warren::grpc {

struct core {
  server_options options;
  method_table methods;
  std::vector<interceptor*> interceptors;  // the outermost first
  http2::alarms alarms;
  std::atomic<uint32_t> running{0};  // handlers of methods without a limit of their own; counted only if max_concurrent_calls is set
  std::atomic<uint64_t> over_limit{0};
  std::atomic<uint64_t> unknown_method{0};
  std::atomic<uint64_t> rejected{0};
  std::atomic<uint64_t> slow{0};
};

}  // namespace warren::grpc
