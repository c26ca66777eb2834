// A connection apart from any server: which of its goroutines it waits for before it says that it has ended.
#include "server/http2/connection.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include <warren/go.h>

#include "server/http2/event.h"

namespace warren::http2 {
namespace {

// What becomes of a stream, in the order in which it does; the test lets the peer end and the goodbye return.
struct course {
  event goodbye_begun;
  event peer_ended;
  event closed;
  event goodbye_may_return;
  event destroyed;
};

// A stream that takes whatever is written and has nothing to read. Its goodbye waits for room, as that of TLS does when the peer does not
// read, and returns a while after the stream was closed.
class parting_stream final : public warren::stream {
 public:
  explicit parting_stream(course& c) : course_(c) {}
  ~parting_stream() override { course_.destroyed.set(); }
  bool is_open() const noexcept override { return open_.load(); }
  bool wait_readable(asio::error_code& ec) override {
    course_.peer_ended.wait();
    ec.clear();
    return true;
  }
  void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) override {
    EXPECT_EQ(what, asio::socket_base::shutdown_send);
    course_.goodbye_begun.set();
    course_.goodbye_may_return.wait();
    ec = asio::error::operation_aborted;
  }
  void close(asio::error_code& ec) noexcept override {
    ec.clear();
    if (open_.exchange(false)) course_.closed.set();
  }
  std::string peer_name() const override { return "parting"; }

 private:
  size_t read_pieces(const iovec*, int, size_t, bool, asio::error_code& ec) override {
    ec = asio::error::eof;
    return 0;
  }
  size_t write_pieces(iovec*, int, size_t bytes, write_mode, asio::error_code& ec) override {
    ec.clear();
    return bytes;
  }
  void set_deadline(int64_t, side) override {}

  course& course_;
  std::atomic<bool> open_{true};
};

// A host of one connection, without calls.
class lone_host final : public connection::host {
 public:
  ~lone_host() {
    while (spare* const s = spares_.take()) connection::destroy(s, *this);
  }
  stream* make_stream() override { return nullptr; }
  void destroy_stream(stream*) override {}
  void connection_ended(connection& c) override {
    over = true;
    c.unpin();
    ended.set();
  }
  transport_counters& counters() override { return counters_; }
  block_pool& blocks() override { return blocks_; }
  spare_pool& spares() override { return spares_; }
  alarms& clock() override { return clock_; }

  std::atomic<bool> over{false};
  event ended;

 private:
  transport_counters counters_;
  block_pool blocks_;
  spare_pool spares_;
  alarms clock_;
};

// Whoever owns the stream has closed it, and for a thousand turns the goodbye has not come back. A connection that ended in this time would
// leave a goroutine behind that holds the stream, after a server that says it is down.
TEST(connection, the_goodbye_of_tls_belongs_to_it) {
  warren::run([] {
    course c;
    lone_host h;
    h.clock().start(nullptr);
    peer_facts peer;
    peer.address = "parting";
    peer.tls = std::make_shared<grpc::tls_info>();
    auto* const conn = new connection(std::make_unique<parting_stream>(c), std::move(peer), h, connection_options{}, 0);
    conn->start();
    conn->control(connection::kBeginDrain);
    c.goodbye_begun.wait();
    c.peer_ended.set();
    c.closed.wait();
    for (int i = 0; i < 1000; i++) yield();
    EXPECT_FALSE(h.over);
    c.goodbye_may_return.set();
    h.ended.wait();
    c.destroyed.wait();
    h.clock().stop();
  });
}

}  // namespace
}  // namespace warren::http2
