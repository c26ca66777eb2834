#include "server/client/target.h"

#include <stdexcept>

#include <warren/net.h>

namespace warren::grpc::client {

namespace {

constexpr std::string_view kUse = "use host:port, dns:///host:port, ipv4:ADDR:PORT, ipv6:[ADDR]:PORT, unix:PATH or unix-abstract:NAME";
// gRPC's default.
constexpr uint16_t kHttpsPort = 443;

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw std::invalid_argument("grpc: target '" + std::string(text) + "': " + why);
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::string quoted(std::string_view text) {
  std::string out(1, '\'');
  out += text;
  out += '\'';
  return out;
}

uint16_t parse_port(std::string_view whole, std::string_view text) {
  uint32_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || n > 65535) refuse(whole, quoted(text) + " is no port; write 1 to 65535");
    n = n * 10 + static_cast<uint32_t>(c - '0');
  }
  if (n == 0 || n > 65535) refuse(whole, quoted(text) + " is no port; write 1 to 65535");
  return static_cast<uint16_t>(n);
}

// "host", "host:port", "[v6]", "[v6]:port", "v6" (with more than one colon and no port).
void split(std::string_view whole, std::string_view text, std::string& host, uint16_t& port) {
  port = kHttpsPort;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) refuse(whole, "there is a '[' without a ']'");
    host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') refuse(whole, "after ']' comes ':' and a port");
  } else {
    const size_t colon = text.find(':');
    if (colon != text.npos && text.find(':', colon + 1) != text.npos) {
      host = text;  // an IPv6 address without brackets has no port
    } else {
      host = text.substr(0, colon);
      if (colon != text.npos) rest = text.substr(colon);
    }
  }
  if (host.empty()) refuse(whole, std::string("there is no host; ") + std::string(kUse));
  for (const char c : host) {
    const bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' ||
                      c == ':' || c == '%';
    if (!good) refuse(whole, quoted(host) + " is no host name; " + std::string(kUse));
  }
  if (!rest.empty()) port = parse_port(whole, rest.substr(1));
}

std::string joined(const std::string& host, uint16_t port) {
  const bool brackets = host.find(':') != host.npos;
  std::string out;
  if (brackets) out += '[';
  out += host;
  if (brackets) out += ']';
  out += ':';
  return out += std::to_string(port);
}

}  // namespace

target parse_target(std::string_view text) {
  const std::string_view whole = text;
  target t;
  if (take(text, "unix-abstract:")) {
    if (text.empty()) refuse(whole, "there is no name after unix-abstract:");
    t.addresses.push_back("unix:@" + std::string(text));
    t.authority = t.server_name = "localhost";
    return t;
  }
  if (take(text, "unix:")) {
    // With "//" an authority would follow, which must be empty, and then an absolute path.
    if (take(text, "//") && !text.starts_with("/")) refuse(whole, "after unix:// comes an absolute path, unix:///run/x.sock");
    if (text.empty()) refuse(whole, "there is no path after unix:");
    t.addresses.push_back("unix:" + std::string(text));
    t.authority = t.server_name = "localhost";
    return t;
  }
  const bool v4 = text.starts_with("ipv4:");
  if (v4 || text.starts_with("ipv6:")) {
    text.remove_prefix(5);
    take(text, "///");
    if (text.empty()) refuse(whole, "there is no address");
    while (!text.empty()) {
      const std::string_view one = text.substr(0, text.find(','));
      std::string host;
      uint16_t port;
      split(whole, one, host, port);
      const std::string address = joined(host, port);
      asio::error_code ec;
      std::string why;
      const tcp_endpoint e = parse_endpoint(address, ec, &why);
      if (ec || e.address().is_v4() != v4) refuse(whole, quoted(one) + " is no " + (v4 ? "IPv4" : "IPv6") + " address");
      t.addresses.push_back(to_string(e));
      if (t.authority.empty()) {
        t.authority = address;
        t.server_name = host;
      }
      text.remove_prefix(std::min(text.size(), one.size() + 1));
    }
    return t;
  }
  if (take(text, "dns:")) {
    if (take(text, "//")) {
      const size_t slash = text.find('/');
      if (slash != 0) refuse(whole, "a DNS server of its own is not supported; write dns:///host:port");
      text.remove_prefix(1);
    }
  } else if (text.find("://") != text.npos) {
    refuse(whole, "unknown scheme; " + std::string(kUse));
  }
  split(whole, text, t.host, t.port);
  t.authority = joined(t.host, t.port);
  t.server_name = t.host;
  asio::error_code ec;
  const tcp_endpoint e = parse_endpoint(t.authority, ec);
  if (!ec) t.addresses.push_back(to_string(e));  // a number needs no resolver
  return t;
}

}  // namespace warren::grpc::client
