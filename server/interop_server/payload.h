// Payloads of an asked size.
#pragma once
#include <string>

#include <warren/grpc.h>

#include "grpc/testing/messages.pb.h"

namespace warren::interop {

// A test client may ask for any 32-bit number; beyond this it gets INVALID_ARGUMENT. Sixteen times gRPC's default message limit.
inline constexpr int32_t kMostPayload = 64 << 20;

// n zero bytes. A status that is not OK if n is no size to serve.
inline grpc::status fill(::grpc::testing::Payload& p, int32_t n) {
  if (n < 0 || n > kMostPayload) {
    return grpc::invalid_argument("a payload of " + std::to_string(n) + " bytes; ask for 0 to " + std::to_string(kMostPayload));
  }
  p.mutable_body()->assign(static_cast<size_t>(n), '\0');
  return {};
}

}  // namespace warren::interop
