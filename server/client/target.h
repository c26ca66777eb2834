// target: what a channel's target string means (gRPC's doc/naming.md).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace warren::grpc::client {

struct target {
  // Static addresses, as dial_stream takes them: "127.0.0.1:80", "[::1]:80", "unix:/run/x". Empty: host is to be resolved.
  std::vector<std::string> addresses;
  std::string host;  // without brackets
  uint16_t port = 0;
  std::string authority;    // what to call the server unless told otherwise
  std::string server_name;  // the same for TLS: no port
};

// Throws std::invalid_argument, one line.
target parse_target(std::string_view text);

}  // namespace warren::grpc::client
