// Connections of the admin port.
//
// One goroutine accepts; one serves each connection in a loop of read, parse, handle, write. stop() must end goroutines that are parked in
// a read without cutting off an answer that is being written. So every wait for input is armed under the lock, where `stopping` is looked
// at, and stop() sets `stopping` and moves all read deadlines to now under the same lock: a connection either sees `stopping`, or is
// woken by the deadline. Write deadlines are left alone. (Closing the sockets instead would cut answers; a channel beside
// each read would need a select over sockets.)
#include <array>
#include <cstdio>
#include <ctime>
#include <list>
#include <mutex>
#include <utility>

#include <warren/admin.h>
#include <warren/go.h>
#include <warren/net.h>
#include <warren/sync.h>

#include "server/admin/request.h"

namespace warren::admin {
namespace {

struct route {
  std::string about;
  handler h;
};

std::string date_now() {
  const std::time_t now = std::time(nullptr);
  std::tm t{};
  gmtime_r(&now, &t);
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900,
                t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

std::string head_of(const response& r, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(r.status) + " ";
  head += reason_of(r.status);
  head += "\r\nDate: " + date_now();
  head += "\r\nContent-Type: " + r.content_type;
  head += "\r\nContent-Length: " + std::to_string(r.body.size());
  head += "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
  if (r.status == 405 || r.status == 501) head += "Allow: GET\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  head += "\r\n";
  return head;
}

response plain(int status, std::string_view remedy = {}) {
  response r;
  r.status = status;
  r.body = std::to_string(status) + " " + std::string(reason_of(status));
  if (!remedy.empty()) r.body += ": " + std::string(remedy);
  r.body += "\n";
  return r;
}

std::string_view remedy_for(int status) {
  switch (status) {
    case 405:
    case 501: return "this port answers GET only";
    case 505: return "this is the admin port and speaks HTTP/1.1; gRPC is served on another port";
    default: return {};
  }
}

}  // namespace

struct server::state {
  explicit state(limits l) : limit(l) {}

  const limits limit;
  std::map<std::string, route, std::less<>> routes;  // written before start() only
  tcp_listener listener;
  std::string address;
  wait_group running;  // the accepting goroutine and one per connection

  mutable mutex m;            // guards what follows
  bool stopping = false;      // nobody begins to wait for input any more
  size_t connections = 0;     // goroutines that serve one, started or about to
  std::list<tcp_conn*> open;  // on their goroutines' stacks; a goroutine removes its own before it ends
  std::map<int, uint64_t> responses;
  uint64_t refused = 0;

  void accept_loop(const std::shared_ptr<state>& self);
  void serve(tcp_conn& c);
  bool wait_no_longer_than(tcp_conn& c, std::chrono::nanoseconds d);
  response answer(const request& r);
  response index() const;
  bool write(tcp_conn& c, const response& r, bool keep_alive);
  void close_gently(tcp_conn& c);
};

// Arms the read deadline. False: the server stops, do not wait.
bool server::state::wait_no_longer_than(tcp_conn& c, std::chrono::nanoseconds d) {
  std::lock_guard lock(m);
  if (stopping) return false;
  c.read_deadline(d);
  return true;
}

void server::state::accept_loop(const std::shared_ptr<state>& self) {
  for (;;) {
    asio::error_code ec;
    tcp_conn c = listener.accept(ec);
    if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) return;
    if (ec) continue;  // out of descriptors, say: accept has paused already
    {
      std::lock_guard lock(m);
      if (stopping) return;
      if (connections >= limit.connections) {
        refused++;
        // Without waiting: a short answer fits into an empty socket's buffer.
        const response r = plain(503, "too many connections to the admin port");
        const std::string text = head_of(r, false) + r.body;
        c.try_write_some(asio::buffer(text), ec);
        continue;
      }
      connections++;
    }
    running.add(1);  // never from 0: the accepting goroutine counts
    go([self, c = std::move(c)]() mutable {
      std::list<tcp_conn*>::iterator place;
      {
        std::lock_guard lock(self->m);
        place = self->open.insert(self->open.end(), &c);
      }
      self->serve(c);
      {
        std::lock_guard lock(self->m);
        self->open.erase(place);
        self->connections--;
      }
      c.close();
      self->running.done();
    });
  }
}

void server::state::serve(tcp_conn& c) {
  std::string bytes;  // read and not yet consumed
  bool first = true;
  for (;;) {
    request r;
    const parse_result p = parse_request(bytes, &r);
    if (p.what == parse_result::kind::need_more) {
      // The first byte of a request restarts the clock; further bytes do not, so a slow sender gains nothing by sending slowly.
      if (bytes.empty() && !wait_no_longer_than(c, first ? limit.head_timeout : limit.idle_timeout)) return;
      const bool begins = bytes.empty();
      char chunk[2048];
      asio::error_code ec;
      const size_t n = c.read_some(asio::buffer(chunk), ec);
      if (ec == asio::error::timed_out && !bytes.empty()) {
        if (write(c, plain(408), false)) close_gently(c);
        return;
      }
      if (ec) return;
      bytes.append(chunk, n);
      if (begins && !first && !wait_no_longer_than(c, limit.head_timeout)) return;
      first = false;
      continue;
    }
    if (p.what == parse_result::kind::refused) {
      if (write(c, plain(p.status, remedy_for(p.status)), false)) close_gently(c);
      return;
    }
    bool keep_alive = p.keep_alive;
    const response a = answer(r);
    {
      std::lock_guard lock(m);
      if (stopping) keep_alive = false;
    }
    if (!write(c, a, keep_alive)) return;
    if (!keep_alive) {
      close_gently(c);
      return;
    }
    bytes.erase(0, p.consumed);
    first = false;
    if (!bytes.empty() && !wait_no_longer_than(c, limit.head_timeout)) return;
  }
}

response server::state::answer(const request& r) {
  const auto found = routes.find(r.path);
  if (found == routes.end()) return r.path == "/" ? index() : plain(404, "see / for what there is");
  try {
    return found->second.h(r);
  } catch (...) {
    return plain(500);  // its text might tell a stranger too much
  }
}

response server::state::index() const {
  response r;
  for (const auto& [path, route] : routes) {
    if (!route.about.empty()) r.body += path + "  " + route.about + "\n";
  }
  return r;
}

// True when everything left.
bool server::state::write(tcp_conn& c, const response& r, bool keep_alive) {
  {
    std::lock_guard lock(m);
    responses[r.status]++;
  }
  const std::string head = head_of(r, keep_alive);
  c.write_deadline(limit.write_timeout);
  asio::error_code ec;
  const std::array<asio::const_buffer, 2> pieces{asio::buffer(head), asio::buffer(r.body)};
  c.write(pieces, ec);
  return !ec;
}

// Closing a socket with unread input resets the connection, and the reset may overtake the answer. So: say that we are done, and
// read on for a moment.
void server::state::close_gently(tcp_conn& c) {
  asio::error_code ec;
  c.shutdown(asio::socket_base::shutdown_send, ec);
  if (ec || !wait_no_longer_than(c, std::chrono::seconds(1))) return;
  char chunk[2048];
  for (size_t left = 64 * 1024; left > 0;) {
    const size_t n = c.read_some(asio::buffer(chunk), ec);
    if (ec) return;
    left -= std::min(left, n);
  }
}

server::server(limits l) : state_(std::make_shared<state>(l)) {}
server::~server() { stop(); }

void server::handle(std::string path, std::string about, handler h) {
  state_->routes.insert_or_assign(std::move(path), route{std::move(about), std::move(h)});
}

void server::start(std::string_view address) {
  state& s = *state_;
  s.listener = listen(address);
  s.address = to_string(s.listener.local_endpoint());
  s.running.add(1);
  go([self = state_] {
    self->accept_loop(self);
    self->running.done();
  });
}

std::string server::address() const { return state_->address; }

void server::stop() {
  state& s = *state_;
  {
    std::lock_guard lock(s.m);
    if (s.stopping) return;
    s.stopping = true;
    for (tcp_conn* c : s.open) c->read_deadline(std::chrono::nanoseconds(0));
  }
  s.listener.close();
  s.running.wait();
}

figures server::read_figures() const {
  std::lock_guard lock(state_->m);
  return {state_->responses, state_->connections, state_->refused};
}

}  // namespace warren::admin
