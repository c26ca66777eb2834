// The admin port over real sockets, within one runtime: what tests/server/cli cannot reach from outside (timeouts, handlers that fail,
// stop()).
#include <gtest/gtest.h>

#include <asio/buffer.hpp>
#include <chrono>
#include <stdexcept>
#include <string>

#include <warren/admin.h>
#include <warren/chan.h>
#include <warren/go.h>
#include <warren/net.h>
#include <warren/sync.h>

namespace {

using namespace warren::admin;
using std::chrono::milliseconds;

std::string read_all(warren::tcp_conn& c) {
  std::string all;
  char chunk[4096];
  asio::error_code ec;
  while (const size_t n = c.read_some(asio::buffer(chunk), ec)) all.append(chunk, n);
  return all;
}

// Sends, and reads until the server closes.
std::string ask(const server& s, std::string_view text) {
  warren::tcp_conn c = warren::dial(s.address());
  c.write(asio::buffer(text));
  return read_all(c);
}

std::string get(const server& s, const std::string& path) {
  return ask(s, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(admin_server, answers_with_the_handlers_words) {
  warren::run([] {
    server s;
    s.handle("/hello", "says hello", [](const request& r) {
      return response{.status = 200, .content_type = "text/x", .body = "hello " + std::string(r.query) + "\n"};
    });
    s.handle("/secret", "", [](const request&) { return response{}; });
    s.start("127.0.0.1:0");
    const std::string answer = get(s, "/hello?you");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_TRUE(has(answer, "\r\nContent-Type: text/x\r\n")) << answer;
    EXPECT_TRUE(has(answer, "\r\nContent-Length: 10\r\n")) << answer;
    EXPECT_TRUE(has(answer, "\r\nConnection: close\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\nhello you\n")) << answer;
    const std::string index = get(s, "/");
    EXPECT_TRUE(has(index, "/hello  says hello\n")) << index;
    EXPECT_FALSE(has(index, "/secret")) << index;
    EXPECT_TRUE(has(get(s, "/hello/more"), "HTTP/1.1 404 "));
    s.stop();
  });
}

TEST(admin_server, a_handler_that_throws_is_a_500_without_its_text) {
  warren::run([] {
    server s;
    s.handle("/", "", [](const request&) -> response { throw std::runtime_error("the password is 1234"); });
    s.start("127.0.0.1:0");
    const std::string answer = get(s, "/");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
    EXPECT_FALSE(has(answer, "1234")) << answer;
  });
}

TEST(admin_server, a_slow_sender_gets_408_a_silent_one_is_closed) {
  warren::run([] {
    server s({.connections = 64, .head_timeout = milliseconds(50), .idle_timeout = milliseconds(50), .write_timeout = milliseconds(5000)});
    s.start("127.0.0.1:0");
    EXPECT_TRUE(ask(s, "GET / HTT").starts_with("HTTP/1.1 408 "));
    EXPECT_EQ(ask(s, ""), "");
    // Between requests: closed without a word.
    const std::string answer = ask(s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
    EXPECT_FALSE(has(answer, " 408 ")) << answer;
  });
}

TEST(admin_server, a_client_that_does_not_read_is_cut_off) {
  warren::run([] {
    server s(
        {.connections = 64, .head_timeout = milliseconds(5000), .idle_timeout = milliseconds(5000), .write_timeout = milliseconds(50)});
    const warren::chan<warren::unit> entered = warren::make_chan<warren::unit>();
    s.handle("/big", "", [&](const request&) {
      entered.send({});
      return response{.body = std::string(64 << 20, 'x')};
    });
    s.start("127.0.0.1:0");
    warren::tcp_conn c = warren::dial(s.address());
    c.write(asio::buffer(std::string_view("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")));
    entered.recv();
    s.stop();  // waits for the answer in progress, which nobody reads
    const std::string got = read_all(c);
    EXPECT_LT(got.size(), size_t{64} << 20);
  });
}

TEST(admin_server, stop_lets_an_answer_finish_and_closes_what_waits) {
  warren::run([] {
    server s;
    const warren::chan<warren::unit> entered = warren::make_chan<warren::unit>(), leave = warren::make_chan<warren::unit>();
    s.handle("/slow", "", [&](const request&) {
      entered.send({});
      leave.recv();
      return response{.body = "done\n"};
    });
    s.start("127.0.0.1:0");
    warren::tcp_conn idle = warren::dial(s.address());
    idle.write(asio::buffer(std::string_view("GET / HTTP/1.1\r\nHost: x\r\n\r\n")));
    char chunk[4096];
    EXPECT_GT(idle.read_some(asio::buffer(chunk)), 0u);

    std::string answer;
    warren::wait_group asking, stopping;
    asking.go([&] { answer = ask(s, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"); });  // would be kept alive
    entered.recv();
    stopping.go([&] { s.stop(); });
    EXPECT_EQ(read_all(idle), "");  // stop() has begun: the idle connection is closed
    leave.send({});
    stopping.wait();
    asking.wait();
    EXPECT_TRUE(answer.ends_with("\r\n\r\ndone\n")) << answer;
    EXPECT_TRUE(has(answer, "Connection: close")) << answer;
    asio::error_code ec;
    warren::dial(s.address(), ec);
    EXPECT_TRUE(ec);
    s.stop();  // again: nothing
  });
}

TEST(admin_server, figures_count_answers_by_status) {
  warren::run([] {
    server s;
    s.start("127.0.0.1:0");
    get(s, "/");
    get(s, "/nowhere");
    get(s, "/nowhere");
    ask(s, "\x16\x03");
    s.stop();
    const figures f = s.read_figures();
    EXPECT_EQ(f.responses.at(200), 1u);
    EXPECT_EQ(f.responses.at(404), 2u);
    EXPECT_EQ(f.responses.at(400), 1u);
    EXPECT_EQ(f.connections_open, 0u);
  });
}

TEST(admin_server, a_port_in_use_is_one_line) {
  warren::run([] {
    server a, b;
    a.start("127.0.0.1:0");
    try {
      b.start(a.address());
      ADD_FAILURE();
    } catch (const warren::net_error& e) {
      EXPECT_TRUE(has(e.what(), a.address())) << e.what();
      EXPECT_FALSE(has(e.what(), "\n")) << e.what();
    }
  });
}

}  // namespace
