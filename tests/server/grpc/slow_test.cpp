// Peers that are slow on purpose, or half dead: in the preface, within a header block, in a request's body, with their windows. Each costs
// its own call or connection, and only that.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

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
const std::string kDeadline = "4";

// --- the preface -------------------------------------------------------------------------------------------------------------------------

TEST(slow_preface, a_byte_at_a_time_gains_nothing) {
  with_server({.preface_timeout = 50ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address(), false);
    const std::string preface(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    for (size_t i = 0; i + 1 < preface.size() && !c.write_error; i++) {
      c.send(preface.substr(i, 1));
      warren::sleep(5ms);
    }
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    EXPECT_TRUE(until([&] { return s.counters().connections_stalled == 1 && s.counters().connections_open == 0; }));
  });
}

// --- a header block ----------------------------------------------------------------------------------------------------------------------

// Opens a header block and never ends it, in one of three ways; what came before is done.
void expect_headers_cut_off(const std::function<void(raw_client&, const std::string& block)>& send) {
  // Long enough for a preface on a busy machine.
  with_server({.preface_timeout = 1500ms}, [&](grpc::server& s, text_service& svc) {
    raw_client other(s.address());
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "before").messages(), strings{"before"});
    send(c, c.encode(raw_client::request_fields(kEcho)));
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway.back().second, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(s.counters().connections_stalled, 1u);
    EXPECT_EQ(svc.ran, 1);
    EXPECT_EQ(other.call(kEcho, "other").messages(), strings{"other"});
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 1; }));
  });
}

TEST(slow_headers, a_frame_that_is_not_finished) {
  expect_headers_cut_off([](raw_client& c, const std::string& block) {
    const std::string f = raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, c.next_id(), block);
    c.send(f.substr(0, f.size() - 1));
  });
}

TEST(slow_headers, a_block_without_its_continuation) {
  expect_headers_cut_off([](raw_client& c, const std::string& block) { c.send_frame(NGHTTP2_HEADERS, 0, c.next_id(), block); });
}

TEST(slow_headers, a_continuation_that_trickles) {
  expect_headers_cut_off([](raw_client& c, const std::string& block) {
    const int32_t id = c.next_id();
    c.send_frame(NGHTTP2_HEADERS, 0, id, block);
    const std::string more = c.encode({{"x-long", std::string(12'000, 'l')}});
    const std::string f = raw_client::frame_bytes(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, more);
    c.send(f.substr(0, 9));
    for (size_t i = 9; i + 1 < f.size() && !c.write_error; i++) {
      c.send(f.substr(i, 1));
      warren::sleep(1ms);
    }
  });
}

// Blocks that end, or that come to nothing, leave no clock running.
TEST(slow_headers, what_has_ended_is_not_waited_for) {
  with_server({.preface_timeout = 1000ms}, [&](grpc::server& s, text_service&) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    const int32_t id = c.next_id();
    const std::string block = c.encode(raw_client::request_fields(kEcho));
    c.send_frame(NGHTTP2_HEADERS, 0, id, block.substr(0, 3));
    c.send_frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, block.substr(3));
    c.data(id, message("x"), true);
    EXPECT_EQ(c.wait(id).messages(), strings{"x"});
    // Malformed: a stream error in the middle of the block.
    EXPECT_EQ(c.wait(c.begin(raw_client::with(raw_client::request_fields(kEcho), "te", "gzip"))).reset, NGHTTP2_PROTOCOL_ERROR);
    // A bomb far over the limit.
    warren::testing::fields bomb = raw_client::request_fields(kEcho);
    for (int i = 0; i < 12'000; i++) bomb.emplace_back("x", "");
    const int32_t big = c.next_id();
    std::string_view left;
    const std::string bytes = c.encode(bomb);
    left = bytes;
    for (uint8_t type = NGHTTP2_HEADERS; !left.empty(); type = NGHTTP2_CONTINUATION) {
      const std::string_view part = left.substr(0, 16384);
      left.remove_prefix(part.size());
      c.send_frame(type, left.empty() ? NGHTTP2_FLAG_END_HEADERS : 0, big, part);
    }
    c.wait(big);
    EXPECT_TRUE(c.replies[big].ended);
    warren::sleep(1500ms);  // longer than any clock that might run on
    EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
    EXPECT_EQ(s.counters().connections_stalled, 0u);
  });
}

// --- a body ------------------------------------------------------------------------------------------------------------------------------

TEST(slow_body, one_message_must_come_in_time) {
  with_server({.request_timeout = 50ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t nothing = c.begin(raw_client::request_fields(kEcho));
    const int32_t trickling = c.begin(raw_client::request_fields("/test.Text/Stream"));
    const int32_t chat = c.begin(raw_client::request_fields("/test.Text/Chat"));  // a stream may take its time
    const std::string framed = message(std::string(100, 'x'));
    c.data(trickling, framed.substr(0, 50), false);
    EXPECT_EQ(c.wait(nothing).grpc_status(), kDeadline);
    EXPECT_EQ(c.wait(trickling).grpc_status(), kDeadline);
    EXPECT_NE(c.wait(nothing).trailer("grpc-message").find("request_timeout"), std::string::npos);
    EXPECT_EQ(s.counters().calls_slow, 2u);
    c.data(chat, message("late"), true);
    EXPECT_EQ(c.wait(chat).messages(), strings{"late"});
    // A handler that runs has its request; how long it takes is no business of that timeout.
    // (Its frames leave together: a pause between them is what the timeout is about.)
    const int32_t runs = c.next_id();
    c.send(
        raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, runs, c.encode(raw_client::request_fields("/test.Text/Wait"))) +
        raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, runs, message("w")));
    ASSERT_TRUE(until([&] { return svc.ran == 2; }));
    EXPECT_EQ(c.wait(c.begin(raw_client::request_fields(kEcho))).grpc_status(), kDeadline);
    svc.hold = false;
    EXPECT_EQ(c.wait(runs).messages(), strings{"w"});
  });
}

TEST(max_call_time, is_the_deadline_of_calls_that_have_none_or_a_later_one) {
  with_server({.max_call_time = 3'600'000ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Facts", "").messages(), strings{"/test.Text/Facts test 127.0.0.1: limited on"});
    EXPECT_EQ(c.call(kEcho, "x", {{"grpc-timeout", "1n"}}).grpc_status(), kDeadline);  // an earlier one stays
  });
  with_server({.max_call_time = 100ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/UntilDone", "").grpc_status(), kDeadline);
    EXPECT_EQ(c.call("/test.Text/UntilDone", "", {{"grpc-timeout", "1H"}}).grpc_status(), kDeadline);
    const int32_t chat = c.begin(raw_client::request_fields("/test.Text/Chat"));  // says nothing
    EXPECT_EQ(c.wait(chat).grpc_status(), kDeadline);
  });
}

// --- windows -----------------------------------------------------------------------------------------------------------------------------

std::string settings(uint16_t id, uint32_t value) { return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value); }

// The handlers have answered long ago; the connection's window, or each stream's, stays shut. Calls are given up one by one, and their
// memory with them; the client is charged for it.
TEST(zero_window, answers_nobody_takes_are_given_up) {
  for (const bool of_connection : {false, true}) {
    with_server({.write_timeout = 40ms}, [&](grpc::server& s, text_service&) {
      raw_client c(s.address());
      if (!of_connection) c.send_frame(NGHTTP2_SETTINGS, 0, 0, settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
      ASSERT_TRUE(c.ping());
      constexpr int kCalls = 20;
      std::vector<int32_t> ids;
      for (int i = 0; i < kCalls; i++) ids.push_back(c.start("/test.Text/Big", "60000"));
      int reset = 0;
      for (const int32_t id : ids) reset += c.wait(id).reset.has_value() ? 1 : 0;
      EXPECT_GE(reset, kCalls - 1);  // the connection's first window is as large as one answer
      EXPECT_EQ(s.counters().streams_stalled, static_cast<uint64_t>(reset));
      EXPECT_TRUE(c.ping());
    });
  }
}

// A window of one byte at a time: answers are cut into as many frames as the peer likes, which costs the peer as much as us; other streams
// and connections are served meanwhile.
TEST(tiny_window, others_are_served) {
  with_server([](grpc::server& s, text_service&) {
    raw_client slow(s.address());
    raw_client other(s.address());
    slow.send_frame(NGHTTP2_SETTINGS, 0, 0, settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1));
    ASSERT_TRUE(slow.ping());
    const int32_t id = slow.start(kEcho, std::string(300, 't'));
    for (int i = 0; i < 304; i++) {
      slow.window_update(id, 1);
      if (i % 100 == 0) {
        EXPECT_EQ(other.call(kEcho, "x").grpc_status(), "0");
      }
    }
    EXPECT_EQ(slow.wait(id).messages(), strings{std::string(300, 't')});
  });
}

// --- half-dead peers ---------------------------------------------------------------------------------------------------------------------

// The kernel gives up a peer that does not acknowledge what we sent, in the longer of keepalive_timeout and
// write_timeout. The server runs in this process: its descriptors
// are ours to look at.
TEST(half_dead, connections_have_a_user_timeout) {
  with_server({.write_timeout = 1000ms, .keepalive_timeout = 12'345ms}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    const auto port = static_cast<uint16_t>(std::stoi(s.address().substr(s.address().rfind(':') + 1)));
    int accepted = 0;
    for (int fd = 0; fd < 1024; fd++) {
      sockaddr_in local{};
      socklen_t size = sizeof local;
      if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0 || local.sin_family != AF_INET) continue;
      if (ntohs(local.sin_port) != port) continue;
      int listens = 0;
      size = sizeof listens;
      getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
      unsigned ms = 0;
      size = sizeof ms;
      ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size), 0);
      EXPECT_EQ(ms, 12'345u);
      accepted += listens == 0 ? 1 : 0;
    }
    EXPECT_EQ(accepted, 1);
  });
}

}  // namespace
