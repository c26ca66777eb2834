// The TLS of a client's connections.
#pragma once
#include <asio/ssl/context.hpp>
#include <chrono>
#include <memory>
#include <string>

#include <warren/grpc/channel.h>
#include <warren/tls.h>

namespace warren::grpc::client {

// Throws std::invalid_argument, one line, for certificates or keys that cannot be used.
std::unique_ptr<asio::ssl::context> make_tls_context(const client_tls_options& options);

}  // namespace warren::grpc::client
