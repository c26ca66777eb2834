// The one line that a network error is reported in: operation, address, cause, remedy.
#pragma once
#include <asio/error.hpp>
#include <string>
#include <string_view>

namespace warren::rt {

// "listen 127.0.0.1:80: address already in use; stop the other process or choose another port". `why`, when not empty, replaces cause and
// remedy.
std::string net_error_line(std::string_view operation, std::string_view address, asio::error_code ec, std::string_view why = {});

}  // namespace warren::rt
