#include "netpoll/address.h"

#include <charconv>

namespace warren::rt {

namespace {
bool fail(std::string* why, std::string text) {
  if (why != nullptr) *why = std::move(text);
  return false;
}

std::string quoted(std::string_view text) { return std::string(1, '"').append(text).append(1, '"'); }
}  // namespace

bool split_host_port(std::string_view text, host_port* out, std::string* why) {
  constexpr const char* kForm = "write ADDR:PORT, for example 127.0.0.1:8080";
  const size_t colon = text.rfind(':');
  if (text.empty()) return fail(why, std::string("empty address; ") + kForm);
  if (text.find('\0') != std::string_view::npos) return fail(why, std::string("address contains a NUL character; ") + kForm);
  std::string_view host;
  std::string_view port;
  if (text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return fail(why, "missing ']'; write [ADDR]:PORT, for example [::1]:8080");
    if (end + 1 >= text.size() || text[end + 1] != ':')
      return fail(why, "missing port after ']'; write [ADDR]:PORT, for example [::1]:8080");
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
    if (host.find(':') == std::string_view::npos) return fail(why, "brackets are for IPv6 addresses; " + std::string(kForm));
  } else {
    if (colon == std::string_view::npos) return fail(why, std::string("missing port; ") + kForm);
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.find(':') != std::string_view::npos)
      return fail(why, "IPv6 address without brackets; write [ADDR]:PORT, for example [::1]:8080");
  }
  uint32_t number = 0;
  const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc() || rest != port.data() + port.size() || number > 65535)
    return fail(why, "port " + quoted(port) + " is not a number from 0 to 65535; " + kForm);
  out->host = std::string(host);
  out->port = static_cast<uint16_t>(number);
  return true;
}

bool parse_address(const std::string& host, asio::ip::address* out, bool* is_name, std::string* why) {
  *is_name = false;
  asio::error_code ec;
  *out = asio::ip::make_address(host, ec);
  if (!ec) return true;
  if (host.find(':') != std::string::npos) return fail(why, quoted(host) + " is not an IPv6 address; write for example [::1]:8080");
  if (host.find_first_not_of("0123456789.") == std::string::npos)
    return fail(why, quoted(host) + " is not an IPv4 address; write four numbers from 0 to 255, for example 127.0.0.1:8080");
  *is_name = true;
  for (const char c : host) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!fits) *is_name = false;
  }
  if (host.size() > 253) *is_name = false;
  if (!*is_name)
    return fail(why, quoted(host.substr(0, 64)) + " is neither an address nor a host name; write ADDR:PORT, for example 127.0.0.1:8080");
  return fail(why, quoted(host) + " is a name, not a numeric address");
}

}  // namespace warren::rt

namespace warren {

tcp_endpoint parse_endpoint(std::string_view address, asio::error_code& ec, std::string* why) {
  rt::host_port hp;
  asio::ip::address a;
  bool is_name = false;
  ec = asio::error::invalid_argument;
  if (!rt::split_host_port(address, &hp, why)) return {};
  if (hp.host.empty()) {
    ec.clear();
    return tcp_endpoint(asio::ip::tcp::v6(), hp.port);
  }
  if (!rt::parse_address(hp.host, &a, &is_name, why)) return {};
  ec.clear();
  return tcp_endpoint(a, hp.port);
}

std::string to_string(const tcp_endpoint& e) {
  std::string text = e.address().to_string();
  if (e.address().is_v6()) text.insert(0, 1, '[').append(1, ']');
  return text.append(1, ':').append(std::to_string(e.port()));
}

}  // namespace warren
