#include "warren/udp.h"

#include <vector>

#include "net_test.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

TEST(udp, a_datagram_each_way) {
  warren::run([] {
    udp_conn a = listen_packet("127.0.0.1:0"), b = listen_packet("127.0.0.1:0");
    char buffer[16];
    datagram d;
    {
      task receiver([&] { d = b.receive_from(asio::buffer(buffer)); });
      until_parked(1);
      a.send_to(asio::buffer("ping", 4), b.local_endpoint());
    }
    EXPECT_EQ(std::string(buffer, d.bytes), "ping");
    EXPECT_EQ(d.from, a.local_endpoint());
    EXPECT_FALSE(d.truncated);
    b.send_to(asio::buffer("pong", 4), d.from);
    EXPECT_EQ(a.receive_from(asio::buffer(buffer)).bytes, 4u);
  });
}

TEST(udp, ipv6_and_every_address) {
  warren::run([] {
    error_code ec;
    udp_conn six = listen_packet("[::1]:0", ec);
    if (ec) GTEST_SKIP() << "no IPv6: " << ec.message();
    udp_conn any = listen_packet(":0");
    six.send_to(asio::buffer("6", 1), udp_endpoint(asio::ip::address_v6::loopback(), any.local_endpoint().port()));
    char b[4];
    EXPECT_EQ(any.receive_from(asio::buffer(b)).from, six.local_endpoint());
  });
}

TEST(udp, truncation_is_reported_and_costs_one_datagram) {
  warren::run([] {
    udp_conn a = listen_packet("127.0.0.1:0"), b = dial_packet(a.local_endpoint());
    b.send(asio::buffer("0123456789", 10));
    b.send(asio::buffer("ab", 2));
    b.send(asio::buffer("", 0));
    char four[4];
    datagram d = a.receive_from(asio::buffer(four));
    EXPECT_EQ(d.bytes, 4u);
    EXPECT_TRUE(d.truncated);
    EXPECT_EQ(std::string(four, 4), "0123");
    d = a.receive_from(asio::buffer(four));
    EXPECT_EQ(d.bytes, 2u);
    EXPECT_FALSE(d.truncated);
    d = a.receive_from(asio::buffer(four));
    EXPECT_EQ(d.bytes, 0u) << "an empty datagram is one";
    EXPECT_EQ(d.from, b.local_endpoint());
  });
}

TEST(udp, pieces) {
  warren::run([] {
    udp_conn a = listen_packet("127.0.0.1:0"), b = dial_packet(a.local_endpoint());
    const std::array<asio::const_buffer, 3> out{asio::buffer("ab", 2), asio::buffer("", 0), asio::buffer("cde", 3)};
    b.send(out);
    char one[1], rest[8];
    const std::array<asio::mutable_buffer, 2> in{asio::buffer(one), asio::buffer(rest)};
    EXPECT_EQ(a.receive_from(in).bytes, 5u);
    EXPECT_EQ(one[0], 'a');
    EXPECT_EQ(std::string(rest, 4), "bcde");
    error_code ec;
    b.send(std::vector<asio::const_buffer>(65, asio::buffer("x", 1)), ec);
    EXPECT_EQ(ec, asio::error::message_size);
  });
}

TEST(udp, a_datagram_that_cannot_be) {
  warren::run([] {
    udp_conn a = listen_packet("127.0.0.1:0"), b = dial_packet(a.local_endpoint());
    const std::string largest(65507, 'x');
    b.send(asio::buffer(largest));
    std::string got(70000, 0);
    EXPECT_EQ(a.receive_from(asio::buffer(got)).bytes, largest.size());
    error_code ec;
    b.send(asio::buffer(got.data(), 65508), ec);
    EXPECT_EQ(ec, asio::error::message_size);
    b.send(asio::buffer("still", 5));
    EXPECT_EQ(a.receive_from(asio::buffer(got)).bytes, 5u);
  });
}

TEST(udp, connected_hears_its_peer_only) {
  warren::run([] {
    udp_conn peer = listen_packet("127.0.0.1:0"), other = listen_packet("127.0.0.1:0");
    udp_conn c = dial_packet(to_string(tcp_endpoint(peer.local_endpoint().address(), peer.local_endpoint().port())));
    EXPECT_EQ(c.remote_endpoint(), peer.local_endpoint());
    other.send_to(asio::buffer("other", 5), c.local_endpoint());
    peer.send_to(asio::buffer("peer", 4), c.local_endpoint());
    char b[8];
    EXPECT_EQ(c.receive_from(asio::buffer(b)).bytes, 4u);
    error_code ec;
    EXPECT_EQ(c.try_receive_from(asio::buffer(b), ec).bytes, 0u);
    EXPECT_EQ(ec, asio::error::would_block);
    other.send(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, error_code(EDESTADDRREQ, asio::system_category()));
  });
}

// ICMP tells that nobody receives there; the socket goes on being good.
TEST(udp, nobody_there) {
  warren::run([] {
    udp_conn gone = listen_packet("127.0.0.1:0");
    const udp_endpoint where = gone.local_endpoint();
    udp_conn c = dial_packet(where);
    gone.close();
    c.send(asio::buffer("x", 1));
    char b[4];
    error_code ec;
    c.receive_from(asio::buffer(b), ec);
    EXPECT_EQ(ec, asio::error::connection_refused);
    udp_conn back = listen_packet(where);
    c.send(asio::buffer("y", 1));
    EXPECT_EQ(back.receive_from(asio::buffer(b)).bytes, 1u);
  });
}

TEST(udp, deadlines) {
  warren::run([] {
    udp_conn a = listen_packet("127.0.0.1:0");
    error_code ec;
    char b[4];
    a.read_deadline(1ms);
    a.receive_from(asio::buffer(b), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    a.receive_from(asio::buffer(b), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    a.read_deadline(std::chrono::nanoseconds::max());
    a.send_to(asio::buffer("z", 1), a.local_endpoint());
    EXPECT_EQ(a.receive_from(asio::buffer(b)).bytes, 1u);
    a.write_deadline(0ns);
    a.send_to(asio::buffer("z", 1), a.local_endpoint(), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
  });
}

TEST(udp, close_wakes_the_receiver) {
  warren::run([] {
    for (int i = 0; i < 200; ++i) {
      udp_conn a = listen_packet("127.0.0.1:0");
      error_code ec;
      {
        task receiver([&] {
          char b[4];
          a.receive_from(asio::buffer(b), ec);
        });
        task deadlines([&] { a.deadline(1h); });
        if (i % 2 == 0) until_parked(1);
        a.close();
      }
      EXPECT_TRUE(ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) << ec.message();
    }
    udp_conn never;
    error_code ec;
    char b[4];
    never.receive_from(asio::buffer(b), ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    never.send(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    never.deadline(1s);
    never.close();
  });
}

TEST(udp, misuse_is_explained) {
  const auto thrown_by = [](auto f) -> std::string {
    try {
      f();
    } catch (const net_error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  warren::run([&] {
    udp_conn a = listen_packet("127.0.0.1:0");
    const std::string where = to_string(tcp_endpoint(a.local_endpoint().address(), a.local_endpoint().port()));
    EXPECT_EQ(thrown_by([&] { listen_packet(where); }),
              "listen " + where + ": address already in use; stop the other process or choose another port");
    EXPECT_EQ(thrown_by([&] { dial_packet("127.0.0.1:0"); }),
              "dial 127.0.0.1:0: port 0 cannot be dialled; write the port that the server receives on");
    EXPECT_EQ(thrown_by([&] { listen_packet("127.0.0.1"); }),
              "listen 127.0.0.1: missing port; write ADDR:PORT, for example 127.0.0.1:8080");
  });
}

}  // namespace
}  // namespace warren::net_test
