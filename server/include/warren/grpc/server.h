// server: listens, serves the services added to it, drains and stops.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <warren/grpc/counters.h>
#include <warren/grpc/interceptor.h>
#include <warren/grpc/service.h>
#include <warren/grpc/tls.h>

namespace warren::grpc {

class transport;  // who carries the calls: an interface of the implementation's
struct core;
using transport_maker = std::shared_ptr<transport> (*)(std::shared_ptr<core> of);

// Limits. Each default's reason is in server/grpc/limits.h and server/http2/limits.h.
struct server_options {
  std::string listen = "127.0.0.1:50051";    // "ADDR:PORT", "[::1]:0", ":50051"; port 0 takes a free one. "unix:/run/x.sock", "unix:@name"
  bool reuse_port = false;                   // SO_REUSEPORT: several servers, of several processes too, share the port
  size_t max_receive_message = 4u << 20;     // bytes of one request message; over it: RESOURCE_EXHAUSTED before it is buffered
  size_t max_send_message = 64u << 20;       // bytes of one reply message; over it: RESOURCE_EXHAUSTED
  size_t max_buffered_requests = 64u << 20;  // bytes of requests not yet taken by a handler, per connection
  uint32_t max_concurrent_streams = 1000;    // calls at once per connection, handlers that outlive their stream included
  size_t max_header_list = 16u << 10;        // bytes, each field counted with 32 extra (RFC 9113 §6.5.2)
  uint32_t max_header_fields = 128;
  size_t send_buffer = 64u << 10;            // unsent bytes per stream above which writer::write parks
  size_t connection_send_buffer = 4u << 20;  // the same for a connection; above it each of its writers may have one message unsent
  // Receive windows: bytes that a client may send ahead, of a stream and of a connection. 0: 1 MiB and 4 MiB to begin with; as long as
  // handlers take what comes they grow with the path, up to max_window. If either is chosen both stay as they are. What streams of a
  // connection have above the beginning is bounded by half of max_buffered_requests.
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t max_window = 16u << 20;
  std::chrono::milliseconds preface_timeout{10'000};  // to get the preface and the first SETTINGS
  // A peer that takes no byte for so long is cut off; a call whose answer makes no progress for so long (the peer's window is shut) is
  // reset, at the latest after twice the time.
  std::chrono::milliseconds write_timeout{20'000};
  // A method that takes one message: from the request's headers to its last byte. Then the call ends with DEADLINE_EXCEEDED. (Looked at
  // every half of it or of write_timeout.) Zero: no limit.
  std::chrono::milliseconds request_timeout{60'000};

  // Connections. Zero means: no limit, never.
  uint32_t max_connections = 0;                      // above it a new one is closed at once
  std::chrono::milliseconds max_connection_idle{0};  // without a call for so long: told to go (GOAWAY)
  std::chrono::milliseconds max_connection_age{0};   // told to go after so long, give or take a tenth, so that they do not all end at once
  std::chrono::milliseconds max_connection_age_grace{0};  // after that, what still runs is cancelled
  std::chrono::milliseconds keepalive_time{7'200'000};    // nothing came for so long: the server pings …
  std::chrono::milliseconds keepalive_timeout{20'000};    // … and ends the connection if then nothing comes for so long
  std::chrono::milliseconds min_ping_interval{300'000};   // clients that ping more often are ended (too_many_pings); 0: let them
  bool permit_idle_pings = false;                         // also without a call open; otherwise every two hours

  // Calls. A limit of its own (server::limit) takes a method out of this one.
  std::chrono::milliseconds max_call_time{0};  // a call without a deadline, or with a later one, gets this one; zero: clients decide
  uint32_t max_concurrent_calls = 0;           // handlers running at once, on all connections; above it a call is answered UNAVAILABLE

  tls_options tls{};  // unless its files are named: none, clients connect in plain text

  // Who carries the calls. Null: warren's own HTTP/2. grpcpp::transport (<warren/grpcpp/transport.h>): gRPC C++'s server.
  transport_maker transport = nullptr;
};

// Thread safety: add() before start(), by one goroutine; the rest by any goroutine.
class server {
 public:
  explicit server(server_options options = {});
  // Stops as shutdown(0) does if it still runs. Call on a goroutine.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  // Serves s under s.full_name(). s must outlive the server. A second service of the same name, or a
  // call after start(), throws std::logic_error.
  void add(service& s);

  // Runs i around every handler; the first one added is the outermost. i must outlive the server. Throws std::logic_error after start().
  void intercept(interceptor& i);

  // At most so many handlers of the method "/package.Service/Method" run at once; above it a call is answered UNAVAILABLE. Throws
  // std::logic_error if no such method was added, calls is 0, or after start().
  void limit(std::string_view method, uint32_t calls);

  // Listens and accepts on goroutines of its own; returns at once. Throws warren::net_error (a std::system_error whose what() is
  // one line: cause, value, remedy) if it cannot listen, tls_error if it cannot use a file of options.tls.
  void start();

  // Reads the files of options.tls anew, for connections made from now on. Throws tls_error if they cannot be used: those of before stay in
  // use. Throws std::logic_error before start() and without TLS. Parks. On SIGHUP, say; they are also looked at every reload_interval.
  void reload_tls();

  // The address it listens on, with the real port: "127.0.0.1:50051", "unix:/run/x.sock". Empty before start().
  std::string address() const;

  // start() unless started, then parks until shutdown() has finished.
  void serve();

  // Stops accepting, tells every client to go elsewhere (GOAWAY in two steps, so that calls on their way are still served), waits
  // until what runs has finished, but no longer than grace; then cancels the contexts of what is left, answers it with UNAVAILABLE
  // and closes.
  // Returns when every connection is closed and every handler of this server has returned. A handler that ignores its
  // context keeps it waiting. Further calls wait for the first. Parks.
  void shutdown(std::chrono::nanoseconds grace);

  // The names of what was added, in that order: "helloworld.Greeter".
  std::vector<std::string> services() const;

  // The connections that are open, by id: at most `most` of those from `first_id` on. Costs the server a reference to each.
  std::vector<connection_info> connections(uint64_t first_id = 0, size_t most = SIZE_MAX) const;

  // A snapshot; costs the server nothing. Counters of different kinds may be a few calls apart from one another.
  server_counters counters() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace warren::grpc
