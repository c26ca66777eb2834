// The admin port: a small HTTP/1.1 server on goroutines, for scrapes, probes and people.
//
//   warren::admin::server a;
//   a.handle("/healthz", "liveness", [](const warren::admin::request&) { return warren::admin::response{.body = "ok\n"}; });
//   a.start("127.0.0.1:9090");
//
// GET without a body is all it takes; anything else gets the status HTTP names for it. It is meant for a port that only operators
// reach, and yet assumes nothing about who connects: see limits. It shares no limit with the gRPC port, so a server that is
// full of calls can still be scraped. <warren/metrics.h> has what goes under /metrics.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace warren::admin {

// The views are valid while the handler runs.
struct request {
  std::string_view path;   // begins with '/', before any '?'; as sent, not decoded
  std::string_view query;  // after the '?', or empty
};

struct response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Runs on the connection's goroutine and may park. An exception becomes a 500 without its text.
using handler = std::function<response(const request&)>;

struct limits {
  // Connections at once; one more is answered 503 and closed. Prometheus keeps one, a browser up to six, and there may be a few of each.
  size_t connections = 64;
  // From a request's first byte (or the connection's begin) to the end of its head: cuts off slow senders.
  std::chrono::milliseconds head_timeout{10'000};
  // Between two requests. Above the usual scrape interval of a minute, so that Prometheus can keep its connection.
  std::chrono::milliseconds idle_timeout{120'000};
  // To take the whole answer.
  std::chrono::milliseconds write_timeout{10'000};
};

// What the port has answered, and what goes on now.
struct figures {
  std::map<int, uint64_t> responses;  // by status
  uint64_t connections_open = 0;
  uint64_t connections_refused = 0;  // over the limit
};

// Thread safety: handle() before start(), by one goroutine; start() and stop() by one goroutine; the rest by any.
class server {
 public:
  explicit server(limits l = {});
  // Calls stop(). On a goroutine.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  // Answers GET path with h. `about` is the line that the index page at "/" shows; empty: the index does not show it.
  void handle(std::string path, std::string about, handler h);

  // Listens on "ADDR:PORT" and accepts on a goroutine of its own. Throws warren::net_error if it cannot listen. Once.
  void start(std::string_view address);

  // "127.0.0.1:9090", with the real port. Empty before start().
  std::string address() const;

  // Stops accepting, closes what waits, lets answers in progress finish (write_timeout at most). Parks until no connection is left.
  // A second call, or one without start(), does nothing.
  void stop();

  figures read_figures() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace warren::admin
