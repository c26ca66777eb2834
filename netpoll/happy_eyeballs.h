// Connecting to one of several addresses (RFC 8305, "happy eyeballs", sections 4 and 5).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "warren/net.h"

namespace warren::rt {

// The families in turn, beginning with that of the first; the order within a family stays.
std::vector<tcp_endpoint> interleave(const std::vector<tcp_endpoint>& addresses);

// Tries the addresses in the order given, one more whenever the last one has failed or `attempt_delay` after it was started; the first that
// connects wins. *details: with several addresses, every failure in one line. deadline: nanotime, 0 = none.
tcp_conn connect_first(const std::vector<tcp_endpoint>& order, int64_t deadline, int64_t attempt_delay, const std::stop_token& stop,
                       asio::error_code& ec, std::string* details);

}  // namespace warren::rt
