#include "server/admin/request.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using warren::admin::parse_request;
using warren::admin::parse_result;
using warren::admin::request;
using kind = warren::admin::parse_result::kind;

parse_result parse(std::string_view text) {
  request r;
  return parse_request(text, &r);
}

TEST(admin_request, a_scrape_is_taken_with_path_and_query) {
  const std::string_view text =
      "GET /metrics?name%5B%5D=go_goroutines HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nUser-Agent: Prometheus/2.42.0\r\nAccept: */*\r\n\r\n";
  request r;
  const parse_result p = parse_request(text, &r);
  ASSERT_EQ(p.what, kind::complete);
  EXPECT_EQ(p.consumed, text.size());
  EXPECT_EQ(r.path, "/metrics");
  EXPECT_EQ(r.query, "name%5B%5D=go_goroutines");
  EXPECT_TRUE(p.keep_alive);
}

TEST(admin_request, every_prefix_of_a_good_request_needs_more) {
  const std::string text = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n\r\n";
  for (size_t n = 0; n < text.size(); n++) EXPECT_EQ(parse(text.substr(0, n)).what, kind::need_more) << n;
  EXPECT_EQ(parse(text).what, kind::complete);
  EXPECT_FALSE(parse(text).keep_alive);
}

TEST(admin_request, a_second_request_behind_the_first_is_left_alone) {
  const std::string one = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_EQ(parse(one + "\x16\x03garbage").consumed, one.size());
}

TEST(admin_request, http_1_0_closes_and_needs_no_host) {
  EXPECT_EQ(parse("GET / HTTP/1.0\r\n\r\n").what, kind::complete);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").keep_alive);
}

TEST(admin_request, refused_with_the_status_the_rfc_names) {
  struct {
    const char* text;
    int status;
  } const cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400},                                                // no Host
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},                          // two
      {"GET / HTTP/1.1\nHost: a\n\n", 400},                                           // bare LF
      {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},                          // folded line
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},                                    // blank before the colon
      {"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400},                          //
      {"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", 400},                                 // control character in a value
      {"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},                               // bare CR in a value
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},                                    // two blanks
      {"GET / \r\nHost: a\r\n\r\n", 400},                                             // no version
      {"GET /\r\n\r\n", 400},                                                         // HTTP/0.9 style
      {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},                             // a proxy's form
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 400},           // a body
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 5\r\n\r\n", 400},             //
      {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400},  //
      {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},                                 // an empty line first
      {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},  // a gRPC client on the wrong port
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
      {"\x16\x03\x01\x02", 400},  // a TLS client
      {" GET", 400},
      {"GET /\x80", 400},
      {"AVERYLONGWORDWITHOUTABLANK", 400},
  };
  for (const auto& c : cases) {
    const parse_result p = parse(c.text);
    EXPECT_EQ(p.what, kind::refused) << c.text;
    EXPECT_EQ(p.status, c.status) << c.text;
  }
  EXPECT_EQ(parse(std::string_view("GET /\0 HTTP/1.1\r\n", 17)).status, 400);
}

TEST(admin_request, limits_are_exact) {
  using warren::admin::max_head;
  using warren::admin::max_request_line;
  // A request line of exactly the limit (its line end included) passes, one byte more does not.
  const std::string tail = " HTTP/1.1\r\n";
  const auto line = [&](size_t n) { return "GET /" + std::string(n - 5 - tail.size(), 'a') + tail; };
  EXPECT_EQ(parse(line(max_request_line) + "Host: a\r\n\r\n").what, kind::complete);
  EXPECT_EQ(parse(line(max_request_line + 1) + "Host: a\r\n\r\n").status, 414);
  EXPECT_EQ(parse("GET /" + std::string(max_request_line, 'a')).status, 414);

  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const auto head = [&](size_t n) { return start + std::string(n - start.size() - 4, 'x') + "\r\n\r\n"; };
  EXPECT_EQ(parse(head(max_head)).what, kind::complete);
  EXPECT_EQ(parse(head(max_head + 1)).status, 431);
  EXPECT_EQ(parse(head(max_head + 100).substr(0, max_head - 1)).what, kind::need_more);
  EXPECT_EQ(parse(head(max_head + 100).substr(0, max_head)).status, 431);
}

}  // namespace
