// The system's resolver, for goroutines.
//
// getaddrinfo blocks its thread, for half a minute when a name server does not answer, and nothing can cut it short. So each lookup runs on
// a goroutine of its own, in a blocking region; whoever asked waits for an event beside it, and leaves when the deadline passes or the stop
// comes. The lookup left behind goes on to its end and is thrown away. At most kConcurrentLookups run at once: each occupies a thread, and
// a dead name server under load must not take all that the process may have (Go's first resolver did). The rest wait in line, where a
// deadline or a stop takes them out again.
#pragma once
#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "netpoll/sys.h"
#include "warren/net.h"

namespace warren::rt {

// nss modules and libresolv keep packets and buffers on the stack: more than a handler's 64 KiB may hold; hence also few of them.
inline constexpr int kConcurrentLookups = 16;

// In the resolver's order (getaddrinfo sorts by RFC 6724). Empty with ec set on failure: timed_out, operation_aborted, host_not_found,
// host_not_found_try_again … deadline: nanotime, 0 = none. Parks. Throws std::bad_alloc; nothing of the lookup is left in line then.
std::vector<tcp_endpoint> resolve(const std::string& host, uint16_t port, bool passive, int64_t deadline, const std::stop_token& stop,
                                  asio::error_code& ec);

struct resolver_statistics {
  int running;    // lookups in a thread now
  int in_line;    // waiting for one
  uint64_t done;  // finished, whether anybody still wanted them or not
};
resolver_statistics resolver_stats() noexcept;

// For tests: stands in for getaddrinfo when set. Called in the blocking region.
using lookup_function = sys::lookup_result (*)(const std::string& host, uint16_t port, bool passive);
extern std::atomic<lookup_function> lookup_test_hook;

}  // namespace warren::rt
