// Addresses as text: "host:port".
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "warren/net.h"

namespace warren::rt {

struct host_port {
  std::string host;  // without brackets; empty: every address (listen) or this machine (dial)
  uint16_t port = 0;
};

// Splits; no lookup. On failure *why says what is wrong and what to write instead.
bool split_host_port(std::string_view text, host_port* out, std::string* why);

// The address if host is a numeric one. *is_name: it could be a name; otherwise *why explains.
bool parse_address(const std::string& host, asio::ip::address* out, bool* is_name, std::string* why);

}  // namespace warren::rt
