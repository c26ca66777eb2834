#include "netpoll/net_error.h"

#include <errno.h>

#include "netpoll/sys.h"
#include "warren/net.h"

namespace warren {

namespace rt {

namespace {

// What to do about it. Empty: nothing that we know.
std::string remedy(std::string_view operation, const asio::error_code& ec) {
  if (ec == asio::error::no_descriptors)
    return "no descriptor left of " + std::to_string(sys::descriptor_limit()) + "; close connections or raise the limit (ulimit -n)";
  if (ec == asio::error::timed_out) return operation == "dial" ? "is the host up, and does a firewall let the port through?" : "";
  if (operation == "listen") {
    if (ec == asio::error::address_in_use) return "stop the other process or choose another port";
    if (ec == asio::error::access_denied) return "choose a port from 1024 on, or give the program CAP_NET_BIND_SERVICE";
    if (ec == asio::error_code(EADDRNOTAVAIL, asio::system_category())) return "use an address of this machine, or 0.0.0.0 for all of them";
  }
  if (operation == "dial") {
    if (ec == asio::error::connection_refused) return "is the server running, and is this its port?";
    if (ec == asio::error::host_unreachable || ec == asio::error::network_unreachable)
      return "check the address and this machine's network";
  }
  if (ec == asio::error::host_not_found) return "check the name, or write the numeric address";
  if (ec == asio::error::host_not_found_try_again) return "the name server did not answer; try again, or write the numeric address";
  return "";
}

}  // namespace

std::string net_error_line(std::string_view operation, std::string_view address, asio::error_code ec, std::string_view why) {
  std::string line(operation);
  if (!address.empty()) {
    line += ' ';
    for (const char c : address.substr(0, 256)) line += c >= ' ' && c != 127 ? c : '?';  // one line, whatever the address holds
  }
  line += ": ";
  if (!why.empty()) return line.append(why);
  std::string cause = ec.message();
  if (ec == asio::error::eof) cause = "the peer has closed the connection";
  if (cause.size() > 1 && cause[0] >= 'A' && cause[0] <= 'Z' && cause[1] >= 'a' && cause[1] <= 'z')
    cause[0] = static_cast<char>(cause[0] - 'A' + 'a');
  line += cause;
  const std::string help = remedy(operation, ec);
  if (!help.empty()) line += "; " + help;
  return line;
}

}  // namespace rt

namespace detail {
void throw_net_error(const char* operation, asio::error_code ec) { throw net_error(ec, rt::net_error_line(operation, {}, ec)); }
}  // namespace detail

}  // namespace warren
