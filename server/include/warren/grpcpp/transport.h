// gRPC C++'s server as the transport of a warren::grpc::server. Link warren::grpcpp.
//
//   warren::grpc::server s({.listen = "127.0.0.1:50051", .transport = warren::grpcpp::transport});
//
// Handlers, interceptors and services are the same objects as on warren's own transport, and run on goroutines. What differs is told in
// server/README.md, "gRPC C++ transport". This header includes nothing of gRPC C++.
#pragma once
#include <memory>

#include <warren/grpc/server.h>

namespace warren::grpcpp {

// For server_options::transport. The server's start() throws, beside what it always throws, std::logic_error if an option is set that gRPC
// C++ cannot keep (max_connections).
std::shared_ptr<grpc::transport> transport(std::shared_ptr<grpc::core> of);

}  // namespace warren::grpcpp
