// peer_facts: what is known of the other end of a connection, all of it before the first request.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include <warren/grpc/tls.h>
#include <warren/unix.h>

namespace warren::http2 {

struct peer_facts {
  std::string address;                              // "127.0.0.1:40112", "unix:"; "unknown" if it has gone already
  std::shared_ptr<const grpc::tls_info> tls;        // null: the connection is not encrypted
  std::optional<warren::peer_credentials> process;  // of a unix socket: who connected, as the kernel says
};

}  // namespace warren::http2
