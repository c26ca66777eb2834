// Methods that take or send streams: order, ends, flow control by consumption, cancellation, bounds.
#include <gtest/gtest.h>

#include "server/grpc/wire.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";
const std::string kUpload = "/test.Text/Upload";
const std::string kLateUpload = "/test.Text/LateUpload";
const std::string kChat = "/test.Text/Chat";

int32_t begin(raw_client& c, const std::string& path, const warren::testing::fields& extra = {}) {
  warren::testing::fields f = raw_client::request_fields(path);
  f.insert(f.end(), extra.begin(), extra.end());
  return c.begin(f);
}

// A message as DATA frames that fit the server's limit.
void send_large(raw_client& c, int32_t id, const std::string& framed, bool end = false) {
  constexpr size_t kFrame = 16 << 10;
  for (size_t at = 0; at < framed.size(); at += kFrame) {
    c.data(id, std::string_view(framed).substr(at, kFrame), end && at + kFrame >= framed.size());
  }
}

// --- client streaming --------------------------------------------------------------------------------------------------------------------

TEST(client_streaming, messages_in_one_frame_and_in_many) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    int32_t id = begin(c, kUpload);
    std::string all;
    for (int i = 0; i < 100; i++) all += message(std::string(1, 'm') + std::to_string(i));
    c.data(id, all, true);
    EXPECT_EQ(c.wait(id).messages(), strings{"100 290 m99"});
    EXPECT_EQ(c.wait(id).shape, "HDh");
    id = begin(c, kUpload);
    for (const char byte : message("one") + message("") + message("three")) c.data(id, {&byte, 1}, false);
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).messages(), strings{"3 8 three"});
    EXPECT_EQ(svc.returned, 2);
    for (const auto& m : s.counters().methods) {
      if (m.method != "Upload") continue;
      EXPECT_EQ(m.messages_received, 103u);
      EXPECT_EQ(m.messages_sent, 2u);
    }
  });
}

TEST(client_streaming, no_message_at_all) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.wait(c.begin(raw_client::request_fields(kUpload), true)).messages(), strings{"0 0 "});
    const int32_t id = begin(c, kUpload);
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).messages(), strings{"0 0 "});
    EXPECT_EQ(c.wait(id).grpc_status(), "0");
  });
}

TEST(client_streaming, the_prefix_may_be_cut_anywhere) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const std::string both = message("first") + message("second");
    for (size_t cut = 1; cut < both.size(); cut++) {
      const int32_t id = begin(c, kUpload);
      c.data(id, std::string_view(both).substr(0, cut), false);
      if (cut >= 10) {  // the handler has taken the first message and waits within the second
        const int before = svc.returned;
        EXPECT_TRUE(until([&] { return svc.reads == 2 * before + 1; }));
      }
      c.data(id, std::string_view(both).substr(cut), true);
      EXPECT_EQ(c.wait(id).messages(), strings{"2 11 second"}) << cut;
    }
  });
}

// RST_STREAM(NO_ERROR) tells a client that still sends to stop.
TEST(client_streaming, a_handler_may_answer_before_the_last_message) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kUpload);
    c.data(id, message("a") + message("enough") + message("b"), false);
    reply r = c.wait_for(id, "HDhR");
    EXPECT_EQ(r.messages(), strings{"had enough"});
    EXPECT_EQ(r.reset, NGHTTP2_NO_ERROR);
    const int32_t failing = begin(c, kUpload);
    c.data(failing, message("no"), false);
    r = c.wait_for(failing, "hR");
    EXPECT_EQ(r.grpc_status(), "9");
    EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
  });
}

TEST(client_streaming, rule_26_an_end_within_a_message_is_internal) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    for (const size_t cut : {1u, 4u, 5u, 7u}) {
      const int32_t id = begin(c, kUpload);
      c.data(id, message("x") + message("abc").substr(0, cut), true);
      const reply r = c.wait(id);
      EXPECT_EQ(r.grpc_status(), "13") << cut;
      EXPECT_EQ(r.shape, "h") << cut;
    }
  });
}

TEST(client_streaming, bad_messages_end_the_call_and_nothing_else) {
  with_server({.max_receive_message = 1000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const std::pair<std::string, std::string> cases[] = {
        {message("x", 2), "13"},                                  // rule 19: flag
        {message("x", 1), "13"},                                  // rule 22: compressed without an encoding
        {message("fine") + std::string("\0\0\0\x10\0", 5), "8"},  // rule 21: judged before the message came
        {message("unparsable"), "13"},                            // rule 30
    };
    for (const auto& [bytes, status] : cases) {
      const int32_t id = begin(c, kUpload);
      c.data(id, bytes, false);
      EXPECT_EQ(c.wait(id).grpc_status(), status) << c.wait(id).trailer("grpc-message");
    }
    EXPECT_TRUE(until([&] { return svc.returned == 4; }));
    EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
  });
}

// --- both ways ---------------------------------------------------------------------------------------------------------------------------

TEST(bidi, ping_pong) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kChat);
    for (int i = 0; i < 200; i++) {
      c.data(id, message("ball " + std::to_string(i)), false);
      while (c.replies[id].messages().size() < static_cast<size_t>(i) + 1 && !c.closed) ASSERT_TRUE(c.read_frame());
      ASSERT_EQ(c.replies[id].messages().back(), "ball " + std::to_string(i));
    }
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).grpc_status(), "0");
  });
}

TEST(bidi, many_streams_at_once_keep_their_order) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    constexpr int kStreams = 50;
    constexpr int kMessages = 40;
    std::vector<int32_t> ids;
    for (int k = 0; k < kStreams; k++) ids.push_back(begin(c, kChat));
    for (int i = 0; i < kMessages; i++) {
      for (const int32_t id : ids) c.data(id, message(std::to_string(id) + "/" + std::to_string(i)), i + 1 == kMessages);
    }
    for (const int32_t id : ids) {
      const strings got = c.wait(id).messages();
      ASSERT_EQ(got.size(), static_cast<size_t>(kMessages));
      for (int i = 0; i < kMessages; i++) EXPECT_EQ(got[static_cast<size_t>(i)], std::to_string(id) + "/" + std::to_string(i));
    }
    EXPECT_EQ(svc.returned, kStreams);
  });
}

// Each message in a frame of its own, as grpc-go sends them: no flood, though each frame is tiny. Frames that bring no message are one.
TEST(client_streaming, tiny_messages_are_no_flood_and_tiny_pieces_are) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kUpload);
    std::string frames;
    for (int i = 0; i < 5000; i++) frames += raw_client::frame_bytes(NGHTTP2_DATA, 0, id, message("t"));
    c.send(frames);
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).messages(), strings{"5000 5000 t"});
    const int32_t bad = begin(c, kUpload);
    frames.clear();
    for (const char byte : message(std::string(300, 'p'))) frames += raw_client::frame_bytes(NGHTTP2_DATA, 0, bad, {&byte, 1});
    c.send(frames);
    c.wait_closed();
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway.back().second, NGHTTP2_ENHANCE_YOUR_CALM);
  });
}

TEST(bidi, an_empty_stream_is_ok_and_has_no_message) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kChat);
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).shape, "Hh");
    EXPECT_EQ(c.wait(id).grpc_status(), "0");
  });
}

TEST(bidi, one_goroutine_reads_while_another_writes) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = begin(c, "/test.Text/Duplex");
    for (int i = 0; i < 50; i++) c.data(id, message("noise"), false);
    c.wait_for(id, "HD");
    c.data(id, message("stop"), true);
    // Without a window the writer stands still; it must get to know all the same.
    size_t seen = 0;
    while (!c.replies[id].ended && !c.closed && c.read_frame()) {
      const auto got = static_cast<uint32_t>(c.replies[id].data.size() - std::exchange(seen, c.replies[id].data.size()));
      if (got == 0) continue;
      c.window_update(0, got);
      c.window_update(id, got);
    }
    EXPECT_EQ(c.replies[id].grpc_status(), "0");
    EXPECT_EQ(svc.reads, 51);
    EXPECT_EQ(svc.returned, 1);
  });
}

// When a handler parks, who runs the batch asks whether its call borrows bytes of the read: whatever another goroutine reads meanwhile.
TEST(bidi, a_goroutine_reads_before_the_handler_has_parked) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (int i = 0; i < 20; i++) {
      const int32_t id = c.next_id();
      const std::string headers = c.encode(raw_client::request_fields("/test.Text/ReadAhead"));
      c.send(raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, headers) +
             raw_client::frame_bytes(NGHTTP2_DATA, 0, id, message("early")));
      c.data(id, message("late"), true);
      EXPECT_EQ(c.wait(id).grpc_status(), "0");
    }
    EXPECT_EQ(svc.reads, 40);
  });
}

// What a handler writes without parking, and what handlers that are ready at the same time write, goes to the socket together.
TEST(small_messages, leave_together) {
  with_server([](grpc::server& s, text_service&) {
    const int before = warren::set_maxprocs(1);  // else another P may write while the handler does
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    uint64_t writes = s.counters().writes;
    EXPECT_EQ(c.call("/test.Text/Stream", "1000 10").messages().size(), 1000u);
    EXPECT_LT(s.counters().writes - writes, 100u);  // but for the end of a slice, one: they are less than the send buffer

    std::vector<int32_t> chats;
    for (int i = 0; i < 50; i++) chats.push_back(begin(c, kChat));
    ASSERT_TRUE(c.ping());
    writes = s.counters().writes;
    std::string all;
    for (const int32_t id : chats) all += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, message("x"));
    c.send(all);
    for (const int32_t id : chats) EXPECT_EQ(c.wait(id).messages(), strings{"x"});
    EXPECT_LT(s.counters().writes - writes, 25u);
    warren::set_maxprocs(before);
  });
}

// --- flow control by consumption (rule 50)
// --------------------------------------------------------------------------------------------------

TEST(flow_control, a_handler_that_does_not_read_stops_its_own_caller_only) {
  constexpr uint32_t kWindow = 65'535;
  with_server({.stream_window = kWindow}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t stuck = begin(c, kLateUpload);
    const std::string filler = message(std::string(kWindow - 5, 'f'));
    send_large(c, stuck, filler);
    ASSERT_TRUE(until([&] { return svc.ran == 1; }));
    ASSERT_TRUE(c.ping());
    // Its window is not opened; the connection's is, and others go on.
    EXPECT_EQ(c.stream_window_updates[stuck], 0);
    for (int i = 0; i < 10; i++) {
      const int32_t id = begin(c, kUpload);
      send_large(c, id, filler, true);
      EXPECT_EQ(c.wait(id).messages(), strings{"1 65530 "});
      EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
    }
    EXPECT_EQ(c.stream_window_updates[stuck], 0);
    EXPECT_EQ(svc.reads, 10);
    // It reads: the window opens.
    svc.hold = false;
    while (c.stream_window_updates[stuck] == 0 && !c.closed) ASSERT_TRUE(c.read_frame());
    EXPECT_GT(c.stream_window_updates[stuck], kWindow / 4);
    c.data(stuck, message("last"), true);
    EXPECT_EQ(c.wait(stuck).messages(), strings{"2 65534 last"});
  });
}

// What a frame over the window is: the peer's error, on that stream or connection, as HTTP/2 has it.
TEST(flow_control, more_than_the_window_is_refused) {
  with_server({.stream_window = 65'535}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t id = begin(c, kLateUpload);
    send_large(c, id, std::string(80'000, '\0'));
    EXPECT_TRUE(until([&] { return svc.returned == 1 || !c.read_frame(); }));
    EXPECT_TRUE(until([&] { return svc.cancelled == 1; }));
  });
}

TEST(flow_control, a_message_larger_than_the_window_comes_through) {
  with_server({.stream_window = 65'535}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kUpload);
    const std::string framed = message(std::string(3'000'000, 'L')) + message("end");
    int64_t window = 65'535;
    int64_t seen = 0;
    for (size_t at = 0; at < framed.size();) {
      const size_t n = std::min<size_t>({16 << 10, framed.size() - at, static_cast<size_t>(window)});
      c.data(id, std::string_view(framed).substr(at, n), at + n == framed.size());
      at += n;
      window -= static_cast<int64_t>(n);
      while (window == 0 && !c.closed) {
        ASSERT_TRUE(c.read_frame()) << at;
        window += c.stream_window_updates[id] - seen;
        seen = c.stream_window_updates[id];
      }
    }
    EXPECT_EQ(c.wait(id).messages(), strings{"2 3000003 end"});
  });
}

TEST(flow_control, the_smallest_window_works) {
  with_server({.stream_window = 1}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kChat);
    const std::string framed = message("abc");
    int64_t before = 0;
    for (size_t i = 0; i < framed.size(); i++) {
      c.data(id, std::string_view(framed).substr(i, 1), false);
      while (c.stream_window_updates[id] == before && !c.closed) ASSERT_TRUE(c.read_frame()) << i;
      before = c.stream_window_updates[id];
    }
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).messages(), strings{"abc"});
  });
}

// Calls are reused: what one has consumed and not reported must not be reported by the next.
TEST(flow_control, credit_ends_with_its_call) {
  with_server({.max_buffered_requests = 200'000, .stream_window = 65'535}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (int i = 0; i < 20; i++) {
      int32_t id = begin(c, kUpload);
      send_large(c, id, message(std::string(10'000, 'u')), true);  // below a quarter of the window
      EXPECT_EQ(c.wait(id).messages(), strings{"1 10000 "});
      id = begin(c, kUpload);
      const int before = svc.reads;
      send_large(c, id, message(std::string(20'000, 'r')));  // above
      EXPECT_TRUE(until([&] { return svc.reads == before + 1; }));
      EXPECT_TRUE(c.ping());
      c.data(id, message("x"), true);
      EXPECT_EQ(c.wait(id).messages(), strings{"2 20001 x"});
    }
  });
}

TEST(flow_control, what_a_connection_may_make_the_server_hold_is_bounded) {
  with_server({.max_buffered_requests = 100'000, .stream_window = 65'535}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    std::vector<int32_t> ids;
    for (int i = 0; i < 3; i++) ids.push_back(begin(c, kLateUpload));
    ASSERT_TRUE(until([&] { return svc.ran == 3; }));
    for (const int32_t id : ids) send_large(c, id, message(std::string(40'000, 'h')));
    EXPECT_EQ(c.wait(ids[2]).grpc_status(), "8");  // two fit
    EXPECT_TRUE(until([&] { return svc.cancelled >= 1; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::resource_exhausted));
    svc.hold = false;
    c.data(ids[0], "", true);
    EXPECT_EQ(c.wait(ids[0]).messages(), strings{"1 40000 "});
  });
}

// --- windows that grow (server/http2/windows.h; every rule of it with a clock of its own in session_test.cpp)
// ---------------------------------------------------------------------------------------------------------------

// An upload that fills the window whenever it is open; the acknowledgement of a PING comes when a whole window has been sent after it, so
// that there is a round trip to fill, however long it takes.
struct filler {
  raw_client& c;
  const int32_t id = begin(c, kUpload);
  int64_t sent = 0;

  int64_t open() { return c.settings[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE] + c.stream_window_updates[id] - sent; }
  void send(int64_t bytes) {
    const std::string piece = message(std::string((16 << 10) - 5, 'w'));
    const auto n = static_cast<int64_t>(piece.size());
    for (const int64_t end = sent + bytes; sent < end; sent += n) {
      while (open() < n) ASSERT_TRUE(c.read_frame());
      c.data(id, piece, false);
    }
  }
};

TEST(windows, grow_with_what_an_upload_fills_and_cost_other_calls_nothing) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    c.acknowledge = false;
    c.send_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "");
    filler f{c};
    f.send(4 << 20);
    EXPECT_EQ(c.pings_received, 1);  // and no more of them while there is no answer
    EXPECT_EQ(s.connections().at(0).window, 0u + (1 << 20) + (16 << 10));
    EXPECT_EQ(s.counters().windows_grown, 0u);
    c.send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "foreign!");
    EXPECT_TRUE(c.ping());
    EXPECT_EQ(s.counters().windows_grown, 0u);
    c.send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, c.last_ping);
    EXPECT_TRUE(c.ping());
    EXPECT_EQ(s.counters().windows_grown, 1u);
    EXPECT_GE(s.connections().at(0).window, 2u << 20);
    EXPECT_LE(s.connections().at(0).window, 16u << 20);
    f.send(1 << 20);
    // A stream that nobody reads is where it always was.
    const int32_t late = begin(c, kLateUpload);
    EXPECT_EQ(c.call(kEcho, "alive").messages(), strings{"alive"});
    EXPECT_EQ(c.stream_window_updates[late], 0);
    c.data(f.id, "", true);
    EXPECT_EQ(c.wait(f.id).grpc_status(), "0");
  });
}

TEST(windows, that_were_chosen_stay_and_nobody_is_pinged) {
  with_server({.stream_window = 1 << 20}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    filler f{c};
    f.send(8 << 20);
    c.data(f.id, "", true);
    EXPECT_EQ(c.wait(f.id).grpc_status(), "0");
    EXPECT_EQ(c.pings_received, 0);
    EXPECT_EQ(s.connections().at(0).window, 1u << 20);
  });
}

// Writers of a connection whose client does not read: each stands still with one message once the connection's bound is passed.
TEST(flow_control, unsent_replies_of_a_connection_are_bounded) {
  with_server({.send_buffer = 64'000, .connection_send_buffer = 200'000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    constexpr int kStreams = 20;
    std::vector<int32_t> ids;
    for (int i = 0; i < kStreams; i++) ids.push_back(c.start("/test.Text/Stream", "100 10000"));
    ASSERT_TRUE(until([&] { return svc.ran == kStreams; }));
    ASSERT_TRUE(c.ping());
    // 65 535 bytes left with the connection's window; the rest is unsent. Far below what the streams' own bounds would allow.
    // (Small messages leave together, so that a few writers may fill the connection's bound before any byte is sent: 20 messages, of which
    // each of those writers waits with one.)
    EXPECT_TRUE(until([&] { return svc.writes >= 15; }));
    EXPECT_LE(svc.writes * 10'000, 65'535 + 200'000 + 64'000 + kStreams * 20'000);
    for (const int32_t id : ids) c.window_update(id, 1 << 30);
    c.window_update(0, 1 << 30);
    for (const int32_t id : ids) {
      EXPECT_EQ(c.wait(id).messages().size(), 100u);
      EXPECT_EQ(c.wait(id).grpc_status(), "0");
    }
    EXPECT_EQ(svc.writes, kStreams * 100);
  });
}

// If the bytes of calls that end before they are sent stayed in the connection's count, or were taken out of it twice, it would soon be
// over its bound for good, and its writers would stand still with one message each.
TEST(flow_control, unsent_replies_of_calls_that_were_reset_do_not_count) {
  with_server({.send_buffer = 64'000, .connection_send_buffer = 100'000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (int i = 0; i < 10; i++) {
      c.window_update(0, 25'000);  // so that some of it leaves
      const int before = svc.writes;
      const int32_t id = c.start("/test.Text/Stream", "100 10000");
      ASSERT_TRUE(until([&] { return svc.writes >= before + 6; })) << i;  // it parks in its seventh
      c.reset(id);
      ASSERT_TRUE(until([&] { return svc.cancelled == i + 1; })) << i;
      ASSERT_TRUE(c.ping());
    }
  });
}

// --- the end -----------------------------------------------------------------------------------------------------------------------------

TEST(stream_end, a_waiting_reader_is_woken_by_reset_deadline_close_and_shutdown) {
  with_server([](grpc::server& s, text_service& svc) {
    auto c = std::make_unique<raw_client>(s.address());
    c->reset(begin(*c, kChat));
    ASSERT_TRUE(until([&] { return svc.ran + svc.returned >= 0 && c->ping(); }));
    int32_t id = begin(*c, kChat);
    c->data(id, message("x"), false);
    c->wait_for(id, "HD");
    const int before = svc.cancelled;
    c->reset(id);
    EXPECT_TRUE(until([&] { return svc.cancelled == before + 1; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::cancelled));
    id = begin(*c, kChat, {{"grpc-timeout", "20m"}});
    EXPECT_EQ(c->wait(id).grpc_status(), "4");
    EXPECT_TRUE(until([&] { return svc.cancelled == before + 2; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::deadline_exceeded));
    id = begin(*c, kUpload);
    c->data(id, message("half").substr(0, 6), false);
    ASSERT_TRUE(c->ping());
    c->close();
    EXPECT_TRUE(until([&] { return svc.cancelled == before + 3; }));
    c = std::make_unique<raw_client>(s.address());
    id = begin(*c, kUpload);
    const int reads = svc.reads;
    c->data(id, message("x"), false);
    ASSERT_TRUE(until([&] { return svc.reads > reads; }));
    s.shutdown(0ns);
    EXPECT_EQ(c->wait(id).grpc_status(), "14");
    EXPECT_EQ(svc.cancelled, before + 4);
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::unavailable));
  });
}

TEST(stream_end, a_drain_waits_for_a_stream_that_goes_on) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = begin(c, kChat);
    c.data(id, message("before"), false);
    c.wait_for(id, "HD");
    bool drained = false;
    auto over = warren::make_chan<warren::unit>(0);
    warren::go([&, over]() mutable {
      s.shutdown(20s);
      drained = true;
      over.close();
    });
    while (c.goaway.empty() && !c.closed) ASSERT_TRUE(c.read_frame());
    c.data(id, message("during"), true);
    EXPECT_EQ(c.wait(id).messages(), (strings{"before", "during"}));
    EXPECT_EQ(c.wait(id).grpc_status(), "0");
    c.wait_closed();
    over.recv();
    EXPECT_TRUE(drained);
  });
}

// Calls begin, send, stall, reset and end in a seeded order; nothing may be left over.
TEST(stream_end, seeded_mixture_leaves_nothing_behind) {
  with_server({.stream_window = 65'535}, [](grpc::server& s, text_service& svc) {
    uint32_t seed = 12345;
    const auto random = [&seed](uint32_t n) {
      seed = seed * 1664525 + 1013904223;
      return (seed >> 8) % n;
    };
    for (int round = 0; round < 30; round++) {
      auto c = std::make_unique<raw_client>(s.address());
      std::vector<int32_t> open;
      for (int step = 0; step < 60; step++) {
        switch (random(6)) {
          case 0:
          case 1: {
            static const std::string paths[] = {kChat, kUpload, "/test.Text/Duplex"};
            open.push_back(begin(*c, paths[random(3)]));
            break;
          }
          case 2:
          case 3:
            if (!open.empty()) c->data(open[random(static_cast<uint32_t>(open.size()))], message(std::string(random(300), 's')), false);
            break;
          case 4:
            if (!open.empty()) {
              const size_t k = random(static_cast<uint32_t>(open.size()));
              c->data(open[k], random(2) != 0 ? message("stop") : std::string(), true);
              open.erase(open.begin() + static_cast<ptrdiff_t>(k));
            }
            break;
          case 5:
            if (!open.empty()) {
              const size_t k = random(static_cast<uint32_t>(open.size()));
              c->reset(open[k]);
              open.erase(open.begin() + static_cast<ptrdiff_t>(k));
            }
            break;
        }
        if (random(8) == 0) {
          ASSERT_TRUE(c->ping());
        }
      }
      if (random(2) != 0) c->close();
    }
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 0 && svc.ran == svc.returned; }));
  });
}

// --- initial metadata on demand (rule 41)
// ----------------------------------------------------------------------------------------------------

TEST(initial_metadata, leaves_on_demand_before_the_reply) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t good = c.start("/test.Text/EarlyHeaders", "good");
    const int32_t bad = c.start("/test.Text/EarlyHeaders", "fail");
    EXPECT_EQ(c.wait_for(good, "H").header("x-early"), "1");
    EXPECT_EQ(c.wait_for(bad, "H").header("x-early"), "1");
    svc.hold = false;
    EXPECT_EQ(c.wait(good).shape, "HDh");
    EXPECT_EQ(c.wait(good).messages(), strings{"good"});
    EXPECT_EQ(c.wait(good).trailer("x-sent"), "once");
    EXPECT_EQ(c.wait(good).header("x-late"), "(absent)");
    EXPECT_EQ(c.wait(bad).shape, "Hh");
    EXPECT_EQ(c.wait(bad).grpc_status(), "10");
  });
}

// --- the cutter --------------------------------------------------------------------------------------------------------------------------

TEST(message_cutter, credit_is_what_was_cut_or_is_waited_for) {
  grpc::message_cutter cutter;
  cutter.reset(100, 0);
  std::span<const char> m;
  constexpr auto need_more = grpc::message_cutter::outcome::need_more;
  constexpr auto whole = grpc::message_cutter::outcome::message;
  constexpr auto bad_flag = grpc::message_cutter::outcome::bad_flag;
  EXPECT_EQ(cutter.next(m), need_more);
  EXPECT_TRUE(cutter.at_boundary());
  EXPECT_EQ(cutter.missing(), 5u);
  grpc::byte_buffer bytes;
  bytes.append(message("abc") + message("defgh").substr(0, 7));
  cutter.add(bytes);
  EXPECT_TRUE(bytes.empty());
  EXPECT_EQ(cutter.credit(), 0u);  // nobody has taken anything
  ASSERT_EQ(cutter.next(m), whole);
  EXPECT_EQ(std::string(m.data(), m.size()), "abc");
  EXPECT_EQ(cutter.take_credit(), 8u);
  EXPECT_EQ(cutter.next(m), need_more);
  EXPECT_EQ(cutter.missing(), 3u);
  EXPECT_FALSE(cutter.at_boundary());
  EXPECT_EQ(cutter.take_credit(), 7u);  // the half message is waited for
  EXPECT_EQ(cutter.next(m), need_more);
  EXPECT_EQ(cutter.take_credit(), 0u);
  bytes.append(std::string("fgh") + message("x", 1) + message("y", 7));
  cutter.add(bytes);
  ASSERT_EQ(cutter.next(m), whole);
  EXPECT_EQ(std::string(m.data(), m.size()), "defgh");
  EXPECT_EQ(cutter.take_credit(), 3u);
  ASSERT_EQ(cutter.next(m), whole);
  EXPECT_TRUE(cutter.compressed());
  EXPECT_EQ(cutter.take_credit(), 6u);
  EXPECT_EQ(cutter.next(m), bad_flag);
}

TEST(message_follower, counts_ends_however_the_bytes_are_cut) {
  const std::string all = message("abc") + message("") + message(std::string(300, 'x')) + message("y");
  for (size_t piece = 1; piece <= all.size(); piece++) {
    grpc::message_follower f;
    size_t ended = 0;
    for (size_t at = 0; at < all.size(); at += piece) ended += f.feed(std::string_view(all).substr(at, piece));
    EXPECT_EQ(ended, 4u) << piece;
  }
}

TEST(message_cutter, every_way_to_cut_gives_the_same_messages_and_all_the_credit) {
  std::string all;
  for (int i = 0; i < 40; i++) all += message(std::string(static_cast<size_t>(i * i) % 97, static_cast<char>('a' + i % 26)));
  for (size_t piece = 1; piece < 60; piece++) {
    grpc::message_cutter cutter;
    cutter.reset(100, 0);
    size_t count = 0;
    size_t credit = 0;
    for (size_t at = 0; at < all.size(); at += piece) {
      grpc::byte_buffer bytes;
      bytes.append(std::string_view(all).substr(at, piece));
      cutter.add(bytes);
      std::span<const char> m;
      while (cutter.next(m) == grpc::message_cutter::outcome::message) {
        ASSERT_EQ(m.size(), count * count % 97);
        count++;
      }
      credit += cutter.take_credit();
      ASSERT_EQ(credit, std::min(at + piece, all.size()));
    }
    EXPECT_EQ(count, 40u);
    EXPECT_TRUE(cutter.at_boundary());
  }
}

// A handler cannot tell the end of the requests from one that is no message. What it writes after the latter would be an answer to requests
// that it has not seen.
TEST(bidi, nothing_is_written_once_a_request_was_bad) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const std::string tail = "/test.Text/Tail";
    int32_t id = begin(c, tail);
    c.data(id, message("good"), true);
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"the end"});
    EXPECT_EQ(c.replies[id].grpc_status(), "0");
    for (const std::string& bad : {message("unparsable"), message("marked compressed", 1), message("cut off").substr(0, 8)}) {
      id = begin(c, tail);
      c.data(id, message("good") + bad, true);
      EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{});
      EXPECT_EQ(c.replies[id].grpc_status(), std::to_string(static_cast<uint32_t>(grpc::status_code::internal)));
    }
    EXPECT_TRUE(until([&] { return svc.returned == 4; }));
    EXPECT_EQ(svc.writes, 1);
  });
}

}  // namespace
