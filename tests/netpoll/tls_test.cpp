// TLS over TCP and unix sockets: what parks, what may run at once, and every way a connection ends.
#include "warren/tls.h"

#include <openssl/ssl.h>

#include <asio/buffers_iterator.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/ssl/stream.hpp>
#include <asio/streambuf.hpp>
#include <functional>
#include <vector>

#include "certificate.h"
#include "net_test.h"
#include "stackless_reader.h"
#include "warren/sync.h"
#include "warren/unix.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

const certificate& server_certificate() {
  static const certificate c = make_certificate("localhost");
  return c;
}

asio::ssl::context server_context() {
  asio::ssl::context ctx(asio::ssl::context::tls_server);
  ctx.use_certificate_chain(asio::buffer(server_certificate().pem));
  ctx.use_private_key(asio::buffer(server_certificate().key_pem), asio::ssl::context::pem);
  return ctx;
}

asio::ssl::context client_context() {
  asio::ssl::context ctx(asio::ssl::context::tls_client);
  ctx.add_certificate_authority(asio::buffer(server_certificate().pem));
  ctx.set_verify_mode(asio::ssl::verify_peer);
  return ctx;
}

struct tls_pair {
  tls_conn client, server;
};

// Both ends of one connection, shaken hands.
tls_pair shaken(asio::ssl::context& c, asio::ssl::context& s) {
  pair p = connected();
  tls_pair t;
  t.client = tls_conn(std::move(p.a), c);
  t.server = tls_conn(std::move(p.b), s);
  t.client.host_name("localhost");
  {
    task server([&] { t.server.handshake(tls_conn::server); });
    t.client.handshake(tls_conn::client);
  }
  return t;
}

tls_pair shaken() {
  asio::ssl::context c = client_context(), s = server_context();
  return shaken(c, s);
}

TEST(tls, handshake_and_a_line_each_way) {
  warren::run([] {
    tls_pair t = shaken();
    EXPECT_EQ(t.client.protocol(), "TLSv1.3");
    EXPECT_EQ(t.client.cipher(), t.server.cipher());
    EXPECT_EQ(t.client.alpn(), "");
    EXPECT_NE(t.client.peer_name(), "");
    EXPECT_EQ(t.client.write(asio::buffer("hello\n", 6)), 6u);
    std::string line;
    asio::read_until(t.server, asio::dynamic_buffer(line), '\n');
    EXPECT_EQ(line, "hello\n");
    EXPECT_EQ(asio::write(t.server, asio::buffer("world", 5)), 5u);
    char b[5];
    asio::read(t.client, asio::buffer(b));
    EXPECT_EQ(std::string(b, 5), "world");
  });
}

// Through the interface that a server uses, over the other carrier.
TEST(tls, over_a_unix_socket_as_a_stream) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    const std::string address = "unix:/tmp/warren_tls_test_" + std::to_string(::getpid());
    const std::unique_ptr<stream_listener> l = listen_stream(address);
    std::unique_ptr<stream> client = std::make_unique<tls_conn>(dial_stream(address), c);
    std::unique_ptr<stream> server = std::make_unique<tls_conn>(l->accept_stream(), s);
    static_cast<tls_conn&>(*client).host_name("localhost");
    {
      task shake([&] { static_cast<tls_conn&>(*server).handshake(tls_conn::server); });
      static_cast<tls_conn&>(*client).handshake(tls_conn::client);
    }
    client->write(asio::buffer("x", 1));
    char b[8];
    EXPECT_EQ(server->read_some(asio::buffer(b)), 1u);
    EXPECT_EQ(server->peer_name(), "unix:");
  });
}

TEST(tls, alpn_takes_the_servers_first_choice) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    alpn_server(s, {"h2", "http/1.1"}, true);
    alpn_client(c, {"http/1.1", "h2"});
    tls_pair t = shaken(c, s);
    EXPECT_EQ(t.client.alpn(), "h2");
    EXPECT_EQ(t.server.alpn(), "h2");
  });
}

TEST(tls, alpn_without_a_common_protocol) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    alpn_client(c, {"spdy"});
    alpn_server(s, {"h2"});
    EXPECT_EQ(shaken(c, s).server.alpn(), "");  // not required: goes on without
    alpn_server(s, {"h2"}, true);
    pair p = connected();
    tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
    client.host_name("localhost");
    error_code se, ce;
    {
      task shake([&] { server.handshake(tls_conn::server, se); });
      client.handshake(tls_conn::client, ce);
    }
    EXPECT_EQ(se.category(), asio::error::get_ssl_category()) << se.message();
    EXPECT_NE(ce.message().find("no application protocol"), std::string::npos) << ce.message();
  });
}

TEST(tls, a_certificate_for_another_name_is_refused) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
    client.host_name("example.org");
    error_code se, ce;
    {
      task shake([&] { server.handshake(tls_conn::server, se); });
      client.handshake(tls_conn::client, ce);
    }
    EXPECT_NE(ce.message().find("certificate verify failed"), std::string::npos) << ce.message();
  });
}

std::string pattern(size_t size, unsigned seed) {
  std::string s(size, '\0');
  for (char& c : s) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return s;
}

// One reads and one writes each end, all four at once, with 8 MiB each way: what asio::ssl::stream does not allow.
TEST(tls, both_directions_at_once) {
  warren::run([] {
    tls_pair t = shaken();
    const std::string up = pattern(8 << 20, 1), down = pattern(8 << 20, 2);
    std::string got_up(up.size(), 0), got_down(down.size(), 0);
    {
      task a([&] { t.client.write(asio::buffer(up)); });
      task b([&] { t.server.write(asio::buffer(down)); });
      task c([&] { asio::read(t.server, asio::buffer(got_up)); });
      task d([&] { asio::read(t.client, asio::buffer(got_down)); });
    }
    EXPECT_TRUE(got_up == up);
    EXPECT_TRUE(got_down == down);
  });
}

// Keys are updated by both sides while both write: the reader makes output that must not overtake the writer's.
TEST(tls, key_updates_in_the_middle) {
  warren::run([] {
    tls_pair t = shaken();
    const std::string data = pattern(64 << 10, 3);
    std::atomic<int> bad{0};
    {
      const auto writer = [&](tls_conn& c) {
        for (int i = 0; i < 50; ++i) c.write(asio::buffer(data));
      };
      const auto reader = [&](tls_conn& c) {
        std::string got(data.size(), 0);
        for (int i = 0; i < 50; ++i) {
          asio::read(c, asio::buffer(got));
          if (got != data) ++bad;
        }
      };
      SSL_key_update(static_cast<SSL*>(t.client.native_handle()), SSL_KEY_UPDATE_REQUESTED);
      SSL_key_update(static_cast<SSL*>(t.server.native_handle()), SSL_KEY_UPDATE_REQUESTED);
      task a([&] { writer(t.client); });
      task b([&] { writer(t.server); });
      task c([&] { reader(t.client); });
      task d([&] { reader(t.server); });
    }
    EXPECT_EQ(bad, 0);
  });
}

TEST(tls, many_small_pieces_and_buffers) {
  warren::run([] {
    tls_pair t = shaken();
    const std::string data = pattern(70000, 4);
    std::vector<asio::const_buffer> pieces;
    for (size_t at = 0; at < data.size();) {
      const size_t n = std::min<size_t>(at % 1501 + 1, data.size() - at);
      pieces.emplace_back(data.data() + at, n);
      at += n;
    }
    std::string got(data.size(), 0);
    {
      task w([&] { EXPECT_EQ(t.client.write(pieces), data.size()); });
      const std::array<asio::mutable_buffer, 3> into{asio::buffer(got.data(), 3), asio::buffer(got.data() + 3, 30000),
                                                     asio::buffer(got.data() + 30003, got.size() - 30003)};
      asio::read(t.server, into);
    }
    EXPECT_TRUE(got == data);
  });
}

// try_write_some that the socket cannot take: nothing of what it accepted is lost, though its caller never comes back.
TEST(tls, what_try_write_accepted_arrives) {
  warren::run([] {
    tls_pair t = shaken();
    const std::string data = pattern(32 << 20, 5);
    error_code ec;
    size_t sent = 0;
    while (!ec) sent += t.client.try_write_some(asio::buffer(data.data() + sent, data.size() - sent), ec);
    EXPECT_EQ(ec, asio::error::would_block);
    ASSERT_LT(sent, data.size());
    std::string got(sent, 0);
    asio::read(t.server, asio::buffer(got));
    EXPECT_TRUE(data.compare(0, sent, got) == 0);
    t.server.read_deadline(5ms);
    char more;
    t.server.read_some(asio::buffer(&more, 1), ec);
    EXPECT_EQ(ec, asio::error::timed_out) << "and not a byte more than it said";
  });
}

TEST(tls, deadlines_leave_the_connection_intact) {
  warren::run([] {
    tls_pair t = shaken();
    error_code ec;
    char b[16];
    t.server.read_deadline(1ms);
    EXPECT_EQ(t.server.read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_EQ(t.server.try_read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    t.server.read_deadline(std::chrono::nanoseconds::max());
    t.client.write(asio::buffer("still", 5));
    asio::read(t.server, asio::buffer(b, 5));
    EXPECT_EQ(std::string(b, 5), "still");

    // A write that times out: what it had accepted is sent before what comes after it.
    const std::string data = pattern(32 << 20, 6);
    t.client.write_deadline(1ms);
    const size_t accepted = t.client.write(asio::buffer(data), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    t.client.write_deadline(std::chrono::nanoseconds::max());
    std::string got(data.size(), 0);
    {
      task w([&] { t.client.write(asio::buffer(data.data() + accepted, data.size() - accepted)); });
      asio::read(t.server, asio::buffer(got));
    }
    EXPECT_TRUE(got == data);
  });
}

// The first attempt meets the deadline with its first read, before it could send anything; nothing of that is left for the second.
TEST(tls, a_handshake_whose_deadline_had_passed_when_it_began_goes_on) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
    client.host_name("localhost");
    error_code ec;
    client.deadline(1ns);
    client.handshake(tls_conn::client, ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    client.deadline(std::chrono::nanoseconds::max());
    task shake([&] {
      error_code theirs;
      server.handshake(tls_conn::server, theirs);
    });
    client.handshake(tls_conn::client, ec);
    EXPECT_FALSE(ec) << ec.message();
    if (ec) client.close();  // the server does not wait for ever
  });
}

TEST(tls, a_handshake_that_timed_out_goes_on) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
    client.host_name("localhost");
    error_code ec;
    client.deadline(1ms);
    client.handshake(tls_conn::client, ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    client.deadline(std::chrono::nanoseconds::max());
    {
      task shake([&] { server.handshake(tls_conn::server); });
      client.handshake(tls_conn::client);
    }
    client.write(asio::buffer("x", 1));
    char b;
    EXPECT_EQ(server.read_some(asio::buffer(&b, 1)), 1u);
  });
}

TEST(tls, half_close) {
  warren::run([] {
    tls_pair t = shaken();
    t.client.write(asio::buffer("request", 7));
    t.client.shutdown(asio::socket_base::shutdown_send);
    error_code ec;
    t.client.write(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, asio::error::broken_pipe);
    std::string got;
    asio::read(t.server, asio::dynamic_buffer(got), ec);
    EXPECT_EQ(ec, asio::error::eof);
    EXPECT_EQ(got, "request");
    t.server.write(asio::buffer("answer", 6));
    char b[6];
    asio::read(t.client, asio::buffer(b));
    EXPECT_EQ(std::string(b, 6), "answer");
    t.server.close();
    EXPECT_EQ(t.client.read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
  });
}

// The carrier ends without TLS's goodbye: not an end that may be believed.
TEST(tls, a_peer_that_vanishes_is_no_end) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    const int raw = ::dup(p.b.native_handle());
    tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
    client.host_name("localhost");
    {
      task shake([&] { server.handshake(tls_conn::server); });
      client.handshake(tls_conn::client);
    }
    error_code ec;
    {
      char b;
      task reader([&] { client.read_some(asio::buffer(&b, 1), ec); });
      until_parked(1);
      ::shutdown(raw, SHUT_WR);
    }
    EXPECT_EQ(ec, asio::ssl::error::stream_truncated) << ec.message();
    ::close(raw);
  });
}

TEST(tls, bytes_that_are_not_tls) {
  warren::run([] {
    asio::ssl::context s = server_context();
    pair p = connected();
    tls_conn server(std::move(p.b), s);
    p.a.write(asio::buffer("GET / HTTP/1.1\r\n\r\n", 18));
    error_code ec;
    server.handshake(tls_conn::server, ec);
    EXPECT_EQ(ec.category(), asio::error::get_ssl_category());
    EXPECT_NE(ec.message().find("http request"), std::string::npos) << ec.message();
    server.close();
    char b[64];
    while (!ec || ec.category() == asio::error::get_ssl_category()) p.a.read_some(asio::buffer(b), ec);
    EXPECT_TRUE(ec == asio::error::eof || ec == asio::error::connection_reset) << ec.message();
  });
}

TEST(tls, close_wakes_reader_and_writer) {
  warren::run([] {
    tls_pair t = shaken();
    const std::string big = pattern(64 << 20, 7);
    error_code re, we;
    {
      char b;
      task reader([&] { t.client.read_some(asio::buffer(&b, 1), re); });
      task writer([&] { t.client.write(asio::buffer(big), we); });
      until_parked(2);
      t.client.close();
    }
    EXPECT_EQ(re, asio::error::operation_aborted);
    EXPECT_EQ(we, asio::error::operation_aborted);
    char b;
    t.client.read_some(asio::buffer(&b, 1), re);
    EXPECT_EQ(re, asio::error::bad_descriptor);
    t.client.write(asio::buffer(&b, 1), re);
    EXPECT_EQ(re, asio::error::bad_descriptor);
    t.client.close(re);
    EXPECT_EQ(re, asio::error::bad_descriptor);
  });
}

// The loop that lends a buffer only while there is data must neither spin on half a record nor miss a record that came with the last one.
TEST(tls, wait_readable_and_records) {
  warren::run([] {
    tls_pair t = shaken();
    constexpr int kRecords = 200;
    int records = 0, waits = 0;
    {
      task reader([&] {
        error_code ec;
        char b[100];
        while (records < kRecords && t.server.wait_readable(ec)) {
          ++waits;
          const size_t n = t.server.try_read_some(asio::buffer(b), ec);
          if (ec == asio::error::would_block) continue;
          if (ec) break;
          records += n == 100 && b[0] == 'r';
        }
      });
      std::string batch(100, 'r');
      for (int i = 0; i < kRecords; ++i) {
        t.client.write(asio::buffer(batch));
        if (i % 7 == 0) yield();
      }
    }
    EXPECT_EQ(records, kRecords);
    EXPECT_LT(waits, 4 * kRecords);
  });
}

// The same without a stack to wait on.
TEST(tls, a_reader_without_a_stack) {
  warren::run([] {
    tls_pair t = shaken();
    stackless_reader r(t.server);
    r.begin();
    std::string sent;
    for (int i = 0; i < 300; ++i) {
      const std::string m(static_cast<size_t>(1 + i * 7 % 400), static_cast<char>(i));
      t.client.write(asio::buffer(m));
      sent += m;
      if (i % 3 == 0) r.wait_for_bytes(sent.size());
    }
    t.client.shutdown(asio::socket_base::shutdown_send);
    r.wait_for_end();
    EXPECT_TRUE(r.text() == sent);
    EXPECT_EQ(r.error(), asio::error::eof);
    EXPECT_GT(r.goroutines(), 50);
  });
}

TEST(tls, close_starts_a_reader_without_a_stack) {
  warren::run([] {
    tls_pair t = shaken();
    stackless_reader r(t.server);
    r.begin();
    t.server.close();
    r.wait_for_end();
    EXPECT_EQ(r.error(), asio::error::bad_descriptor);
  });
}

TEST(tls, wait_readable_parks_on_half_a_record) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair front = connected(), back = connected();
    // In the middle somebody passes on what he gets, but the last bytes later.
    tls_conn client(std::move(front.a), c), server(std::move(back.b), s);
    client.host_name("localhost");
    {
      task up([&] {
        char b[4096];
        error_code ec;
        for (size_t n; (n = front.b.read_some(asio::buffer(b), ec)) != 0;) back.a.write(asio::buffer(b, n), ec);
      });
      task down([&] {
        char b[4096];
        error_code ec;
        for (size_t n; (n = back.a.read_some(asio::buffer(b), ec)) != 0;) front.b.write(asio::buffer(b, n), ec);
      });
      {
        task shake([&] { server.handshake(tls_conn::server); });
        client.handshake(tls_conn::client);
      }
      client.write(asio::buffer("first", 5));
      char b[5];
      asio::read(server, asio::buffer(b));
      front.b.shutdown(asio::socket_base::shutdown_receive);  // ends `up`
      up.join();
      back.a.shutdown(asio::socket_base::shutdown_receive);
      down.join();
    }
    // A record's head and nothing more.
    back.a.write(asio::buffer("\x17\x03\x03\x00\x20", 5));
    error_code ec;
    ASSERT_TRUE(server.wait_readable(ec));
    char b[5];
    EXPECT_EQ(server.try_read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::would_block);
    {
      bool readable = true;
      task waiter([&] { readable = server.wait_readable(ec); });
      until_parked(1);
      server.close();
      waiter.join();
      EXPECT_FALSE(readable);
      EXPECT_EQ(ec, asio::error::operation_aborted);
    }
  });
}

TEST(tls, objects_that_were_never_open) {
  warren::run([] {
    tls_conn c;
    error_code ec;
    char b;
    EXPECT_FALSE(c.is_open());
    c.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    c.write(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    c.handshake(tls_conn::client, ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    c.shutdown(asio::socket_base::shutdown_send, ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_FALSE(c.wait_readable(ec));
    c.deadline(1s);
    c.close();
    EXPECT_EQ(c.native_handle(), nullptr);
  });
}

TEST(tls, reading_and_writing_before_the_handshake_is_an_error) {
  warren::run([] {
    asio::ssl::context c = client_context();
    pair p = connected();
    tls_conn client(std::move(p.a), c);
    error_code ec;
    char b = 0;
    client.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec.category(), asio::error::get_ssl_category()) << ec.message();
    client.write(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec.category(), asio::error::get_ssl_category()) << ec.message();
  });
}

// A hundred connections, ended at any moment by the other side or by a third goroutine.
TEST(tls, ends_at_random_moments) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    wait_group wg;
    for (int i = 0; i < 100; ++i) {
      wg.go([&, i] {
        pair p = connected();
        tls_conn client(std::move(p.a), c), server(std::move(p.b), s);
        client.host_name("localhost");
        const auto talk = [](tls_conn& t, tls_conn::role r) {
          error_code ec;
          t.handshake(r, ec);
          char b[3000] = {};
          while (!ec) {
            t.write(asio::buffer(b), ec);
            if (!ec) asio::read(t, asio::buffer(b), ec);
          }
        };
        task a([&] { talk(client, tls_conn::client); });
        task b([&] { talk(server, tls_conn::server); });
        for (int n = 0; n < i * 3; ++n) yield();
        (i % 2 == 0 ? client : server).close();
      });
    }
    wg.wait();
  });
}

// TLS over TLS: as to a server behind a proxy that is spoken to by TLS.
tls_pair shaken_twice() {
  asio::ssl::context c = client_context(), s = server_context();
  tls_pair outer = shaken(c, s), t;
  t.client = tls_conn(std::make_unique<tls_conn>(std::move(outer.client)), c);
  t.server = tls_conn(std::make_unique<tls_conn>(std::move(outer.server)), s);
  t.client.host_name("localhost");
  {
    task server([&] { t.server.handshake(tls_conn::server); });
    t.client.handshake(tls_conn::client);
  }
  return t;
}

TEST(tls_over_tls, both_directions_at_once) {
  warren::run([] {
    tls_pair t = shaken_twice();
    const std::string up = pattern(2 << 20, 11), down = pattern(2 << 20, 12);
    std::string got_up(up.size(), 0), got_down(down.size(), 0);
    {
      task a([&] { t.client.write(asio::buffer(up)); });
      task b([&] { t.server.write(asio::buffer(down)); });
      task c([&] { asio::read(t.server, asio::buffer(got_up)); });
      task d([&] { asio::read(t.client, asio::buffer(got_down)); });
    }
    EXPECT_TRUE(got_up == up);
    EXPECT_TRUE(got_down == down);
    error_code ec;
    t.client.shutdown(asio::socket_base::shutdown_send);
    char b;
    t.server.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::eof);
    t.server.write(asio::buffer("answer", 6));
    char answer[6];
    asio::read(t.client, asio::buffer(answer));
    EXPECT_EQ(std::string(answer, 6), "answer");
    t.server.close();
    t.client.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::eof);
  });
}

TEST(tls_over_tls, deadlines_records_and_close) {
  warren::run([] {
    tls_pair t = shaken_twice();
    error_code ec;
    char b[100];
    t.server.read_deadline(1ms);
    EXPECT_EQ(t.server.read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    t.server.read_deadline(std::chrono::nanoseconds::max());
    EXPECT_EQ(t.server.try_read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::would_block);

    constexpr int kRecords = 200;
    int records = 0;
    {
      task reader([&] {
        error_code failure;
        while (records < kRecords && t.server.wait_readable(failure)) {
          const size_t n = t.server.try_read_some(asio::buffer(b), failure);
          if (failure == asio::error::would_block) continue;
          if (failure) break;
          records += n == 100;
        }
      });
      const std::string batch(100, 'r');
      for (int i = 0; i < kRecords; ++i) t.client.write(asio::buffer(batch));
    }
    EXPECT_EQ(records, kRecords);
    {
      task reader([&] { t.server.read_some(asio::buffer(b), ec); });
      until_parked(1);
      t.server.close();
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
  });
}

TEST(tls_over_tls, an_outer_connection_that_is_cut_is_no_end) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    const int raw = ::dup(p.b.native_handle());
    tls_conn outer_client(std::move(p.a), c), outer_server(std::move(p.b), s);
    outer_client.host_name("localhost");
    {
      task shake([&] { outer_server.handshake(tls_conn::server); });
      outer_client.handshake(tls_conn::client);
    }
    tls_conn client(std::make_unique<tls_conn>(std::move(outer_client)), c), server(std::make_unique<tls_conn>(std::move(outer_server)), s);
    client.host_name("localhost");
    {
      task shake([&] { server.handshake(tls_conn::server); });
      client.handshake(tls_conn::client);
    }
    ::shutdown(raw, SHUT_WR);
    ::close(raw);
    error_code ec;
    char b;
    client.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::ssl::error::stream_truncated) << ec.message();
  });
}

// A carrier of somebody else's whose try_read_some takes its time: here until another goroutine has written on the same connection, for
// which it must not be called inside of OpenSSL.
class thoughtful final : public stream {
 public:
  explicit thoughtful(tcp_conn c) : to_(std::move(c)) {}
  ~thoughtful() override {
    if (destroyed != nullptr) *destroyed = true;
  }
  std::function<void()> before_reading, before_writing, after_waiting_to_write;
  std::atomic<bool>* destroyed = nullptr;

  bool is_open() const noexcept override { return to_.is_open(); }
  bool wait_readable(error_code& ec) override { return to_.wait_readable(ec); }
  void shutdown(asio::socket_base::shutdown_type what, error_code& ec) override { to_.shutdown(what, ec); }
  void close(error_code& ec) noexcept override { to_.close(ec); }
  std::string peer_name() const override { return to_.peer_name(); }

 protected:
  size_t read_pieces(const iovec* v, int, size_t, bool park, error_code& ec) override {
    if (before_reading) std::exchange(before_reading, nullptr)();
    const asio::mutable_buffer b(v->iov_base, v->iov_len);
    return park ? to_.read_some(b, ec) : to_.try_read_some(b, ec);
  }
  size_t write_pieces(iovec* v, int, size_t, write_mode mode, error_code& ec) override {
    if (before_writing) before_writing();
    const asio::const_buffer b(v->iov_base, v->iov_len);
    if (mode == write_mode::attempt) return to_.try_write_some(b, ec);
    const size_t n = mode == write_mode::all ? to_.write(b, ec) : to_.write_some(b, ec);
    if (after_waiting_to_write) after_waiting_to_write();
    return n;
  }
  void set_deadline(int64_t, side) override {}

 private:
  tcp_conn to_;
};

// Two ends that have shaken hands, the client's over such a carrier.
struct over_thoughtful {
  asio::ssl::context client_side = client_context(), server_side = server_context();
  tls_conn client, server;
  thoughtful* between = nullptr;
  int server_socket = -1;

  over_thoughtful() {
    pair p = connected();
    server_socket = p.b.native_handle();
    auto carrier = std::make_unique<thoughtful>(std::move(p.a));
    between = carrier.get();
    client = tls_conn(std::unique_ptr<stream>(std::move(carrier)), client_side);
    server = tls_conn(std::move(p.b), server_side);
    client.host_name("localhost");
    task shake([this] { server.handshake(tls_conn::server); });
    client.handshake(tls_conn::client);
  }
};

TEST(tls_over_anything, a_carrier_that_parks) {
  warren::run([] {
    over_thoughtful ends;
    tls_conn &client = ends.client, &server = ends.server;
    thoughtful* const between = ends.between;
    std::atomic<bool> wrote{false};
    std::atomic<bool> reading{false};
    between->before_reading = [&] {
      reading = true;
      while (!wrote) yield();
    };
    {
      task writer([&] {
        while (!reading) yield();
        client.write(asio::buffer("question", 8));
        wrote = true;
      });
      task answerer([&] {
        char b[8];
        asio::read(server, asio::buffer(b));
        server.write(asio::buffer("answer", 6));
      });
      char b[6];
      asio::read(client, asio::buffer(b));
      EXPECT_EQ(std::string(b, 6), "answer");
    }
  });
}

// One write or read is several of the carrier's. A close between two of them ends an operation that had begun, whatever the carrier calls
// it.
TEST(tls_over_anything, a_close_in_the_midst_of_an_operation) {
  warren::run([] {
    over_thoughtful ends;
    tls_conn &client = ends.client, &server = ends.server;
    thoughtful* const between = ends.between;
    int writes = 0;
    between->before_writing = [&] {
      if (++writes == 3) client.close();
    };
    const std::string data = pattern(1 << 20, 13);
    {
      task reader([&] {
        std::string got(data.size(), 0);
        error_code ignored;
        asio::read(server, asio::buffer(got), ignored);
      });
      error_code ec;
      EXPECT_LT(client.write(asio::buffer(data), ec), data.size());
      EXPECT_EQ(ec, asio::error::operation_aborted) << ec.message();
      client.write(asio::buffer(data), ec);
      EXPECT_EQ(ec, asio::error::bad_descriptor) << ec.message();
    }
  });
}

// What try_write_some could not get rid of a goroutine sends that nobody knows of. It has left when close returns, with all that it held.
TEST(tls_over_anything, a_close_waits_for_who_sends_what_is_left) {
  warren::run([] {
    over_thoughtful ends;
    tls_conn& client = ends.client;
    thoughtful* const between = ends.between;
    std::atomic<bool> destroyed{false};
    between->destroyed = &destroyed;
    std::atomic<bool> aborted{false}, may_leave{false};
    between->after_waiting_to_write = [&] {
      aborted = true;
      while (!may_leave) yield();
    };
    const std::string data = pattern(1 << 16, 17);
    error_code ec;
    while (!ec) client.try_write_some(asio::buffer(data), ec);  // the server does not read
    EXPECT_EQ(ec, asio::error::would_block) << ec.message();
    {
      task closing([&] { client.close(); });
      while (!aborted) yield();
      for (int i = 0; i < 1000; i++) yield();
      EXPECT_FALSE(closing.finished());
      may_leave = true;
    }
    client = tls_conn();
    EXPECT_TRUE(destroyed);
  });
}

// A carrier that finds its connection of no use may close what is above it, whoever writes: the goroutine that sends what is left …
TEST(tls_over_anything, a_carrier_closes_from_within_the_write_of_what_is_left) {
  warren::run([] {
    over_thoughtful ends;
    tls_conn &client = ends.client, &server = ends.server;
    thoughtful* const between = ends.between;
    std::atomic<bool> closed{false};
    between->after_waiting_to_write = [&] {
      if (!closed) client.close();
      closed = true;
    };
    const std::string data = pattern(1 << 16, 17);
    error_code ec;
    while (!ec) client.try_write_some(asio::buffer(data), ec);
    EXPECT_EQ(ec, asio::error::would_block) << ec.message();
    {
      task reading([&] {
        std::string got(1 << 22, 0);
        error_code ignored;
        asio::read(server, asio::buffer(got), ignored);
      });
    }
    while (!closed) yield();
    EXPECT_FALSE(client.is_open());
  });
}

// … or a writer, for whom that goroutine waits.
TEST(tls_over_anything, a_carrier_closes_from_within_a_write_that_others_wait_for) {
  warren::run([] {
    over_thoughtful ends;
    tls_conn& client = ends.client;
    thoughtful* const between = ends.between;
    std::atomic<bool> destroyed{false}, inside{false}, alerted{false};
    between->destroyed = &destroyed;
    between->before_writing = [&] {
      if (inside.exchange(true)) return;
      while (!alerted) yield();
      for (int i = 0; i < 1000; i++) yield();  // who is to send the alert comes to wait
      client.close();
    };
    {
      task writer([&] {
        error_code ec;
        client.write(asio::buffer("x", 1), ec);
      });
      while (!inside) yield();
      // A record that is none: the reader has an alert to send, and finds the writer inside of the carrier.
      const std::string record = "\x17\3\3" + std::string(1, '\0') + "\x20" + std::string(32, 'x');
      EXPECT_EQ(::write(ends.server_socket, record.data(), record.size()), static_cast<ssize_t>(record.size()));
      error_code ec;
      char b;
      client.read_some(asio::buffer(&b, 1), ec);
      EXPECT_EQ(ec.category(), asio::error::get_ssl_category()) << ec.message();
      alerted = true;
    }
    EXPECT_FALSE(client.is_open());
    client = tls_conn();
    while (!destroyed) yield();  // by whoever leaves last
  });
}

// Asio's own TLS stream on a tcp_conn: parks as well (one goroutine at a time).
TEST(tls, asio_ssl_stream_over_a_tcp_conn) {
  warren::run([] {
    asio::ssl::context c = client_context(), s = server_context();
    pair p = connected();
    asio::ssl::stream<tcp_conn> client(std::move(p.a), c), server(std::move(p.b), s);
    const std::string data = pattern(1 << 20, 8);
    std::string got(data.size(), 0);
    {
      task serve([&] {
        server.handshake(asio::ssl::stream_base::server);
        asio::read(server, asio::buffer(got));
        error_code ec;
        server.shutdown(ec);
      });
      client.handshake(asio::ssl::stream_base::client);
      asio::write(client, asio::buffer(data));
      error_code ec;
      char b;
      client.read_some(asio::buffer(&b, 1), ec);
      EXPECT_EQ(ec, asio::error::eof) << ec.message();
      client.shutdown(ec);
    }
    EXPECT_TRUE(got == data);
  });
}

}  // namespace
}  // namespace warren::net_test
