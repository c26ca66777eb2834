// tcp_conn and tcp_listener: what they promise in <warren/net.h>, bad input excepted (tcp_error_test.cpp).
#include <netinet/tcp.h>
#include <string.h>

#include <algorithm>
#include <asio/completion_condition.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>
#include <random>
#include <vector>

#include "net_test.h"
#include "runtime/os/clock.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

TEST(tcp, listen_dial_read_write) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    const tcp_endpoint where = l.local_endpoint();
    EXPECT_NE(where.port(), 0);
    EXPECT_EQ(where.address().to_string(), "127.0.0.1");
    task server([&] {
      tcp_conn c = l.accept();
      char b[64];
      error_code ec;
      while (const size_t n = c.read_some(asio::buffer(b), ec)) c.write(asio::buffer(b, n));
      EXPECT_EQ(ec, asio::error::eof);
    });
    tcp_conn c = dial(to_string(where));
    EXPECT_TRUE(c.is_open());
    EXPECT_EQ(c.remote_endpoint(), where);
    EXPECT_EQ(c.local_endpoint().address().to_string(), "127.0.0.1");
    EXPECT_GE(c.native_handle(), 0);
    EXPECT_EQ(c.write(asio::buffer("hello", 5)), 5u);
    char b[5];
    EXPECT_EQ(asio::read(c, asio::buffer(b)), 5u);
    EXPECT_EQ(std::string(b, 5), "hello");
    c.close();
    EXPECT_FALSE(c.is_open());
    EXPECT_EQ(c.native_handle(), -1);
  });
}

TEST(tcp, asio_stream_concepts) {
  warren::run([] {
    pair p = connected();
    task server([&] {  // answers each line with its length
      std::string in;
      error_code ec;
      for (;;) {
        const size_t n = asio::read_until(p.b, asio::dynamic_buffer(in), '\n', ec);
        if (ec) break;
        asio::write(p.b, asio::buffer(std::to_string(n - 1) + "\n"));
        in.erase(0, n);
      }
      EXPECT_EQ(ec, asio::error::eof);
    });
    std::string out;
    for (const char* line : {"a\n", "four\nsix_six\n", "\n"}) asio::write(p.a, asio::buffer(line, strlen(line)));
    p.a.shutdown(asio::socket_base::shutdown_send);
    error_code ec;
    asio::read(p.a, asio::dynamic_buffer(out), asio::transfer_exactly(8), ec);
    EXPECT_FALSE(ec) << ec.message();
    EXPECT_EQ(out, "1\n4\n7\n0\n");
    server.join();
    EXPECT_EQ(asio::read(p.a, asio::dynamic_buffer(out), asio::transfer_at_least(0), ec), 0u);
  });
}

TEST(tcp, read_until_throws_at_the_end) {
  warren::run([] {
    pair p = connected();
    asio::write(p.a, asio::buffer("no newline", 10));
    p.a.close();
    std::string in;
    try {
      asio::read_until(p.b, asio::dynamic_buffer(in), '\n');
      ADD_FAILURE();
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), asio::error::eof);
    }
    EXPECT_EQ(in, "no newline");
  });
}

TEST(tcp, scatter_and_gather) {
  warren::run([] {
    pair p = connected();
    const std::string first = "one ", second = "two ", third = "three";
    const std::array<asio::const_buffer, 4> out{asio::buffer(first), asio::buffer(second), asio::const_buffer(), asio::buffer(third)};
    EXPECT_EQ(p.a.write_some(out), 13u);
    char x[3], y[6], z[10];
    const std::array<asio::mutable_buffer, 3> in{asio::buffer(x), asio::buffer(y), asio::buffer(z)};
    EXPECT_EQ(p.b.read_some(in), 13u);
    EXPECT_EQ(std::string(x, 3) + std::string(y, 6) + std::string(z, 4), "one two three");
  });
}

TEST(tcp, more_buffers_than_one_call_takes) {
  warren::run([] {
    pair p = connected();
    std::vector<std::string> text;
    for (int i = 0; i < 150; ++i) text.push_back(std::to_string(i) + ",");
    std::vector<asio::const_buffer> out;
    std::string expected;
    for (const auto& t : text) {
      out.push_back(asio::buffer(t));
      expected += t;
    }
    error_code ec;
    size_t first64 = 0;
    for (int i = 0; i < 64; ++i) first64 += text[i].size();
    EXPECT_EQ(p.a.write_some(out, ec), first64);
    std::string got(first64, 0);
    asio::read(p.b, asio::buffer(got));
    EXPECT_EQ(got, expected.substr(0, first64));
    EXPECT_EQ(p.a.write(out), expected.size());
    got.assign(expected.size(), 0);
    asio::read(p.b, asio::buffer(got));
    EXPECT_EQ(got, expected);
  });
}

TEST(tcp, empty_buffers_do_nothing) {
  warren::run([] {
    pair p = connected();
    error_code ec = asio::error::eof;
    EXPECT_EQ(p.a.read_some(asio::mutable_buffer(), ec), 0u);
    EXPECT_FALSE(ec);
    EXPECT_EQ(p.a.write_some(std::vector<asio::const_buffer>{}, ec), 0u);
    EXPECT_FALSE(ec);
    EXPECT_EQ(p.a.write(std::vector<asio::const_buffer>(100), ec), 0u);
    EXPECT_FALSE(ec);
  });
}

// Far more than the socket's buffers hold: the writer parks in between, and what `write` sends is not mixed with what others send.
TEST(tcp, large_concurrent_writes_stay_whole) {
  warren::run([] {
    pair p = connected();
    constexpr int kWriters = 4;
    constexpr size_t kHalf = 1 << 20;
    latch writers(kWriters);
    for (int w = 0; w < kWriters; ++w) {
      warren::go([&, w] {
        const std::string head(kHalf, static_cast<char>('a' + w)), tail(kHalf, static_cast<char>('A' + w));
        const std::array<asio::const_buffer, 2> both{asio::buffer(head), asio::buffer(tail)};
        EXPECT_EQ(p.a.write(both), 2 * kHalf);
        writers.done();
      });
    }
    std::string got(kHalf, 0);
    std::string seen;
    for (int k = 0; k < 2 * kWriters; ++k) {
      asio::read(p.b, asio::buffer(got));
      EXPECT_EQ(got.find_first_not_of(got[0]), std::string::npos) << "piece " << k << " is mixed";
      seen += got[0];
    }
    writers.wait();
    for (int k = 0; k < kWriters; ++k) EXPECT_EQ(seen[2 * k] - 'a', seen[2 * k + 1] - 'A');
  });
}

TEST(tcp, concurrent_readers_take_turns) {
  warren::run([] {
    pair p = connected();
    std::array<char, 3> got{};
    latch readers(3);
    for (int i = 0; i < 3; ++i) {
      warren::go([&, i] {
        EXPECT_EQ(p.b.read_some(asio::buffer(&got[i], 1)), 1u);
        readers.done();
      });
    }
    p.a.write(asio::buffer("xyz", 3));
    readers.wait();
    std::string all(got.begin(), got.end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, "xyz");
  });
}

TEST(tcp, half_close) {
  warren::run([] {
    pair p = connected();
    p.a.shutdown(asio::socket_base::shutdown_send);
    char b[8];
    error_code ec;
    EXPECT_EQ(p.b.read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
    p.b.write(asio::buffer("still", 5));
    EXPECT_EQ(asio::read(p.a, asio::buffer(b, 5)), 5u);
    EXPECT_EQ(p.a.write_some(asio::buffer("x", 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::broken_pipe);  // and no SIGPIPE
    p.b.shutdown(asio::socket_base::shutdown_both);
    EXPECT_EQ(p.a.read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
  });
}

TEST(tcp, shutdown_receive_wakes_the_local_reader) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    {
      task reader([&] {
        char b[8];
        p.a.read_some(asio::buffer(b), ec);
      });
      until_parked(1);
      p.a.shutdown(asio::socket_base::shutdown_receive);
    }
    EXPECT_EQ(ec, asio::error::eof);
  });
}

TEST(tcp, no_delay_on_both_ends) {
  warren::run([] {
    pair p = connected();
    for (tcp_conn* c : {&p.a, &p.b}) {
      int v = 0;
      socklen_t n = sizeof v;
      EXPECT_EQ(::getsockopt(c->native_handle(), IPPROTO_TCP, TCP_NODELAY, &v, &n), 0);
      EXPECT_NE(v, 0);
      c->no_delay(false);
      EXPECT_EQ(::getsockopt(c->native_handle(), IPPROTO_TCP, TCP_NODELAY, &v, &n), 0);
      EXPECT_EQ(v, 0);
    }
  });
}

TEST(tcp, move_hands_the_connection_over) {
  warren::run([] {
    pair p = connected();
    tcp_conn c = std::move(p.a);
    EXPECT_FALSE(p.a.is_open());
    c.write(asio::buffer("m", 1));
    tcp_conn d;
    d = std::move(c);
    char b;
    EXPECT_EQ(p.b.read_some(asio::buffer(&b, 1)), 1u);
    d = tcp_conn();  // closes
    error_code ec;
    EXPECT_EQ(p.b.read_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
  });
}

TEST(tcp, adopt_takes_over_a_socket) {
  warren::run([] {
    int s[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    error_code ec;
    tcp_conn a = tcp_conn::adopt(s[0], ec);
    ASSERT_FALSE(ec) << ec.message();
    tcp_conn b = tcp_conn::adopt(s[1], ec);
    ASSERT_FALSE(ec) << ec.message();
    char got[3];
    task reader([&] { asio::read(a, asio::buffer(got)); });
    until_parked(1);
    b.write(asio::buffer("ad", 2));
    b.write(asio::buffer("o", 1));
    reader.join();
    EXPECT_EQ(std::string(got, 3), "ado");
    tcp_conn bad = tcp_conn::adopt(1 << 20, ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_FALSE(bad.is_open());
  });
}

TEST(tcp, ipv6_and_names) {
  warren::run([] {
    error_code ec;
    tcp_listener six = listen("[::1]:0", ec);
    if (!ec) {
      tcp_conn c = dial(six.local_endpoint());
      EXPECT_TRUE(six.accept().is_open());
    } else {
      EXPECT_TRUE(ec.value() == EADDRNOTAVAIL || ec == asio::error::address_family_not_supported) << ec.message();
    }
    tcp_listener all = listen(":0");
    const std::string port = std::to_string(all.local_endpoint().port());
    tcp_conn four = dial("127.0.0.1:" + port);
    EXPECT_TRUE(all.accept().is_open());
    tcp_conn here = dial(":" + port);
    EXPECT_TRUE(all.accept().is_open());
    tcp_conn named = dial("localhost:" + port);
    EXPECT_TRUE(all.accept().is_open());
    tcp_listener by_name = listen("localhost:0");
    EXPECT_TRUE(by_name.local_endpoint().address().is_loopback());
  });
}

TEST(tcp, restart_on_the_same_port) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    const tcp_endpoint where = l.local_endpoint();
    tcp_conn c = dial(where);
    tcp_conn s = l.accept();
    s.close();  // this side enters TIME_WAIT
    l.close();
    tcp_listener again = listen(where);
    EXPECT_EQ(again.local_endpoint(), where);
  });
}

TEST(tcp, reuse_port) {
  warren::run([] {
    listen_options shared;
    shared.reuse_port = true;
    tcp_listener a = listen("127.0.0.1:0", shared);
    tcp_listener b = listen(a.local_endpoint(), shared);
    EXPECT_EQ(a.local_endpoint(), b.local_endpoint());
  });
}

// --- wait_readable
// ------------------------------------------------------------------------------------------------------------------------

TEST(tcp_wait_readable, parks_until_data_and_takes_none) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    bool ready = false;
    {
      task waiter([&] { ready = p.b.wait_readable(ec); });
      until_parked(1);
      p.a.write(asio::buffer("hi", 2));
    }
    EXPECT_TRUE(ready);
    EXPECT_TRUE(p.b.wait_readable(ec)) << "still there";
    char b[8];
    EXPECT_EQ(p.b.try_read_some(asio::buffer(b), ec), 2u);
    EXPECT_EQ(p.b.try_read_some(asio::buffer(b), ec), 0u);
    EXPECT_EQ(ec, asio::error::would_block);
  });
}

// What a read left over is announced by no further edge.
TEST(tcp_wait_readable, data_left_by_a_full_read) {
  warren::run([] {
    pair p = connected();
    p.a.write(asio::buffer("abcdef", 6));
    char b[3];
    EXPECT_EQ(asio::read(p.b, asio::buffer(b)), 3u);
    p.b.wait_readable();
    EXPECT_EQ(asio::read(p.b, asio::buffer(b)), 3u);
    error_code ec;
    p.b.read_deadline(1ms);
    EXPECT_FALSE(p.b.wait_readable(ec)) << "the last read filled its buffer and emptied the queue";
    EXPECT_EQ(ec, asio::error::timed_out);
  });
}

// Data and end of stream in one edge; the read of the data is short.
TEST(tcp_wait_readable, end_of_stream_behind_a_short_read) {
  warren::run([] {
    pair p = connected();
    p.a.write(asio::buffer("last", 4));
    p.a.close();
    char b[100];
    error_code ec;
    size_t total = 0;
    while (p.b.wait_readable(ec)) {
      const size_t n = p.b.try_read_some(asio::buffer(b), ec);
      total += n;
      if (ec == asio::error::eof) break;
      ASSERT_TRUE(!ec || ec == asio::error::would_block) << ec.message();
    }
    EXPECT_EQ(ec, asio::error::eof);
    EXPECT_EQ(total, 4u);
  });
}

// After the peer's half-close the edge's flag stays set; data before it was read. A wait then returns (eof), it does not hang.
TEST(tcp_wait_readable, lending_loop_over_many_messages) {
  warren::run([] {
    pair p = connected();
    constexpr int kMessages = 2000;
    task writer([&] {
      std::minstd_rand random(7);
      std::string m;
      for (int i = 0; i < kMessages; ++i) {
        m.assign(1 + random() % 700, static_cast<char>(i));
        p.a.write(asio::buffer(m));
        if (i % 3 == 0) yield();
      }
      p.a.shutdown(asio::socket_base::shutdown_send);
    });
    std::minstd_rand expected(7);
    size_t left = 0;
    int message = -1;
    error_code ec;
    char b[256];
    while (p.b.wait_readable(ec)) {
      const size_t n = p.b.try_read_some(asio::buffer(b), ec);
      if (ec == asio::error::would_block) continue;
      if (ec) break;
      for (size_t i = 0; i < n; ++i) {
        if (left == 0) {
          left = 1 + expected() % 700;
          ++message;
        }
        ASSERT_EQ(b[i], static_cast<char>(message));
        --left;
      }
    }
    EXPECT_EQ(ec, asio::error::eof);
    EXPECT_EQ(message, kMessages - 1);
    EXPECT_EQ(left, 0u);
  });
}

TEST(tcp_wait_readable, reset_counts_as_readable) {
  warren::run([] {
    pair p = connected();
    const linger now{1, 0};
    ASSERT_EQ(::setsockopt(p.a.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    p.a.close();
    error_code ec;
    EXPECT_TRUE(p.b.wait_readable(ec));
    char b;
    p.b.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::connection_reset);
  });
}

// --- deadlines and close
// ---------------------------------------------------------------------------------------------------------------------

TEST(tcp_deadline, in_the_past_fails_without_trying) {
  warren::run([] {
    pair p = connected();
    p.a.write(asio::buffer("x", 1));
    p.b.read_deadline(-1s);
    char b;
    error_code ec;
    EXPECT_EQ(p.b.read_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    p.b.write_deadline(std::chrono::steady_clock::now() - 1h);
    EXPECT_EQ(p.b.write_some(asio::buffer("y", 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    p.b.deadline(std::chrono::steady_clock::time_point::max());
    EXPECT_EQ(p.b.read_some(asio::buffer(&b, 1), ec), 1u);
    EXPECT_FALSE(ec);
  });
}

TEST(tcp_deadline, ends_a_parked_read_and_leaves_the_connection_usable) {
  warren::run([] {
    pair p = connected();
    char b;
    error_code ec;
    const auto until = std::chrono::steady_clock::now() + 3ms;
    p.b.read_deadline(until);
    p.b.read_some(asio::buffer(&b, 1), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_GE(std::chrono::steady_clock::now(), until);
    p.b.read_deadline(std::chrono::nanoseconds::max());
    p.a.write(asio::buffer("z", 1));
    EXPECT_EQ(p.b.read_some(asio::buffer(&b, 1), ec), 1u);
  });
}

TEST(tcp_deadline, ends_a_parked_write_with_what_was_written) {
  warren::run([] {
    pair p = connected();
    const std::string big(64 << 20, 'b');  // more than two socket buffers take
    p.a.write_deadline(5ms);
    error_code ec;
    const size_t n = p.a.write(asio::buffer(big), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_GT(n, 0u);
    EXPECT_LT(n, big.size());
  });
}

TEST(tcp_deadline, of_accept) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    l.accept_deadline(2ms);
    error_code ec;
    EXPECT_FALSE(l.accept(ec).is_open());
    EXPECT_EQ(ec, asio::error::timed_out);
    l.accept_deadline(std::chrono::steady_clock::time_point::max());
    tcp_conn c = dial(l.local_endpoint());
    EXPECT_TRUE(l.accept(ec).is_open());
  });
}

TEST(tcp_deadline, dial_gives_up) {
  warren::run([] {
    error_code ec;
    dial_options past;
    past.deadline = std::chrono::steady_clock::now() - 1s;
    tcp_listener l = listen("127.0.0.1:0");
    EXPECT_FALSE(dial(l.local_endpoint(), ec, past).is_open());
    EXPECT_EQ(ec, asio::error::timed_out);
    // A listener whose queue is full answers no further SYN: the dial has to wait.
    listen_options one;
    one.backlog = 0;
    tcp_listener full = listen("127.0.0.1:0", one);
    std::vector<tcp_conn> queued;
    dial_options soon;
    for (int i = 0; i < 8; ++i) {
      soon.deadline = std::chrono::steady_clock::now() + 20ms;
      queued.push_back(dial(full.local_endpoint(), ec, soon));
      if (ec) break;
    }
    EXPECT_EQ(ec, asio::error::timed_out);
  });
}

TEST(tcp_close, wakes_parked_reader_and_writer) {
  warren::run([] {
    pair p = connected();
    error_code read_ec, write_ec;
    {
      task reader([&] {
        char b;
        p.a.read_some(asio::buffer(&b, 1), read_ec);
      });
      task writer([&] {
        const std::string big(64 << 20, 'w');
        p.a.write(asio::buffer(big), write_ec);
      });
      until_parked(2);
      error_code ec;
      p.a.close(ec);
      EXPECT_FALSE(ec);
      EXPECT_EQ(p.a.native_handle(), -1);
    }
    EXPECT_EQ(read_ec, asio::error::operation_aborted);
    EXPECT_EQ(write_ec, asio::error::operation_aborted);
  });
}

TEST(tcp_close, wakes_those_who_queue_for_the_lock) {
  warren::run([] {
    pair p = connected();
    std::atomic<int> aborted{0};
    latch all(4);
    for (int i = 0; i < 4; ++i) {
      warren::go([&] {
        char b;
        error_code ec;
        p.a.read_some(asio::buffer(&b, 1), ec);
        if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) ++aborted;
        all.done();
      });
    }
    until_parked(1);
    p.a.close();
    all.wait();
    EXPECT_EQ(aborted, 4);
  });
}

TEST(tcp_close, wakes_parked_accept_and_frees_the_port) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    const tcp_endpoint where = l.local_endpoint();
    error_code ec;
    task acceptor([&] { l.accept(ec); });
    until_parked(1);
    l.close();
    tcp_listener again = listen(where);  // at once
    acceptor.join();
    EXPECT_EQ(ec, asio::error::operation_aborted);
  });
}

TEST(tcp_close, from_a_foreign_thread) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    {
      task reader([&] {
        char b;
        p.a.read_some(asio::buffer(&b, 1), ec);
      });
      until_parked(1);
      std::thread([&] { p.a.close(); }).join();
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
  });
}

TEST(tcp_close, listener_made_before_run) {
  tcp_listener l = listen("127.0.0.1:0");
  warren::run([&] {
    task client([&] {
      tcp_conn c = dial(l.local_endpoint());
      c.write(asio::buffer("early", 5));
    });
    tcp_conn s = l.accept();
    char b[5];
    EXPECT_EQ(asio::read(s, asio::buffer(b)), 5u);
  });
  warren::run([&] {  // and in the next run
    tcp_conn c = dial(l.local_endpoint());
    EXPECT_TRUE(l.accept().is_open());
  });
}

}  // namespace
}  // namespace warren::net_test
