// Who carries the calls of a test's servers: null is native. tests/server/grpcpp/other_transport.cpp, linked to a test, changes it.
#pragma once
#include <warren/grpc/server.h>

namespace warren::testing {

inline constinit grpc::transport_maker transport_under_test = nullptr;

}  // namespace warren::testing
