// What a connection does as time passes: keepalive, idleness, age, answers nobody takes, the end; and how many of everything there may be.
#include <gtest/gtest.h>

#include "server/http2/limits.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::be32;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";
const std::string kWait = "/test.Text/Wait";
const std::string kUnavailable = "14";

// --- spares ------------------------------------------------------------------------------------------------------------------------------

// Connections without a call lend what calls are made of to others: a call is of the connection that it came on, all the same.
TEST(spares, a_call_knows_its_connection_whoever_had_the_object_before) {
  with_server([](grpc::server& s, text_service& svc) {
    const auto port_of = [](raw_client& c) {
      return "127.0.0.1:" + std::to_string(dynamic_cast<warren::tcp_conn&>(c.socket()).local_endpoint().port());
    };
    raw_client a(s.address());
    raw_client b(s.address());
    for (int i = 0; i < 20; i++) {
      for (raw_client* const c : {&a, &b}) EXPECT_EQ(c->call("/test.Text/Peer", "").messages(), strings{port_of(*c)});
    }
    // More at once than there are places for spares; then all are idle, and called again.
    std::vector<std::unique_ptr<raw_client>> many;
    for (int i = 0; i < 40; i++) many.push_back(std::make_unique<raw_client>(s.address()));
    std::vector<int32_t> waiting;
    for (const auto& c : many) waiting.push_back(c->start("/test.Text/Wait", "w"));
    ASSERT_TRUE(until([&] { return svc.ran == 40; }));
    svc.hold = false;
    for (size_t i = 0; i < many.size(); i++) EXPECT_EQ(many[i]->wait(waiting[i]).messages(), strings{"w"});
    for (int round = 0; round < 3; round++) {
      for (const auto& c : many) EXPECT_EQ(c->call("/test.Text/Peer", "").messages(), strings{port_of(*c)});
      many.resize(many.size() / 2);  // the others' ends give theirs back too
    }
  });
}

// --- keepalive ---------------------------------------------------------------------------------------------------------------------------

TEST(keepalive, a_quiet_peer_is_pinged_and_lives_if_it_answers) {
  with_server({.keepalive_time = 10ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    while (c.pings_received < 3 && !c.closed) ASSERT_TRUE(c.read_frame());
    EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
    EXPECT_EQ(s.counters().connections_dead, 0u);
  });
}

TEST(keepalive, a_peer_that_does_not_answer_is_ended) {
  with_server({.keepalive_time = 10ms, .keepalive_timeout = 20ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    c.acknowledge = false;
    const int32_t id = c.start("/test.Text/UntilDone", "");
    c.wait(id);
    EXPECT_TRUE(c.closed);
    EXPECT_FALSE(c.timed_out);
    EXPECT_EQ(s.counters().connections_dead, 1u);
    EXPECT_TRUE(until([&] { return svc.cancelled == 1 && s.counters().connections_open == 0; }));
  });
}

TEST(keepalive, rule_47_too_many_pings) {
  with_server({.min_ping_interval = 3'600'000ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    // What belongs to a call forgives the pings before.
    for (int i = 0; i < 5; i++) {
      EXPECT_TRUE(c.ping());
      EXPECT_TRUE(c.ping());
      EXPECT_TRUE(c.ping());
      EXPECT_EQ(c.call(kEcho, "x").grpc_status(), "0");
    }
    for (int i = 0; i < 3; i++) EXPECT_TRUE(c.ping());
    c.ping();
    c.wait_closed();
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway[0].second, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(c.goaway_debug[0], "too_many_pings");
    EXPECT_EQ(s.counters().connections_abused, 1u);
  });
}

// --- idleness and age
// ---------------------------------------------------------------------------------------------------------------------

TEST(max_idle, tells_to_go_and_closes) {
  with_server({.max_connection_idle = 20ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "x").grpc_status(), "0");
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    ASSERT_EQ(c.goaway.size(), 2u);
    EXPECT_EQ(c.goaway[0], std::pair(INT32_MAX, uint32_t{NGHTTP2_NO_ERROR}));
    EXPECT_EQ(c.goaway[1], std::pair(int32_t{1}, uint32_t{NGHTTP2_NO_ERROR}));
    EXPECT_EQ(c.goaway_debug[1], "max_idle");
    EXPECT_EQ(s.counters().connections_idle, 1u);
  });
}

TEST(max_idle, a_call_that_runs_is_no_idleness) {
  with_server({.max_connection_idle = 200ms}, [](grpc::server& s, text_service& svc) {  // enough for the call to come before
    raw_client c(s.address());
    const int32_t id = c.start(kWait, "x");
    ASSERT_TRUE(until([&] { return svc.ran == 1; }));
    raw_client other(s.address());
    other.wait_closed();  // its idle time is over, and with it more than ours would have been
    EXPECT_TRUE(c.ping());
    EXPECT_TRUE(c.goaway.empty());
    svc.hold = false;
    EXPECT_EQ(c.wait(id).messages(), strings{"x"});
    c.wait_closed();
    EXPECT_EQ(c.goaway.size(), 2u);
  });
}

TEST(rule_46_max_age, two_steps_and_what_runs_goes_on) {
  with_server({.max_connection_age = 50ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t held = c.start(kWait, "held");
    while (c.goaway.empty() && !c.closed) ASSERT_TRUE(c.read_frame());
    EXPECT_EQ(c.goaway[0].first, INT32_MAX);
    while (c.goaway.size() < 2 && !c.closed) ASSERT_TRUE(c.read_frame());
    EXPECT_EQ(c.goaway[1].first, held);
    EXPECT_EQ(c.goaway_debug[1], "max_age");
    svc.hold = false;
    EXPECT_EQ(c.wait(held).messages(), strings{"held"});
    c.wait_closed();
    EXPECT_EQ(s.counters().connections_aged, 1u);
  });
}

TEST(rule_46_max_age, after_the_grace_what_runs_is_cancelled) {
  with_server({.max_connection_age = 20ms, .max_connection_age_grace = 30ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t held = c.start("/test.Text/UntilDone", "");
    EXPECT_EQ(c.wait(held).grpc_status(), kUnavailable);
    c.wait_closed();
    EXPECT_TRUE(until([&] { return svc.cancelled == 1 && s.counters().connections_open == 0; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::unavailable));
  });
}

// --- answers nobody takes
// -----------------------------------------------------------------------------------------------------------------

std::string settings(uint16_t id, uint32_t value) { return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value); }

TEST(stalled_answer, a_shut_window_costs_the_call) {
  with_server({.write_timeout = 40ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
    ASSERT_TRUE(c.ping());
    const int32_t unary = c.start(kEcho, "never taken");
    const int32_t streaming = c.start("/test.Text/Stream", "3 1000");
    EXPECT_EQ(c.wait(unary).reset, NGHTTP2_CANCEL);
    EXPECT_EQ(c.wait(streaming).reset, NGHTTP2_CANCEL);
    EXPECT_EQ(c.wait(unary).shape, "HR");
    EXPECT_EQ(s.counters().streams_stalled, 2u);
    EXPECT_EQ(svc.returned, 2);
    // The connection goes on, and a window that opens in time is in time.
    const int32_t late = c.start(kEcho, "taken");
    c.wait_for(late, "H");
    c.window_update(late, 1000);
    EXPECT_EQ(c.wait(late).messages(), strings{"taken"});
  });
}

TEST(stalled_answer, slow_progress_is_progress) {
  with_server({.write_timeout = 1000ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
    ASSERT_TRUE(c.ping());
    const int32_t id = c.start(kEcho, "0123456789");
    for (int i = 0; i < 15; i++) {  // the prefix and the message, a byte at a time, for longer than the timeout in all
      warren::sleep(100ms);
      c.window_update(id, 1);
    }
    EXPECT_EQ(c.wait(id).messages(), strings{"0123456789"});
    EXPECT_EQ(s.counters().streams_stalled, 0u);
  });
}

// --- the end -----------------------------------------------------------------------------------------------------------------------------

// Neither who said nothing yet, nor who does not answer the drain's PING, holds up a shutdown until its timeouts.
TEST(shutdown, silent_peers_do_not_hold_it_up) {
  with_server([](grpc::server& s, text_service&) {
    raw_client mute(s.address(), false);
    raw_client quiet(s.address());
    EXPECT_EQ(quiet.call(kEcho, "x").grpc_status(), "0");
    ASSERT_TRUE(until([&] { return s.counters().connections_open == 2; }));
    const auto begin = std::chrono::steady_clock::now();
    s.shutdown(60s);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::nanoseconds(warren::http2::kDrainPingNs));
    EXPECT_EQ(s.counters().connections_open, 0u);
  });
}

TEST(shutdown, a_stalled_answer_does_not_hold_it_up_for_ever) {
  with_server({.write_timeout = 40ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
    ASSERT_TRUE(c.ping());
    c.wait_for(c.start(kEcho, "never taken"), "H");
    auto over = warren::make_chan<warren::unit>(0);
    warren::go([&c, over]() mutable {
      c.wait_closed();  // answers the drain's PING
      over.close();
    });
    s.shutdown(std::chrono::hours(1));
    over.recv();
    EXPECT_EQ(s.counters().streams_stalled, 1u);
  });
}

// --- how many ----------------------------------------------------------------------------------------------------------------------------

TEST(limits, concurrent_calls_of_the_server_and_of_a_method) {
  warren::run([] {
    text_service svc;
    grpc::server s({.listen = "127.0.0.1:0", .max_concurrent_calls = 2});
    s.add(svc);
    EXPECT_THROW(s.limit("/test.Text/Nope", 1), std::logic_error);
    EXPECT_THROW(s.limit(kWait, 0), std::logic_error);
    s.limit("/test.Text/UntilDone", 1);
    s.start();
    EXPECT_THROW(s.limit(kWait, 1), std::logic_error);
    raw_client a(s.address());
    raw_client b(s.address());
    const int32_t first = a.start(kWait, "1");
    const int32_t second = b.start(kWait, "2");
    ASSERT_TRUE(until([&] { return svc.ran == 2; }));
    EXPECT_EQ(a.call(kEcho, "x").grpc_status(), kUnavailable);
    EXPECT_EQ(b.wait(b.begin(raw_client::request_fields("/test.Text/Chat"))).grpc_status(), kUnavailable);
    // A method with a limit of its own counts against that.
    const int32_t own = a.start("/test.Text/UntilDone", "");
    ASSERT_TRUE(until([&] { return svc.ran == 3; }));
    EXPECT_EQ(b.call("/test.Text/UntilDone", "").grpc_status(), kUnavailable);
    EXPECT_EQ(s.counters().calls_over_limit, 3u);
    // A cancelled call counts until its handler has returned.
    a.reset(own);
    ASSERT_TRUE(until([&] { return svc.returned == 1; }));
    svc.hold = false;
    EXPECT_EQ(a.wait(first).messages(), strings{"1"});
    EXPECT_EQ(b.wait(second).messages(), strings{"2"});
    for (int i = 0; i < 10; i++) EXPECT_EQ(a.call(kEcho, "x").grpc_status(), "0");
    const int32_t again = b.start("/test.Text/UntilDone", "");
    ASSERT_TRUE(until([&] { return svc.ran >= 14; }));
    b.reset(again);
    s.shutdown(0ns);
  });
}

TEST(limits, connections) {
  with_server({.max_connections = 2}, [](grpc::server& s, text_service&) {
    raw_client a(s.address());
    auto b = std::make_unique<raw_client>(s.address());
    ASSERT_TRUE(a.ping());
    ASSERT_TRUE(b->ping());
    raw_client over(s.address());
    EXPECT_EQ(over.read_all(), "");
    EXPECT_EQ(s.counters().connections_refused, 1u);
    b.reset();
    ASSERT_TRUE(until([&] { return s.counters().connections_open == 1; }));
    raw_client c(s.address());
    EXPECT_TRUE(c.ping());
    EXPECT_EQ(a.call(kEcho, "x").grpc_status(), "0");
  });
}

}  // namespace
