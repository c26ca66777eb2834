// What every call of a server shares. Read-only while it serves, except the counters.
#pragma once
#include <atomic>
#include <cstdint>

#include <warren/grpc/server.h>

#include "server/grpc/deadlines.h"
#include "server/grpc/method_table.h"

namespace warren::grpc {

struct core {
  server_options options;
  method_table methods;
  deadlines late;
  std::atomic<uint64_t> unknown_method{0};
  std::atomic<uint64_t> rejected{0};
};

}  // namespace warren::grpc
