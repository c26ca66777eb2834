// Clients that mean harm: each flood ends its own connection with a GOAWAY, and a second connection is served meanwhile.
#include <gtest/gtest.h>

#include "server/http2/limits.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using warren::testing::be32;
using warren::testing::raw_client;
using warren::testing::text_service;
using warren::testing::with_server;
namespace grpc = warren::grpc;
namespace http2 = warren::http2;

const std::string kEcho = "/test.Text/Echo";

// attack() sends frames until the server hangs up; returns how many it took.
template <class F>
void expect_cut_off(F send_one, int at_most, std::vector<uint32_t> codes, bool abuse = true) {
  with_server([&](grpc::server& s, text_service&) {
    raw_client victim(s.address());
    ASSERT_TRUE(victim.ping());
    raw_client attacker(s.address());
    attacker.acknowledge = false;
    ASSERT_TRUE(attacker.ping());
    int sent = 0;
    while (sent < at_most && !attacker.write_error) {
      std::string burst;
      for (int i = 0; i < 100; i++) burst += send_one(attacker);
      sent += 100;
      attacker.send(burst);
    }
    EXPECT_EQ(victim.call(kEcho, "during").messages(), std::vector<std::string>{"during"});
    attacker.wait_closed();
    EXPECT_FALSE(attacker.timed_out);
    ASSERT_FALSE(attacker.goaway.empty());
    EXPECT_NE(std::find(codes.begin(), codes.end(), attacker.goaway.back().second), codes.end()) << attacker.goaway.back().second;
    EXPECT_EQ(victim.call(kEcho, "after").messages(), std::vector<std::string>{"after"});
    EXPECT_EQ(s.counters().connections_abused, abuse ? 1u : 0u);
    EXPECT_EQ(s.counters().connections_protocol_error, abuse ? 0u : 1u);
  });
}

std::string open_stream(raw_client& c, const std::string& path, bool end) {
  const auto flags = static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0));
  return raw_client::frame_bytes(NGHTTP2_HEADERS, flags, c.next_id(), c.encode(raw_client::request_fields(path)));
}

TEST(flood, window_updates) {
  expect_cut_off([](raw_client&) { return raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(1)); }, http2::kMaxIdleFrames + 200,
                 {NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST(flood, priorities) {
  expect_cut_off([](raw_client&) { return raw_client::frame_bytes(NGHTTP2_PRIORITY, 0, 101, std::string("\0\0\0\0\1", 5)); },
                 http2::kMaxIdleFrames + 200, {NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST(flood, pings) {
  expect_cut_off([](raw_client&) { return raw_client::frame_bytes(NGHTTP2_PING, 0, 0, "12345678"); }, http2::kMaxIdleFrames + 200,
                 {NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST(flood, settings) {
  expect_cut_off([](raw_client&) { return raw_client::frame_bytes(NGHTTP2_SETTINGS, 0, 0, ""); }, http2::kMaxIdleFrames + 200,
                 {NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST(flood, empty_data) {
  bool begun = false;
  int32_t id = 0;
  expect_cut_off(
      [&](raw_client& c) {
        std::string bytes;
        if (!begun) {
          begun = true;
          id = c.next_id();
          bytes = raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, c.encode(raw_client::request_fields(kEcho)));
        }
        return bytes + raw_client::frame_bytes(NGHTTP2_DATA, 0, id, "");
      },
      200, {NGHTTP2_ENHANCE_YOUR_CALM});
}

// Rapid reset (CVE-2023-44487).
TEST(flood, rapid_reset) {
  expect_cut_off(
      [](raw_client& c) {
        std::string bytes = open_stream(c, kEcho, false);
        return bytes + raw_client::frame_bytes(NGHTTP2_RST_STREAM, 0, c.next_id() - 2, be32(NGHTTP2_CANCEL));
      },
      2000, {NGHTTP2_ENHANCE_YOUR_CALM});
}

// Who gives up calls one after another, but no more of them than the bucket fills up with, goes on.
TEST(flood, as_many_resets_as_are_allowed) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    for (int i = 0; i < http2::kPeerResetBurst; i++) {
      c.reset(c.begin(raw_client::request_fields(kEcho)));
    }
    EXPECT_EQ(c.call(kEcho, "after").messages(), std::vector<std::string>{"after"});
    EXPECT_TRUE(c.goaway.empty());
    EXPECT_EQ(s.counters().connections_abused, 0u);
  });
}

// The server is made to reset (CVE-2025-8671): malformed requests, a stream error each.
TEST(flood, made_you_reset) {
  expect_cut_off(
      [](raw_client& c) {
        return raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, c.next_id(),
                                       c.encode(raw_client::with(raw_client::request_fields(kEcho), "te", "gzip")));
      },
      400, {NGHTTP2_ENHANCE_YOUR_CALM});
}

// The same by other means: frames that are errors of their stream alone, on streams that have hardly begun.
TEST(flood, made_you_reset_by_window_updates_of_zero) {
  expect_cut_off(
      [](raw_client& c) {
        std::string bytes = open_stream(c, kEcho, false);
        return bytes + raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, c.next_id() - 2, be32(0));
      },
      1000, {NGHTTP2_PROTOCOL_ERROR}, false);
}

TEST(flood, made_you_reset_by_window_overflow) {
  expect_cut_off(
      [](raw_client& c) {
        std::string bytes = open_stream(c, kEcho, false);
        return bytes + raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, c.next_id() - 2, be32(0x7fffffff));
      },
      1000, {NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST(flood, made_you_reset_by_data_after_the_end) {
  expect_cut_off(
      [](raw_client& c) {
        std::string bytes = open_stream(c, "/test.Text/Wait", false);
        const int32_t id = c.next_id() - 2;
        bytes += raw_client::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, warren::testing::message("x"));
        return bytes + raw_client::frame_bytes(NGHTTP2_DATA, 0, id, warren::testing::message(std::string(300, 'y')));
      },
      1000, {NGHTTP2_STREAM_CLOSED}, false);
}

// Thousands of indexed fields of one byte each (CVE-2026-49975): the work per request is bounded, and so is their number.
TEST(flood, hpack_bombs) {
  bool first = true;
  expect_cut_off(
      [&](raw_client& c) {
        warren::testing::fields f = raw_client::request_fields(kEcho);
        f.emplace_back("x-bomb", std::string(3000, 'b'));
        std::string block = c.encode(f);
        if (first) {
          // What was just sent is now the newest entry of the dynamic table: index 62, one byte.
          first = false;
        }
        block += std::string(10'000, static_cast<char>(0x80 | 62));
        return raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, c.next_id(), block);
      },
      400, {NGHTTP2_ENHANCE_YOUR_CALM});
}

// Handlers that outlive their calls use up the limit: later calls are refused, which is not the client's fault, however often it tries. A
// client that opens more than it was told it may is charged (wire_rules, rule_49).
TEST(flood, refusals_because_of_old_handlers_are_not_charged) {
  with_server({.max_concurrent_streams = 4}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    std::vector<int32_t> old;
    for (int i = 0; i < 4; i++) old.push_back(c.start("/test.Text/Wait", ""));
    ASSERT_TRUE(warren::testing::until([&] { return svc.ran == 4; }));
    for (const int32_t id : old) c.reset(id);
    for (int i = 0; i < 2 * http2::kOwnResetBurst; i++) {
      ASSERT_EQ(c.call(kEcho, "x").reset, NGHTTP2_REFUSED_STREAM) << i;
    }
    EXPECT_TRUE(c.ping());
    EXPECT_TRUE(c.goaway.empty());
    EXPECT_EQ(s.counters().streams_refused, 2u * http2::kOwnResetBurst);
    svc.hold = false;
    EXPECT_TRUE(warren::testing::until([&] { return c.call(kEcho, "x").grpc_status() == "0"; }));
  });
}

TEST(flood, streams_beyond_the_announced_limit_are_charged) {
  with_server({.max_concurrent_streams = 4}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    for (int i = 0; i < 4; i++) c.start("/test.Text/Wait", "");
    ASSERT_TRUE(warren::testing::until([&] { return svc.ran == 4; }));
    for (int i = 0; i < 2 * http2::kOwnResetBurst && !c.write_error; i++) c.start(kEcho, "x");
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway.back().second, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(s.counters().connections_abused, 1u);
    svc.hold = false;
  });
}

TEST(flood, continuations) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    c.send_frame(NGHTTP2_HEADERS, 0, 1, c.encode(raw_client::request_fields(kEcho)));
    for (size_t i = 0; i < http2::kMaxContinuations + 2 && !c.write_error; i++) c.send_frame(NGHTTP2_CONTINUATION, 0, 1, "");
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway.back().second, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(s.counters().connections_abused, 1u);
  });
}

// What looks like a flood is read little by little, so that others have their turn in between; what does not is read by the block.
TEST(flood, odd_connections_are_read_in_bites) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "x").grpc_status(), "0");
    std::string updates;
    for (int i = 0; i < 9000; i++) updates += raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(1));
    uint64_t reads = s.counters().reads;
    c.send(updates);
    ASSERT_TRUE(c.ping());
    // The first block came before anything was odd.
    EXPECT_GE(s.counters().reads - reads, (updates.size() - (64 << 10)) / http2::kBite);
    // A request, and it is not odd any more: a message of many blocks takes fewer reads than it has bites.
    const std::string framed = warren::testing::message(std::string(900'000, 'm'));
    EXPECT_EQ(c.call(kEcho, "x").grpc_status(), "0");
    const int32_t id = c.begin(raw_client::request_fields("/test.Text/Upload"));
    reads = s.counters().reads;
    for (size_t at = 0; at < framed.size(); at += 16'384) c.data(id, framed.substr(at, 16'384), at + 16'384 >= framed.size());
    EXPECT_EQ(c.wait(id).grpc_status(), "0");
    EXPECT_LT(s.counters().reads - reads, framed.size() / http2::kBite);
  });
}

// Truncated frames, frames of impossible size, frames on stream 0: the connection ends, the server does not.
TEST(flood, broken_frames) {
  with_server([](grpc::server& s, text_service&) {
    const std::string broken[] = {
        raw_client::frame_bytes(NGHTTP2_PING, 0, 0, "short"),
        raw_client::frame_bytes(NGHTTP2_SETTINGS, 0, 0, "12345"),
        raw_client::frame_bytes(NGHTTP2_SETTINGS, 0, 1, ""),
        raw_client::frame_bytes(NGHTTP2_DATA, 0, 0, "x"),
        raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(0)),
        raw_client::frame_bytes(NGHTTP2_RST_STREAM, 0, 1, be32(8)),
        raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\xff\xff\xff\xff\xff"),
        raw_client::frame_bytes(NGHTTP2_CONTINUATION, 0, 1, ""),
        raw_client::frame_bytes(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, be32(2)),
        std::string("\xff\xff\xff\0\0\0\0\0\1", 9),
    };
    for (const std::string& b : broken) {
      raw_client c(s.address());
      ASSERT_TRUE(c.ping());
      c.send(b);
      c.wait_closed();
      EXPECT_FALSE(c.timed_out);
      EXPECT_FALSE(c.goaway.empty());
    }
    EXPECT_EQ(s.counters().connections_protocol_error, std::size(broken));
    EXPECT_EQ(s.counters().connections_abused, 0u);
    {
      raw_client c(s.address());  // the end comes within a frame
      ASSERT_TRUE(c.ping());
      c.send(std::string("\0\0\x20\0\0\0\0\0\1half", 13));
    }
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "alive").grpc_status(), "0");
  });
}

}  // namespace
