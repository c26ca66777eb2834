// Waiting for a stream without a stack.
#include <asio/write.hpp>
#include <random>

#include "stackless_reader.h"
#include "warren/process.h"
#include "warren/stats.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

TEST(go_when_readable, nobody_is_there_until_data_comes) {
  warren::run([] {
    pair p = connected();
    const int64_t before = read_scheduler_stats().goroutines;
    stackless_reader r(p.b);
    r.begin();
    EXPECT_EQ(rt::poller::made().waiters(), 1) << "something waits";
    while (read_scheduler_stats().goroutines != before) yield();  // and it is no goroutine; the first is in its last instructions
    EXPECT_EQ(rt::poller::made().waiters(), 1);
    p.a.write(asio::buffer("hi", 2));
    r.wait_for_bytes(2);
    until_parked(1);
    EXPECT_EQ(r.goroutines(), 2);
    p.a.write(asio::buffer("!", 1));
    p.a.close();
    r.wait_for_end();
    EXPECT_EQ(r.error(), asio::error::eof);
    EXPECT_EQ(r.text(), "hi!");
    EXPECT_EQ(rt::poller::made().waiters(), 0);
    while (read_scheduler_stats().goroutines != before) yield();
  });
}

TEST(go_when_readable, what_is_there_needs_no_goroutine) {
  warren::run([] {
    pair p = connected();
    p.a.write(asio::buffer("abc", 3));
    p.b.wait_readable();
    error_code ec = asio::error::eof;
    EXPECT_FALSE(p.b.go_when_readable([](void*) { FAIL(); }, nullptr, ec));
    EXPECT_FALSE(ec);
    // Nor what a read has left over, which no further edge announces.
    char b[2];
    EXPECT_EQ(p.b.read_some(asio::buffer(b)), 2u);
    EXPECT_FALSE(p.b.go_when_readable([](void*) { FAIL(); }, nullptr, ec));
    EXPECT_FALSE(ec);
  });
}

TEST(go_when_readable, fails_as_a_wait_does) {
  warren::run([] {
    pair p = connected();
    const auto never = [](void*) { FAIL(); };
    error_code ec;
    p.b.read_deadline(-1ns);
    EXPECT_FALSE(p.b.go_when_readable(never, nullptr, ec));
    EXPECT_EQ(ec, asio::error::timed_out);
    p.b.close();
    EXPECT_FALSE(p.b.go_when_readable(never, nullptr, ec));
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    tcp_conn none;
    EXPECT_FALSE(none.go_when_readable(never, nullptr, ec));
    EXPECT_EQ(ec, asio::error::bad_descriptor);
  });
}

// Close waits for who is started by it, as it does for who is parked.
TEST(go_when_readable, close_starts_it) {
  warren::run([] {
    pair p = connected();
    stackless_reader r(p.b);
    r.begin();
    p.b.close();
    EXPECT_EQ(p.b.native_handle(), -1);
    r.wait_for_end();
    EXPECT_EQ(r.error(), asio::error::bad_descriptor) << "begun after the close";
    EXPECT_EQ(r.goroutines(), 2);
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

TEST(go_when_readable, a_foreign_thread_closes) {
  warren::run([] {
    pair p = connected();
    stackless_reader r(p.b);
    r.begin();
    std::thread outside([&] { p.b.close(); });
    r.wait_for_end();
    outside.join();
    EXPECT_EQ(r.error(), asio::error::bad_descriptor);
  });
}

TEST(go_when_readable, deadlines) {
  warren::run([] {
    pair p = connected();
    stackless_reader r(p.b);
    p.b.read_deadline(24h);
    r.begin();
    p.b.read_deadline(12h);  // starts it, to arm the timer anew
    while (r.goroutines() < 2) yield();
    until_parked(1);
    p.b.read_deadline(24h);  // later: nobody need know
    EXPECT_EQ(r.goroutines(), 2);
    p.b.read_deadline(1ms);
    r.wait_for_end();
    EXPECT_EQ(r.error(), asio::error::timed_out);
  });
}

// A run that ends does not start whoever waits, and the descriptor can be closed in the next.
TEST(go_when_readable, a_run_ends_meanwhile) {
  pair p;
  std::atomic<int> started{0};
  warren::run([&] {
    p = connected();
    error_code ec;
    EXPECT_TRUE(p.b.go_when_readable([](void* n) { ++*static_cast<std::atomic<int>*>(n); }, &started, ec));
  });
  warren::run([&] {
    p.a.write(asio::buffer("late", 4));
    poll_now();
    p.b.close();
    for (int i = 0; i < 100; ++i) yield();
  });
  EXPECT_EQ(started, 0);
}

// A stream that knows no other way parks.
TEST(go_when_readable, another_kind_of_stream_parks) {
  warren::run([] {
    process p = spawn_process({.program = "/bin/echo", .arguments = {"said"}, .output = process_io::pipe()});
    stackless_reader r(p.output());
    r.begin();
    r.wait_for_end();
    EXPECT_EQ(r.text(), "said\n");
    EXPECT_EQ(r.goroutines(), 1);
    p.wait();
  });
}

// Bytes of many sizes, with and without a wait between them: none is lost, none comes twice, and the reader never sleeps over one.
TEST(go_when_readable, many_messages) {
  warren::run([] {
    pair p = connected();
    stackless_reader r(p.b);
    r.begin();
    std::minstd_rand random(11);
    std::string sent;
    for (int i = 0; i < 3000; ++i) {
      const std::string m(1 + random() % 700, static_cast<char>(i));
      p.a.write(asio::buffer(m));
      sent += m;
      switch (i % 4) {
        case 0: r.wait_for_bytes(sent.size()); break;
        case 1: yield(); break;
        default: break;
      }
    }
    p.a.shutdown(asio::socket_base::shutdown_send);
    r.wait_for_end();
    EXPECT_TRUE(r.text() == sent);
    EXPECT_EQ(r.error(), asio::error::eof);
    EXPECT_GT(r.goroutines(), 100);
  });
}

}  // namespace
}  // namespace warren::net_test
