#include "netpoll/address.h"

#include "net_test.h"
#include "netpoll/net_error.h"
#include "netpoll/resolver.h"

namespace warren::net_test {
namespace {

struct good {
  const char* text;
  const char* address;
  uint16_t port;
};

TEST(address, numeric_forms) {
  for (const good& g : {good{"127.0.0.1:80", "127.0.0.1", 80}, good{"0.0.0.0:0", "0.0.0.0", 0}, good{"[::1]:8080", "::1", 8080},
                        good{":443", "::", 443}, good{"[::]:65535", "::", 65535}, good{"[fe80::1]:1", "fe80::1", 1}}) {
    error_code ec;
    std::string why;
    const tcp_endpoint e = parse_endpoint(g.text, ec, &why);
    EXPECT_FALSE(ec) << g.text << ' ' << why;
    EXPECT_EQ(e.address().to_string(), g.address);
    EXPECT_EQ(e.port(), g.port);
  }
  error_code ec;
  EXPECT_EQ(to_string(parse_endpoint("[::1]:8080", ec)), "[::1]:8080");
  EXPECT_EQ(to_string(parse_endpoint("1.2.3.4:5", ec)), "1.2.3.4:5");
}

struct bad {
  const char* text;
  const char* expected;  // part of the explanation
};

TEST(address, what_is_no_address_is_explained) {
  for (const bad& b : {bad{"", "empty address"}, bad{"127.0.0.1", "missing port"}, bad{"127.0.0.1:", "port \"\" is not a number"},
                       bad{"127.0.0.1:http", "port \"http\""}, bad{"127.0.0.1:65536", "port \"65536\""}, bad{"127.0.0.1:-1", "port \"-1\""},
                       bad{"127.0.0.1: 80", "port \" 80\""}, bad{"127.0.0.1:80x", "port \"80x\""}, bad{"::1:80", "without brackets"},
                       bad{"[::1:80", "missing ']'"}, bad{"[::1]80", "missing port after ']'"}, bad{"[::1]", "missing port after ']'"},
                       bad{"[127.0.0.1]:80", "brackets are for IPv6"}, bad{"300.0.0.1:80", "is not an IPv4 address"},
                       bad{"1.2.3:80", "is not an IPv4 address"}, bad{"[::zz]:80", "is not an IPv6 address"},
                       bad{"a b:80", "neither an address nor a host name"}, bad{"localhost:80", "is a name"},
                       bad{"99999999999999999999:80", "is not an IPv4 address"}}) {
    error_code ec;
    std::string why;
    parse_endpoint(b.text, ec, &why);
    EXPECT_EQ(ec, asio::error::invalid_argument) << b.text;
    EXPECT_NE(why.find(b.expected), std::string::npos) << b.text << ": " << why;
    EXPECT_EQ(why.find('\n'), std::string::npos);
    EXPECT_NE(why.find(b.text[0] == 'l' ? "numeric" : "write"), std::string::npos) << "names the remedy: " << why;
  }
}

TEST(address, error_line_is_one_line) {
  const std::string line = rt::net_error_line("listen", "bad\naddress\x01", asio::error::address_in_use);
  EXPECT_EQ(line, "listen bad?address?: address already in use; stop the other process or choose another port");
}

TEST(address, names_are_looked_up_off_the_thread) {
  warren::run([] {
    error_code ec;
    const auto found = rt::resolve("localhost", 80, false, 0, {}, ec);
    ASSERT_FALSE(ec) << ec.message();
    ASSERT_FALSE(found.empty());
    for (const tcp_endpoint& e : found) {
      EXPECT_TRUE(e.address().is_loopback());
      EXPECT_EQ(e.port(), 80);
    }
  });
}

TEST(address, unknown_name_is_an_error) {
  warren::run([] {
    error_code ec;
    EXPECT_TRUE(rt::resolve("no-such-host.invalid", 80, false, 0, {}, ec).empty());
    EXPECT_TRUE(ec);
    try {
      dial("no-such-host.invalid:80");
      ADD_FAILURE();
    } catch (const net_error& e) {
      EXPECT_EQ(std::string(e.what()).rfind("dial no-such-host.invalid:80: ", 0), 0u) << e.what();
    }
  });
}

}  // namespace
}  // namespace warren::net_test
