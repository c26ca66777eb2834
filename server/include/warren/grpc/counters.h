// What a server has counted, as plain numbers: for whoever exports them.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <warren/grpc/service.h>
#include <warren/grpc/status.h>
#include <warren/grpc/tls.h>

namespace warren::grpc {

// Upper bounds of the latency buckets in seconds: those of gRPC's customary Prometheus histograms. One more bucket takes the rest.
inline constexpr std::array<double, 14> kLatencyBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                       0.025,  0.05,    0.1,    0.25,  1,      2.5,   10};

struct method_counters {
  std::string service;  // "helloworld.Greeter"
  std::string method;   // "SayHello"
  method_kind kind = method_kind::unary;
  uint64_t started = 0;
  std::array<uint64_t, kStatusCodes> handled{};  // by status code; numbers outside the specification count as UNKNOWN
  uint64_t messages_received = 0;
  uint64_t messages_sent = 0;
  std::array<uint64_t, kLatencyBounds.size() + 1> latency{};  // calls per bucket, not cumulative
  double latency_seconds = 0;  // their sum; from the request's last byte (of a stream of requests: its headers) to the status
};

struct server_counters {
  std::vector<method_counters> methods;  // in the order of add() and of the descriptors; all exist from the start, at 0
  uint64_t connections_accepted = 0;
  uint64_t connections_open = 0;
  uint64_t accept_errors = 0;
  uint64_t calls_unknown_method = 0;        // answered UNIMPLEMENTED because no such service or method was added
  uint64_t calls_rejected = 0;              // answered before a method was known or a handler ran: content-type, limits, framing …
  uint64_t streams_refused = 0;             // RST_STREAM(REFUSED_STREAM): over the limit of concurrent streams or shutting down
  uint64_t connections_not_http2 = 0;       // first bytes were no HTTP/2 preface
  uint64_t connections_abused = 0;          // ended with GOAWAY(ENHANCE_YOUR_CALM): a flood limit was passed
  uint64_t connections_protocol_error = 0;  // ended with GOAWAY(PROTOCOL_ERROR or another): the peer broke a rule of HTTP/2
  uint64_t connections_stalled = 0;         // closed: the peer did not read, or did not finish its preface, in time
  uint64_t streams_stalled = 0;             // reset: the peer's window stayed shut, and the answer could not be sent
  uint64_t connections_refused = 0;         // over max_connections
  uint64_t connections_dead = 0;            // ended: the peer did not answer a keepalive ping
  uint64_t connections_aged = 0;            // told to go: max_connection_age
  uint64_t connections_idle = 0;            // told to go: max_connection_idle
  uint64_t windows_grown = 0;               // receive windows of a connection grew, because its path holds more
  uint64_t calls_slow = 0;                  // ended: the request did not come whole within request_timeout
  uint64_t calls_over_limit = 0;            // answered UNAVAILABLE: max_concurrent_calls or server::limit

  // TLS; all 0 without it.
  uint64_t tls_handshakes = 0;
  uint64_t tls_handshakes_failed = 0;     // not TLS, nothing in common, a bad certificate or none
  uint64_t tls_handshakes_timed_out = 0;  // handshake_timeout
  uint64_t tls_handshakes_evicted = 0;    // the oldest of more than max_handshakes
  uint64_t tls_handshakes_not_h2 = 0;     // ALPN did not choose h2
  uint64_t tls_handshakes_open = 0;       // under way now
  uint64_t tls_reloads = 0;
  uint64_t tls_reload_failures = 0;
  int64_t tls_certificate_expires = 0;  // of the server's certificate, seconds since 1970

  uint64_t bytes_received = 0;  // on sockets
  uint64_t bytes_sent = 0;
  uint64_t reads = 0;  // system calls that returned data
  uint64_t writes = 0;
};

// One connection, as it is now.
struct connection_info {
  uint64_t id = 0;                      // of this server: 1, 2, 3 … in the order of accept
  std::string peer;                     // "127.0.0.1:40112", "unix:"
  std::string local;                    // where it was accepted: the server's address
  std::shared_ptr<const tls_info> tls;  // null: not encrypted
  std::chrono::system_clock::time_point accepted;
  uint64_t streams_started = 0;    // calls that began, whatever became of them
  uint64_t streams_succeeded = 0;  // the whole answer was sent, also one that says no
  uint64_t streams_failed = 0;     // reset, or gone with the connection
  uint64_t messages_received = 0;  // counted when a handler ends
  uint64_t messages_sent = 0;
  uint64_t keepalives_sent = 0;
  uint32_t window = 0;                                // bytes: the receive window that streams have or, as their handlers read, grow to
  std::chrono::system_clock::time_point last_stream;  // began; the clock's beginning: there was none
};

}  // namespace warren::grpc
