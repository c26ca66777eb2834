// What the files of the public types share: making them, their names, and their errors.
#pragma once
#include <string.h>

#include <string_view>

#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/sys.h"
#include "warren/net.h"

namespace warren {

struct conn_maker {
  static tcp_conn conn(rt::fd* f) noexcept { return tcp_conn(f); }
  static tcp_listener listener(rt::fd* f) noexcept { return tcp_listener(f); }
};

namespace rt {

// An endpoint from getsockname or getpeername (`name`).
template <class Endpoint, class Name>
Endpoint endpoint_of(const fd* f, Name name, asio::error_code& ec) {
  Endpoint e;
  if (f == nullptr) {
    ec = asio::error::bad_descriptor;
    return e;
  }
  sys::socket_address a;
  if (!f->with([&](int s) { return name(s, &a); }, ec).ok()) return e;
  if (a.size <= e.capacity()) {
    memcpy(e.data(), &a.storage, a.size);
    e.resize(a.size);
  }
  return e;
}

[[noreturn]] inline void throw_with_address(const char* operation, std::string_view address, asio::error_code ec,
                                            std::string_view why = {}) {
  throw net_error(ec, net_error_line(operation, address, ec, why));
}

// The earlier of the two that dial_options has, as nanotime, 0 = none.
int64_t deadline_of(const dial_options& options) noexcept;

}  // namespace rt

}  // namespace warren
