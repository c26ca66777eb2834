// How calls begin, wait, are cancelled and end: handlers in place and parked, back pressure, clients that vanish, shutdown.
#include <gtest/gtest.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

const std::string kEcho = "/test.Text/Echo";

grpc::method_counters counters_of(const grpc::server& s, const std::string& method) {
  for (auto& m : s.counters().methods) {
    if (m.method == method) return m;
  }
  return {};
}

// All requests lie in one segment: the first handler parks, and the ones behind it must be answered while it does.
TEST(call_life, a_handler_that_parks_does_not_hold_up_its_batch) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    const int32_t held = c.next_id();
    std::string bytes =
        raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, held, c.encode(raw_client::request_fields("/test.Text/Wait")));
    bytes += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, held, warren::testing::message("held"));
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; i++) {
      ids.push_back(c.next_id());
      bytes += raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, ids.back(), c.encode(raw_client::request_fields(kEcho)));
      bytes += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, ids.back(), warren::testing::message(std::to_string(i)));
    }
    c.send(bytes);
    for (int i = 0; i < 50; i++) EXPECT_EQ(c.wait(ids[static_cast<size_t>(i)]).messages(), std::vector<std::string>{std::to_string(i)});
    EXPECT_EQ(c.replies[held].shape, "");
    svc.hold = false;
    EXPECT_EQ(c.wait(held).messages(), std::vector<std::string>{"held"});
  });
}

// One segment with a call that parks and one that is refused: what the session owes (here the refusal and a ping's answer) must not wait
// for the handler.
TEST(call_life, what_is_owed_is_sent_although_every_handler_of_the_batch_parks) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    const int32_t refused = c.next_id();
    std::string bytes = raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, refused,
                                                c.encode(raw_client::request_fields("/test.Text/NoSuchMethod")));
    const int32_t held = c.next_id();
    bytes +=
        raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, held, c.encode(raw_client::request_fields("/test.Text/Wait")));
    bytes += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, held, warren::testing::message("held"));
    c.send(bytes);
    EXPECT_EQ(c.wait(refused).grpc_status(), "12");
    EXPECT_EQ(c.replies[held].shape, "");
    svc.hold = false;
    EXPECT_EQ(c.wait(held).messages(), std::vector<std::string>{"held"});
  });
}

// Handlers that compute for long share the idle Ps: two of one batch must be seen running at the same time.
TEST(call_life, a_batch_of_slow_handlers_is_shared) {
  with_server([](grpc::server& s, text_service& svc) {
    if (warren::maxprocs() < 2) return;
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    // The server must learn first that these are slow, and the other P may be busy with something else for one batch or another.
    for (int attempt = 0; attempt < 1000 && !svc.met; attempt++) {
      std::string bytes;
      std::vector<int32_t> ids;
      for (int i = 0; i < 2; i++) {
        ids.push_back(c.next_id());
        bytes += raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, ids.back(),
                                         c.encode(raw_client::request_fields("/test.Text/Spin")));
        bytes += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, ids.back(), warren::testing::message(""));
      }
      c.send(bytes);
      for (const int32_t id : ids) ASSERT_EQ(c.wait(id).grpc_status(), "0");
    }
    EXPECT_TRUE(svc.met);
  });
}

// Each looks every millisecond whether it may go on. Five hundred of them leave an instrumented build no time for anything else.
#if defined(__SANITIZE_THREAD__)
constexpr int kParked = 100;
#else
constexpr int kParked = 500;
#endif

TEST(call_life, many_handlers_park_at_once) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    std::vector<int32_t> ids;
    for (int i = 0; i < kParked; i++) ids.push_back(c.start("/test.Text/Wait", std::to_string(i)));
    ASSERT_TRUE(until([&] { return svc.ran == kParked; }));
    svc.hold = false;
    for (int i = 0; i < kParked; i++)
      EXPECT_EQ(c.wait(ids[static_cast<size_t>(i)]).messages(), std::vector<std::string>{std::to_string(i)});
  });
}

TEST(call_life, many_connections_many_calls) {
  with_server([](grpc::server& s, text_service&) {
    std::atomic<int> good{0};
    std::atomic<int> ended{0};
    constexpr int kClients = 20;
    constexpr int kCalls = 200;
    for (int k = 0; k < kClients; k++) {
      warren::go([&, k] {
        raw_client c(s.address());
        for (int i = 0; i < kCalls; i += 10) {
          std::vector<int32_t> ids;
          for (int j = 0; j < 10; j++) ids.push_back(c.start(kEcho, std::to_string(k * kCalls + i + j)));
          for (int j = 0; j < 10; j++) {
            if (c.wait(ids[static_cast<size_t>(j)]).messages() == std::vector<std::string>{std::to_string(k * kCalls + i + j)}) good++;
          }
        }
        ended++;
      });
    }
    EXPECT_TRUE(until([&] { return ended == kClients; }, 60s));
    EXPECT_EQ(good, kClients * kCalls);
    const auto m = counters_of(s, "Echo");
    EXPECT_EQ(m.started, static_cast<uint64_t>(kClients * kCalls));
    EXPECT_EQ(m.handled[0], m.started);
    EXPECT_EQ(m.messages_received, m.started);
    EXPECT_EQ(m.messages_sent, m.started);
    uint64_t in_buckets = 0;
    for (const uint64_t b : m.latency) in_buckets += b;
    EXPECT_EQ(in_buckets, m.started);
  });
}

TEST(call_life, stream_arrives_whole_and_in_order) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.start("/test.Text/Stream", "1000 50");
    while (!c.replies[id].ended && c.read_frame()) {
    }
    const auto got = c.replies[id].messages();
    ASSERT_EQ(got.size(), 1000u);
    for (size_t i = 0; i < got.size(); i++) ASSERT_EQ(got[i], std::string(50, static_cast<char>('a' + i % 26)));
    EXPECT_EQ(c.replies[id].grpc_status(), "0");
  });
}

// The client's window is shut: the writer must park once the send buffer is full, not fill the memory.
TEST(call_life, writer_parks_when_the_client_does_not_read) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = c.start("/test.Text/Stream", "1000 1000");
    c.wait_for(id, "HDDDD");
    ASSERT_TRUE(c.ping());
    // 64 KiB of window were filled, and the send buffer behind it; give or take a message.
    const auto settled = [&] {
      const int before = svc.writes;
      c.ping();
      return svc.writes == before;
    };
    ASSERT_TRUE(until(settled));
    EXPECT_EQ(c.replies[id].data.size(), 65535u);
    EXPECT_LT(svc.writes, 140);
    // The window opens: all comes.
    c.window_update(0, 10 << 20);
    c.window_update(id, 10 << 20);
    EXPECT_EQ(c.wait(id).messages().size(), 1000u);
    EXPECT_EQ(svc.returned, 1);
  });
}

TEST(call_life, reset_cancels_the_handler) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = c.start("/test.Text/UntilDone", "");
    ASSERT_TRUE(until([&] { return svc.ran == 1; }));
    c.reset(id);
    ASSERT_TRUE(until([&] { return svc.returned == 1; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::cancelled));
    EXPECT_TRUE(until([&] { return counters_of(s, "UntilDone").handled[1] == 1; }));
    EXPECT_EQ(c.call(kEcho, "on").grpc_status(), "0");
  });
}

// More than a connection keeps for the next: what posted the end of a handler goes on after the call object is gone, which is for
// AddressSanitizer to see.
TEST(call_life, hundreds_of_handlers_outlive_their_calls) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    std::vector<int32_t> ids;
    for (int i = 0; i < 300; i++) ids.push_back(c.start("/test.Text/Wait", ""));
    ASSERT_TRUE(until([&] { return svc.ran == 300; }));
    for (const int32_t id : ids) c.reset(id);
    ASSERT_TRUE(until([&] { return counters_of(s, "Wait").handled[1] == 300; }));
    svc.hold = false;
    ASSERT_TRUE(until([&] { return svc.returned == 300; }));
    EXPECT_EQ(c.call(kEcho, "on").grpc_status(), "0");
  });
}

TEST(call_life, reset_wakes_a_parked_writer) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = c.start("/test.Text/Stream", "1000 10000");
    c.wait_for(id, "HDDDD");
    c.reset(id);
    ASSERT_TRUE(until([&] { return svc.returned == 1; }));
    EXPECT_EQ(svc.cancelled, 1);
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::cancelled));
  });
}

TEST(call_life, vanished_client_cancels_everything) {
  with_server([](grpc::server& s, text_service& svc) {
    {
      raw_client c(s.address());
      for (int i = 0; i < 10; i++) c.start("/test.Text/UntilDone", "");
      c.start("/test.Text/Hang", "");
      c.start("/test.Text/Stream", "1000 10000");
      ASSERT_TRUE(until([&] { return svc.ran == 12; }));
      ASSERT_TRUE(until([&] { return svc.writes > 3; }));
    }
    EXPECT_TRUE(until([&] { return svc.returned == 12; }));
    EXPECT_EQ(svc.cancelled, 12);
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 0; }));
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "on").grpc_status(), "0");
  });
}

TEST(call_life, client_that_never_reads_is_cut_off) {
  with_server({.write_timeout = 100ms}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    c.window_update(0, 1 << 30);
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + warren::testing::be32(1 << 30));
    c.start("/test.Text/Stream", "100000 10000");  // 1 GB that nobody takes from the socket
    EXPECT_TRUE(until([&] { return svc.returned == 1; }));
    EXPECT_EQ(svc.cancelled, 1);
    EXPECT_EQ(s.counters().connections_stalled, 1u);
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 0; }));
  });
}

TEST(call_life, requests_that_wait_for_their_end_are_bounded) {
  with_server({.max_buffered_requests = 100'000}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    std::vector<int32_t> ids;
    for (int i = 0; i < 10; i++) {
      ids.push_back(c.begin(raw_client::request_fields(kEcho)));
      c.data(ids.back(), warren::testing::message(std::string(16'000, 'x')).substr(0, 16'000), false);  // 5 bytes are missing
    }
    ASSERT_TRUE(c.ping());
    ASSERT_TRUE(c.ping());  // the first one's echo may overtake answers of its own batch
    int refused = 0;
    for (const int32_t id : ids) refused += c.replies[id].grpc_status() == "8";
    EXPECT_EQ(refused, 4);  // the seventh is over; each refusal gives its own bytes back, so the others stay within
    EXPECT_EQ(c.call(kEcho, "small").grpc_status(), "0");
  });
}

TEST(call_life, shutdown_waits_for_what_runs) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = c.start("/test.Text/Wait", "held");
    ASSERT_TRUE(until([&] { return svc.ran == 1; }));
    std::atomic<bool> stopped{false};
    warren::go([&] {
      s.shutdown(60s);
      stopped = true;
    });
    while (c.goaway.size() < 2 && c.read_frame()) {
    }
    EXPECT_FALSE(stopped);
    // Nobody new gets in.
    EXPECT_THROW(raw_client late(s.address()), std::system_error);
    svc.hold = false;
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"held"});
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    EXPECT_TRUE(until([&] { return stopped.load(); }));
  });
}

TEST(call_life, shutdown_out_of_time_cancels_and_answers_unavailable) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t unary = c.start("/test.Text/UntilDone", "");
    const int32_t stream = c.start("/test.Text/Hang", "");
    ASSERT_TRUE(until([&] { return svc.ran == 2; }));
    std::atomic<bool> stopped{false};
    warren::go([&] {
      s.shutdown(10ms);
      stopped = true;
    });
    EXPECT_EQ(c.wait(unary).grpc_status(), "14");
    EXPECT_EQ(c.wait(stream).grpc_status(), "14");
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    EXPECT_TRUE(until([&] { return stopped.load(); }));
    EXPECT_EQ(svc.returned, 2);
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::unavailable));
  });
}

TEST(call_life, shutdown_of_an_idle_server_with_idle_clients) {
  with_server([](grpc::server& s, text_service&) {
    raw_client a(s.address());
    raw_client b(s.address());
    ASSERT_TRUE(a.ping());
    ASSERT_TRUE(b.ping());
    warren::go([&] { a.wait_closed(); });
    warren::go([&] { b.wait_closed(); });
    s.shutdown(60s);
    EXPECT_EQ(s.counters().connections_open, 0u);
    EXPECT_TRUE(until([&] { return a.closed && b.closed; }));
  });
}

TEST(call_life, the_context_of_a_call_ends_with_it_and_has_its_deadline) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Context", "").messages(), std::vector<std::string>{"same deadline on"});
    // The handler has returned: what it gave its context to is told so.
    EXPECT_TRUE(until([&] { return svc.kept.err() == warren::context_errc::canceled; }));
    EXPECT_EQ(c.call("/test.Text/Context", "", {{"grpc-timeout", "1H"}}).messages(), std::vector<std::string>{"same deadline on"});
    EXPECT_TRUE(svc.kept.deadline().has_value());
    // A sleep under a child of it ends when the caller has gone, and when its time is over.
    const int32_t id = c.start("/test.Text/Context", "", {{"x-wait", "1"}});
    ASSERT_TRUE(until([&] { return svc.ran == 3; }));
    c.reset(id);
    ASSERT_TRUE(until([&] { return svc.returned == 3; }));
    EXPECT_EQ(svc.last, "same deadline on gone");
    EXPECT_EQ(c.call("/test.Text/Context", "", {{"x-wait", "1"}, {"grpc-timeout", "20m"}}).grpc_status(), "4");
    ASSERT_TRUE(until([&] { return svc.returned == 4; }));
    EXPECT_EQ(svc.last, "same deadline on late");
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::deadline_exceeded));
  });
}

TEST(call_life, misuse_is_told) {
  with_server([](grpc::server& s, text_service& svc) {
    EXPECT_THROW(s.add(svc), std::logic_error);
    EXPECT_THROW(s.start(), std::logic_error);
    grpc::server second({.listen = s.address()});
    try {
      second.start();
      ADD_FAILURE() << "the port was free";
    } catch (const std::system_error& e) {
      EXPECT_NE(std::string(e.what()).find("already in use"), std::string::npos) << e.what();
    }
    grpc::server twice;
    twice.add(svc);
    EXPECT_THROW(twice.add(svc), std::logic_error);
  });
}

}  // namespace
