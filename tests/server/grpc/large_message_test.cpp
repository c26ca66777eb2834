// The ways a message takes through a connection without being copied: a request that is parsed where it was read, a reply that is written
// from where it was serialised. What they share with others is looked at from outside: every byte of every answer, however the bytes were
// cut, whoever parks, stops reading, gives up or leaves in the middle.
#include <gtest/gtest.h>

#include <atomic>

#include <warren/chan.h>
#include <warren/grpc/interceptor.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::be32;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";

// Text that differs everywhere, and between any two seeds.
std::string pattern(size_t n, unsigned seed) {
  std::string s(n, '\0');
  uint32_t x = seed * 2654435761u + 12345;
  for (char& c : s) {
    x = x * 1664525u + 1013904223u;
    c = static_cast<char>('!' + (x >> 24) % 90);
  }
  return s;
}

// The frames of a request, unsent.
std::string request(raw_client& c, int32_t id, const std::string& path, std::string_view framed, size_t largest_frame = 16 << 10) {
  std::string all = raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, c.encode(raw_client::request_fields(path)));
  do {
    const std::string_view part = framed.substr(0, largest_frame);
    framed.remove_prefix(part.size());
    all += raw_client::frame_bytes(NGHTTP2_DATA, framed.empty() ? NGHTTP2_FLAG_END_STREAM : 0, id, part);
  } while (!framed.empty());
  return all;
}

// Waits until the server has read so many bytes.
bool read_up(grpc::server& s, uint64_t bytes) {
  return until([&] { return s.counters().bytes_received >= bytes; });
}

TEST(large_request, in_one_frame_in_several_and_of_the_sizes_around_a_frame) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    unsigned seed = 0;
    for (const size_t n : {size_t{0}, size_t{1}, size_t{4090}, size_t{4091}, size_t{4092}, size_t{10240}, size_t{16379}, size_t{16380},
                           size_t{65535}, size_t{300'000}, size_t{1} << 20}) {
      for (const size_t frame : {size_t{16384}, size_t{5}, size_t{4096}}) {
        if (frame == 5 && n > 100) continue;  // a flood
        const std::string m = pattern(n, ++seed);
        const int32_t id = c.next_id();
        c.window_update(0, static_cast<uint32_t>(n + 10));
        c.send(request(c, id, kEcho, message(m), frame));
        c.window_update(id, static_cast<uint32_t>(n + 10));
        EXPECT_EQ(c.wait(id).messages(), strings{m}) << n << " in frames of " << frame;
        EXPECT_EQ(c.replies[id].grpc_status(), "0");
      }
    }
  });
}

// The read ends after every byte of HEADERS and DATA in turn.
TEST(large_request, cut_by_the_read_at_every_byte) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    ASSERT_EQ(c.call(kEcho, "first").messages(), strings{"first"});  // the first call's fields are in the table now
    uint64_t sent = s.counters().bytes_received;
    for (size_t at = 1;; at++) {
      const std::string m = pattern(200, static_cast<unsigned>(at));
      const int32_t id = c.next_id();
      const std::string bytes = request(c, id, kEcho, message(m));
      if (at >= bytes.size()) break;
      c.send(bytes.substr(0, at));
      ASSERT_TRUE(read_up(s, sent + at));
      c.send(bytes.substr(at));
      sent += bytes.size();
      ASSERT_EQ(c.wait(id).messages(), strings{m}) << at;
    }
  });
}

// END_STREAM may come in an empty frame, and a frame may be padded.
TEST(large_request, ended_by_an_empty_frame_and_padded) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string m = pattern(5000, 1);
    const int32_t late = c.begin(raw_client::request_fields(kEcho));
    c.data(late, message(m), false);
    c.data(late, "", true);
    EXPECT_EQ(c.wait(late).messages(), strings{m});
    const int32_t padded = c.begin(raw_client::request_fields(kEcho));
    c.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_PADDED, padded,
                 std::string(1, '\x20') + message(m) + std::string(0x20, '\0'));
    EXPECT_EQ(c.wait(padded).messages(), strings{m});
  });
}

TEST(large_request, limits_in_one_frame) {
  with_server({.max_receive_message = 1000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const std::string m = pattern(1000, 1);
    EXPECT_EQ(c.call(kEcho, m).messages(), strings{m});
    EXPECT_EQ(c.call(kEcho, m + "x").grpc_status(), "8");
    // Two messages, less and more than one, a bad flag, compressed without an encoding: as one frame each.
    const auto whole = [&](const std::string& framed) {
      const int32_t id = c.begin(raw_client::request_fields(kEcho));
      c.data(id, framed, true);
      return c.wait(id).grpc_status();
    };
    EXPECT_EQ(whole(message("a") + message("b")), "12");
    EXPECT_EQ(whole(message("abc").substr(0, 7)), "13");
    EXPECT_EQ(whole(message("abc") + "\2"), "12");
    EXPECT_EQ(whole(message("abc", 2)), "13");
    EXPECT_EQ(whole(message("abc", 1)), "13");
    EXPECT_EQ(svc.ran, 1);
  });
}

// What waits for its handler counts, also if it is not copied.
TEST(large_request, a_batch_is_bounded) {
  with_server({.max_buffered_requests = 25'000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_EQ(c.call(kEcho, "warm").messages(), strings{"warm"});
    std::string batch;
    std::vector<int32_t> ids;
    for (unsigned i = 0; i < 4; i++) {
      ids.push_back(c.next_id());
      batch += request(c, ids.back(), "/test.Text/Wait", message(pattern(10'000, i)));
    }
    c.send(batch);
    ASSERT_TRUE(until([&] { return svc.ran == 3; }));  // with Echo's
    EXPECT_EQ(c.wait(ids[2]).grpc_status(), "8");
    EXPECT_EQ(c.wait(ids[3]).grpc_status(), "8");
    svc.hold = false;
    EXPECT_EQ(c.wait(ids[0]).messages(), strings{pattern(10'000, 0)});
    EXPECT_EQ(c.wait(ids[1]).messages(), strings{pattern(10'000, 1)});
  });
}

// Handlers that park, between others that do not, all of one read; and more reads before they go on.
TEST(large_request, handlers_park_within_a_batch) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_EQ(c.call(kEcho, "warm").messages(), strings{"warm"});
    std::vector<std::pair<int32_t, std::string>> waiting, echoed;
    for (unsigned round = 0; round < 5; round++) {
      std::string batch;
      for (unsigned i = 0; i < 6; i++) {
        const std::string m = pattern(9'000, round * 10 + i);
        const int32_t id = c.next_id();
        batch += request(c, id, i % 3 == 0 ? "/test.Text/Wait" : kEcho, message(m));
        (i % 3 == 0 ? waiting : echoed).emplace_back(id, m);
      }
      c.window_update(0, 60'000);
      c.send(batch);
      for (const auto& [id, m] : echoed) ASSERT_EQ(c.wait(id).messages(), strings{m});
      echoed.clear();
    }
    svc.hold = false;
    for (const auto& [id, m] : waiting) EXPECT_EQ(c.wait(id).messages(), strings{m});
  });
}

// --- codecs and interceptors that look at the bytes for long -----------------------------------------------------------------------------

// A message whose parsing waits, as one does that helps a collection.
struct slow_text : text {
  static inline std::atomic<int> parsing{0};
  static inline std::atomic<bool> hold{false};
};

}  // namespace

template <>
struct warren::grpc::codec<slow_text> {
  static bool parse(slow_text& into, std::span<const char> bytes) {
    slow_text::parsing++;
    while (slow_text::hold) warren::sleep(std::chrono::milliseconds(1));
    into.bytes.assign(bytes.data(), bytes.size());
    return true;
  }
  static void clear(slow_text& m) { m.bytes.clear(); }
  static size_t size(const slow_text& m) { return m.bytes.size(); }
  static void write(const slow_text& m, char* out) { std::memcpy(out, m.bytes.data(), m.bytes.size()); }
};

namespace {

constexpr size_t kMade = 1 << 20;

struct own_service final : grpc::service {
  grpc::result<slow_text> Slow(grpc::server_context&, const slow_text& request) { return request; }
  // Computes for a while first: batches of such calls are shared with a helper, if a P is idle.
  grpc::result<text> Grind(grpc::server_context&, const text& request) {
    const auto end = std::chrono::steady_clock::now() + 200us;
    while (std::chrono::steady_clock::now() < end) {
    }
    return request;
  }
  // The request is a seed.
  grpc::result<text> Make(grpc::server_context&, const text& request) {
    return text{pattern(kMade, static_cast<unsigned>(std::stoul(request.bytes)))};
  }
  std::string_view full_name() const override { return "test.Own"; }
  std::span<const grpc::method_descriptor> methods() const override {
    using enum grpc::method_kind;
    static constexpr grpc::method_descriptor table[] = {
        {"Slow", unary, &grpc::unary<&own_service::Slow, slow_text, slow_text>},
        {"Grind", unary, &grpc::unary<&own_service::Grind, text, text>},
        {"Make", unary, &grpc::unary<&own_service::Make, text, text>},
    };
    return table;
  }
};
const std::string kSlow = "/test.Own/Slow";
const std::string kMake = "/test.Own/Make";

// With both services.
template <class F>
void with_own_server(grpc::server_options options, grpc::interceptor* chain, F body) {
  warren::run([&] {
    text_service texts;
    own_service own;
    options.listen = "127.0.0.1:0";
    options.min_ping_interval = {};
    grpc::server server(options);
    server.add(texts);
    server.add(own);
    if (chain != nullptr) server.intercept(*chain);
    server.start();
    body(server);
    server.shutdown(0ns);
  });
}

// Sends a batch that begins with one slow request and then, while that one is still looked at, so much that the blocks of reads have all
// been used again. Every answer must be right, the slow one's too.
void expect_bytes_stay(grpc::server& s, const std::atomic<int>& looked_at, std::atomic<bool>& hold) {
  raw_client c(s.address());
  ASSERT_EQ(c.call(kEcho, "warm").messages(), strings{"warm"});
  const int before = looked_at;
  hold = true;
  const std::string slow = pattern(10'000, 1), beside = pattern(10'000, 2), behind = pattern(10'000, 3);
  const int32_t a = c.next_id(), b = c.next_id(), d = c.next_id();
  std::string batch = request(c, a, kSlow, message(slow));
  batch += request(c, b, kEcho, message(beside));
  batch += request(c, d, kSlow, message(behind));
  c.send(batch);
  EXPECT_EQ(c.wait(b).messages(), strings{beside});
  ASSERT_TRUE(until([&] { return looked_at == before + 2; }));
  for (unsigned i = 0; i < 30; i++) {
    const std::string m = pattern(15'000, 100 + i);
    c.window_update(0, 15'000);
    EXPECT_EQ(c.call(kEcho, m).messages(), strings{m});
  }
  hold = false;
  c.window_update(0, 30'000);
  EXPECT_EQ(c.wait(a).messages(), strings{slow});
  EXPECT_EQ(c.wait(d).messages(), strings{behind});
}

TEST(large_request, parsing_that_parks) {
  with_own_server({}, nullptr, [](grpc::server& s) { expect_bytes_stay(s, slow_text::parsing, slow_text::hold); });
}

// Looks at a message again after it has waited.
struct looking_twice final : grpc::interceptor {
  std::atomic<int> looked{0};
  std::atomic<bool> hold{false};
  std::atomic<int> changed{0};

  struct call final : grpc::forwarding_call {
    call(server_call& to, looking_twice& by) : forwarding_call(to), by_(by) {}
    bool next_message(std::span<const char>& bytes) override {
      if (!to_.next_message(bytes)) return false;
      const std::string first(bytes.data(), bytes.size());
      by_.looked++;
      while (by_.hold) warren::sleep(std::chrono::milliseconds(1));
      if (std::string_view(bytes.data(), bytes.size()) != first) by_.changed++;
      return true;
    }
    looking_twice& by_;
  };
  grpc::status intercept(grpc::server_call& to, const next& proceed) override {
    if (!to.context().method().starts_with("/test.Own/")) return proceed(to);
    call mine(to, *this);
    return proceed(mine);
  }
};

TEST(large_request, interceptors_may_look_at_it_until_the_next) {
  looking_twice looks;
  with_own_server({}, &looks, [&](grpc::server& s) { expect_bytes_stay(s, looks.looked, looks.hold); });
  EXPECT_EQ(looks.changed, 0);
}

// Half of each batch runs on another goroutine, while the reader reads on.
TEST(large_request, batches_are_shared) {
  with_own_server({}, nullptr, [](grpc::server& s) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + be32(1 << 30));
    c.window_update(0, 1 << 30);
    std::vector<int32_t> ids;
    for (unsigned round = 0; round < 30; round++) {
      std::string batch;
      for (unsigned i = 0; i < 8; i++) {
        ids.push_back(c.next_id());
        batch += request(c, ids.back(), "/test.Own/Grind", message(pattern(9'000, round * 8 + i)));
      }
      c.send(batch);
    }
    for (unsigned i = 0; i < ids.size(); i++) EXPECT_EQ(c.wait(ids[i]).messages(), strings{pattern(9'000, i)}) << i;
  });
}

// --- replies -----------------------------------------------------------------------------------------------------------------------------

// The caller's window opens in drops: frames of every size, of which the small are copied and the large are lent.
TEST(large_reply, through_a_small_window) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());  // the server's window is known to have been taken note of
    const std::string m = pattern(200'000, 1);
    c.window_update(0, 1 << 20);
    const int32_t big = c.next_id();
    c.send(request(c, big, kEcho, message(m)));
    size_t want = 65'535;  // the initial window of the stream
    for (const uint32_t more : {1u, 4095u, 4096u, 4097u, 10'000u, 16'384u, 16'385u, 40'000u, 1u}) {
      while (c.replies[big].data.size() < want && c.read_frame()) {
      }
      ASSERT_EQ(c.replies[big].data.size(), want);
      EXPECT_EQ(c.replies[big].data, message(m).substr(0, want));
      c.window_update(big, more);
      want += more;
    }
    c.window_update(big, 1 << 20);
    EXPECT_EQ(c.wait(big).messages(), strings{m});
    EXPECT_EQ(c.replies[big].grpc_status(), "0");
  });
}

// Replies that are more than the socket takes, to a caller who does not read for now. Returns the streams.
std::vector<int32_t> stuck_replies(raw_client& c, grpc::server& s, unsigned count) {
  const uint64_t before = s.counters().bytes_sent;
  c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + be32(1 << 30));
  c.window_update(0, 1 << 30);
  std::vector<int32_t> ids;
  for (unsigned i = 0; i < count; i++) ids.push_back(c.start(kMake, std::to_string(i)));
  // All are answered. What the socket did not take is the server's.
  EXPECT_TRUE(until([&] {
    uint64_t sent = 0;
    for (const auto& m : s.counters().methods) sent += m.method == "Make" ? m.messages_sent : 0;
    return sent >= count;
  }));
  EXPECT_LT(s.counters().bytes_sent - before, count * kMade) << "the socket took all of it; ask for more";
  return ids;
}
constexpr unsigned kStuck = 16;

TEST(large_reply, reset_half_written) {
  with_own_server({}, nullptr, [](grpc::server& s) {
    raw_client c(s.address());
    const auto ids = stuck_replies(c, s, kStuck);
    for (unsigned i = 0; i < kStuck; i += 2) c.reset(ids[i]);
    // The memory of those that were reset is used again, if it was given back.
    for (unsigned i = kStuck; i < 2 * kStuck; i++) c.start(kMake, std::to_string(i));
    for (unsigned i = 1; i < kStuck; i += 2) EXPECT_EQ(c.wait(ids[i]).messages(), strings{pattern(kMade, i)}) << i;
    // Of those that were reset: what came is the beginning of the right answer.
    for (unsigned i = 0; i < kStuck; i += 2) EXPECT_TRUE(message(pattern(kMade, i)).starts_with(c.replies[ids[i]].data)) << i;
    for (unsigned i = kStuck; i < 2 * kStuck; i++) {
      EXPECT_EQ(c.wait(ids.back() + 2 * static_cast<int32_t>(i - kStuck + 1)).messages(), strings{pattern(kMade, i)}) << i;
    }
    EXPECT_TRUE(c.ping());
  });
}

TEST(large_reply, caller_leaves_half_written) {
  with_own_server({}, nullptr, [](grpc::server& s) {
    raw_client c(s.address());
    stuck_replies(c, s, kStuck);
    c.close();
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 0; }));
    raw_client after(s.address());
    EXPECT_EQ(after.call(kEcho, "after").messages(), strings{"after"});
  });
}

TEST(large_reply, server_stops_half_written) {
  with_own_server({}, nullptr, [](grpc::server& s) {
    raw_client c(s.address());
    stuck_replies(c, s, kStuck);
    s.shutdown(0ns);
    EXPECT_EQ(s.counters().connections_open, 0u);
  });
}

// A peer that takes nothing is ended by the write timeout, with all that it holds.
TEST(large_reply, nobody_takes_it) {
  with_own_server({.write_timeout = 200ms}, nullptr, [](grpc::server& s) {
    raw_client c(s.address());
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + be32(1 << 30));
    c.window_update(0, 1 << 30);
    for (unsigned i = 0; i < kStuck; i++) c.start(kMake, std::to_string(i));
    EXPECT_TRUE(until([&] { return s.counters().connections_stalled == 1 && s.counters().connections_open == 0; }));
  });
}

}  // namespace
