// The session alone: bytes in, bytes and stream events out, no socket and no goroutine.
#include "server/http2/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/http2/block_pool.h"
#include "server/http2/limits.h"
#include "server/http2/session_memory.h"

namespace {

using namespace warren::http2;

const std::string kPreface(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);

std::string frame(uint8_t type, uint8_t flags, uint32_t id, const std::string& payload) {
  const auto n = static_cast<uint32_t>(payload.size());
  std::string f{static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n), static_cast<char>(type),
                static_cast<char>(flags)};
  for (int shift = 24; shift >= 0; shift -= 8) f += static_cast<char>(id >> shift);
  return f + payload;
}
const std::string kSettings = frame(NGHTTP2_SETTINGS, 0, 0, "");
// :method POST, :scheme http, :path / from the static table, and :authority as a literal.
const std::string kRequest("\x83\x86\x84\x41\x01x", 6);

// A stream that answers a request with a body of a given size when it is complete.
struct answering final : stream {
  std::vector<std::string> log;
  std::string ends;  // what came, and whether it was all of the end
  size_t body = 0;
  bool goes_on = false;  // what there is of the body is not all of it
  bool done = false;
  bool reads = true;  // takes what comes, at now
  int64_t now = 0;
  static inline const std::string status = ":status", two_hundred = "200", trailer = "x-end", one = "1";

  static nghttp2_nv nv(const std::string& n, const std::string& v) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(n.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(v.data())), n.size(),
            v.size(), 0};
  }
  void on_header(std::string_view name, std::string_view value) override { log.push_back(std::string(name) + "=" + std::string(value)); }
  void on_headers_over_limit() override { log.push_back("over"); }
  void on_headers_end(session&) override { log.push_back("headers"); }
  void on_data(session& s, std::string_view bytes) override {
    log.push_back("data " + std::string(bytes));
    ends += std::string(bytes) + (ends_request() ? "! " : " ");
    if (reads) s.consume(*this, bytes.size(), now);
  }
  void on_request_end(session& s) override {
    log.push_back("end");
    const nghttp2_nv h[] = {nv(status, two_hundred)};
    s.respond_with_body(*this, h);
  }
  void on_closed(uint32_t code) override { log.push_back("closed " + std::to_string(code)); }
  piece peek_body(session& s, size_t most) override {
    asked++;
    const size_t n = std::min(most, body);
    const bool dry = n == body;
    const bool end = dry && !goes_on;
    if (end) {
      const nghttp2_nv t[] = {nv(trailer, one)};
      s.trailers(*this, t);
    }
    return {n, end, true, dry};
  }
  int asked = 0;
  void take_body(char* into, size_t n) override {
    std::fill_n(into, n, 'b');
    body -= n;
  }
  std::string lends;  // what it lends, if anything
  int lent = 0;
  const char* lend_body(size_t n) override {
    if (lends.size() < n) return nullptr;
    lent++;
    body -= n;
    return lends.data();
  }
  void on_events(session&, uint32_t) override {}
  void run() noexcept override {}
  void on_run_end(session&) override {}
  void on_kill(session&, std::string_view) override {}
  bool on_tick(session&, int64_t, int64_t) override { return true; }
  bool unused() const noexcept override { return true; }
  void on_reuse() override {}
};

struct peer : session::events {
  std::vector<std::unique_ptr<answering>> streams;
  size_t next_body = 3;
  bool refuse = false;
  int settings = 0;
  int closed = 0;
  session s;

  explicit peer(const session_limits& limits = {}) : s(limits, *this) {}

  stream* open_stream(int32_t) override {
    if (refuse) return nullptr;
    streams.push_back(std::make_unique<answering>());
    streams.back()->body = next_body;
    return streams.back().get();
  }
  void stream_closed(stream&) override { closed++; }
  void settings_received() override { settings++; }
  void drain_acknowledged() override {}
  bool live = false;
  bool calls_live() override { return live; }

  std::string output(size_t room = kBlockSize) {
    std::string all;
    std::vector<char> block(room);
    while (const size_t n = s.serialise(block)) all.append(block.data(), n);
    return all;
  }
  // The types of the frames in bytes, as letters; DATA's payload is added up.
  static std::string kinds(const std::string& bytes, size_t* data = nullptr) {
    std::string out;
    size_t at = 0;
    while (at + 9 <= bytes.size()) {
      const auto b = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])); };
      const size_t n = b(0) << 16 | b(1) << 8 | b(2);
      out += "DHPRSUpGWC"[b(3)];
      if (b(3) == NGHTTP2_DATA && data != nullptr) *data += n;
      at += 9 + n;
    }
    return at == bytes.size() ? out : out + " and a torn frame";
  }
};

// A body that is lent, one that is copied because its stream cannot lend, and small ones: the same frames come out, in writes of bounded
// size.
TEST(session, lends_large_bodies) {
  peer p;
  p.next_body = 0;
  std::string in = kPreface + kSettings + frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\0\x7f\xff\xff", 6)) +
                   frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\x7f\xff\xff", 4));
  for (uint32_t id = 1; id <= 7; id += 2) in += frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, kRequest);
  ASSERT_TRUE(p.s.receive(in, 1));
  ASSERT_EQ(p.streams.size(), 4u);
  p.streams[0]->body = 1 << 20;
  p.streams[0]->lends = std::string(16 << 10, 'b');
  p.streams[1]->body = 100'000;
  p.streams[2]->body = kLeastLent - 1;
  p.streams[2]->lends = std::string(kLeastLent, '!');
  p.streams[3]->body = kLeastLent;
  p.streams[3]->lends = std::string(kLeastLent, 'b');
  in.clear();
  for (uint32_t id = 1; id <= 7; id += 2) in += frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, "x");
  ASSERT_TRUE(p.s.receive(in, 2));

  const auto block = std::make_unique<char[]>(kBlockSize);
  outgoing* const out = outgoing::in(block.get());
  std::string all;
  while (const size_t n = p.s.serialise(*out, true)) {
    EXPECT_LE(n, kLentAtOnce + (16u << 10) + kPackedAtOnce);
    size_t pieces = 0;
    for (const asio::const_buffer& b : out->pieces()) {
      all.append(static_cast<const char*>(b.data()), b.size());
      pieces += b.size();
    }
    ASSERT_EQ(pieces, n);
  }
  size_t data = 0;
  const std::string kinds = peer::kinds(all, &data);
  EXPECT_EQ(data, (1u << 20) + 100'000 + kLeastLent - 1 + kLeastLent);
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), 'H'), 8) << kinds;
  EXPECT_EQ(kinds.find("torn"), std::string::npos);
  EXPECT_EQ(all.find('!'), std::string::npos);
  EXPECT_EQ(p.streams[0]->lent, 64);
  EXPECT_EQ(p.streams[1]->lent, 0);
  EXPECT_EQ(p.streams[2]->lent, 0);
  EXPECT_EQ(p.streams[3]->lent, 1);
  EXPECT_EQ(p.closed, 4);
}

TEST(session, says_when_one_frame_is_all_of_the_end) {
  peer p;
  ASSERT_TRUE(p.s.receive(kPreface + kSettings, 1));
  const auto ends = [&p](uint32_t id, const std::vector<std::string>& reads) {
    EXPECT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, kRequest), 1));
    for (const std::string& bytes : reads) EXPECT_TRUE(p.s.receive(bytes, 1));
    return p.streams.back()->ends;
  };
  const std::string whole = frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "abc");
  EXPECT_EQ(ends(1, {whole}), "abc! ");
  const std::string split = frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, "abc");
  EXPECT_EQ(ends(3, {split.substr(0, 10), split.substr(10)}), "a bc ");
  EXPECT_EQ(ends(5, {frame(NGHTTP2_DATA, 0, 5, "abc"), frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 5, "d")}), "abc d! ");
  EXPECT_EQ(ends(7, {frame(NGHTTP2_DATA, 0, 7, "abc"), frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 7, "")}), "abc ");
  EXPECT_EQ(ends(9, {frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_PADDED, 9, std::string("\2abc\0\0", 6))}), "abc ");
}

TEST(session, settings_announce_the_real_stream_limit) {
  peer p({.max_concurrent_streams = 0x01020304});
  const std::string out = p.output();
  ASSERT_GE(out.size(), 15u);
  EXPECT_EQ(out.substr(9, 6), std::string("\0\3\1\2\3\4", 6));
}

// Rule 47, with a clock of our own.
TEST(session, pings_too_soon_are_strikes_and_answers_forgive_them) {
  constexpr int64_t kInterval = 1000;
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  const auto pings = [&](peer& p, std::initializer_list<int64_t> times) {
    bool good = true;
    for (const int64_t at : times) good = p.s.receive(ping, at);
    return good;
  };
  const auto greeted = [](peer& p) -> peer& {
    EXPECT_TRUE(p.s.receive(kPreface + kSettings, 1));
    p.live = true;
    return p;
  };
  {
    peer p({.ping_interval_ns = kInterval});
    EXPECT_TRUE(pings(greeted(p), {1, 1001, 2001, 3001, 4001, 5001}));  // exactly as often as allowed
    EXPECT_TRUE(pings(p, {6000, 6001}));                                // two strikes
    EXPECT_FALSE(pings(p, {6002}));                                     // and out
    EXPECT_EQ(p.s.reason(), session::end_reason::abuse);
    EXPECT_NE(p.output().find("too_many_pings"), std::string::npos);
  }
  {
    peer p({.ping_interval_ns = kInterval});
    EXPECT_TRUE(pings(greeted(p), {1, 2, 3}));
    p.output();
    ASSERT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, kRequest), 4));
    p.output();  // the answer leaves
    EXPECT_TRUE(pings(p, {5, 6, 7}));
    EXPECT_FALSE(pings(p, {8}));
  }
  {
    peer p({.ping_interval_ns = kInterval});
    greeted(p).live = false;
    EXPECT_TRUE(pings(p, {1, 2001, 4001}));  // without a call this is too often …
    EXPECT_FALSE(pings(p, {6001}));
    peer q({.ping_interval_ns = kInterval, .idle_pings = true});
    greeted(q).live = false;
    EXPECT_TRUE(pings(q, {1, 2001, 4001, 6001, 8001}));  // … unless it is allowed
    peer r;
    EXPECT_TRUE(pings(greeted(r), {1, 1, 1, 1, 1, 1}));  // no limit
  }
}

TEST(session, input_in_pieces_of_every_size) {
  const std::string bytes = kPreface + kSettings + frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, kRequest) +
                            frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "hello");
  for (size_t step = 1; step <= bytes.size(); step++) {
    peer p;
    for (size_t at = 0; at < bytes.size(); at += step) ASSERT_TRUE(p.s.receive(std::string_view(bytes).substr(at, step), 0));
    ASSERT_EQ(p.streams.size(), 1u);
    std::string data;
    for (const std::string& l : p.streams[0]->log) {
      if (l.starts_with("data ")) data += l.substr(5);
    }
    EXPECT_EQ(data, "hello") << step;
    EXPECT_EQ(p.settings, 1);
    EXPECT_EQ(peer::kinds(p.output()), "SSWHDH");
    EXPECT_EQ(p.closed, 1);
    EXPECT_EQ(p.streams[0]->log.back(), "closed 0");
  }
}

// The room may end anywhere between frames: no byte is lost, none comes twice, DATA and what follows keep their order.
TEST(session, output_through_rooms_of_many_sizes) {
  for (const size_t room : {kFrameRoom, kFrameRoom + 1, kFrameRoom + 100, 2 * kFrameRoom - 1, kBlockSize}) {
    peer p;
    p.next_body = 60'000;  // within the default window
    ASSERT_TRUE(
        p.s.receive(kPreface + kSettings + frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, kRequest), 0));
    size_t data = 0;
    const std::string kinds = peer::kinds(p.output(room), &data);
    EXPECT_EQ(kinds.substr(0, 5), "SSWHD") << room;
    EXPECT_EQ(kinds.back(), 'H') << room;
    EXPECT_EQ(kinds.find("torn"), std::string::npos) << room;
    EXPECT_EQ(data, 60'000u) << room;
    EXPECT_EQ(p.closed, 1) << room;
    EXPECT_FALSE(p.s.has_output());
  }
}

// Bodies that come piece by piece.
struct streaming : peer {
  // n streams, their headers sent.
  explicit streaming(uint32_t n) {
    next_body = 0;
    std::string in = kPreface + kSettings;
    for (uint32_t id = 1; id < 2 * n; id += 2) {
      in += frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, kRequest);
    }
    EXPECT_TRUE(s.receive(in, 0));
    for (const auto& st : streams) {
      st->goes_on = true;
      st->on_request_end(s);
      s.share_fairly(*st);
    }
    EXPECT_EQ(kinds(output()).substr(3), std::string(n, 'H'));
  }
  answering& operator[](size_t i) { return *streams[i]; }
  void write(size_t i, size_t n) {
    streams[i]->body += n;
    s.resume(*streams[i]);
  }
  // The second stream's 1000 bytes are in a frame that is packed and finds no room, behind three frames of the first's 60 000.
  void pack_without_room() {
    write(0, 60'000);
    EXPECT_EQ(data(kFrameRoom), "1:16384 ");
    write(1, 1000);
    (*this)[1].asked = 0;
    EXPECT_EQ(data(kFrameRoom), "1:16384 ");
    EXPECT_EQ(data(kFrameRoom), "1:16384 ");
  }
  // The DATA frames of one write, as "id:size ".
  std::string data(size_t room = kBlockSize) {
    std::vector<char> block(room);
    const std::string bytes(block.data(), s.serialise(block));
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
      const auto b = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])); };
      const size_t n = b(0) << 16 | b(1) << 8 | b(2);
      if (b(3) == NGHTTP2_DATA) out += std::to_string(b(7) << 8 | b(8)) + ":" + std::to_string(n) + " ";
      at += 9 + n;
    }
    return out;
  }
};

TEST(session, a_body_that_ran_dry_goes_on_when_there_is_more) {
  streaming p(1);
  EXPECT_FALSE(p.s.has_output());
  p.write(0, 3);
  EXPECT_TRUE(p.s.has_output());
  EXPECT_EQ(p.data(), "1:3 ");
  EXPECT_FALSE(p.s.has_output());
  p.write(0, 4);
  p.write(0, 5);  // before it was asked: one frame
  EXPECT_EQ(p.data(), "1:9 ");
  p[0].asked = 0;
  p.s.resume(p[0]);  // for nothing
  EXPECT_EQ(p.output(), "");
  EXPECT_FALSE(p.s.has_output());
  p.write(0, 6);
  EXPECT_EQ(p.data(), "1:6 ");
  EXPECT_EQ(p[0].asked, 2);
  p[0].goes_on = false;
  p.s.resume(p[0]);
  EXPECT_EQ(peer::kinds(p.output()), "HR");  // the answer is whole, and its caller is told to stop sending
  EXPECT_EQ(p.closed, 1);
  EXPECT_FALSE(p.s.has_output());
}

TEST(session, the_last_bytes_and_the_end_of_a_body_in_one) {
  streaming p(1);
  p.write(0, 3);
  p[0].goes_on = false;
  p.s.resume(p[0]);
  EXPECT_EQ(peer::kinds(p.output()), "DHR");
  EXPECT_EQ(p.closed, 1);
}

TEST(session, small_bodies_leave_in_the_order_in_which_they_came) {
  streaming p(4);
  for (const size_t i : {2u, 0u, 3u, 1u}) p.write(i, 10 + i);
  p.write(2, 100);
  EXPECT_EQ(p.data(), "5:112 1:10 7:13 3:11 ");
  EXPECT_FALSE(p.s.has_output());
}

TEST(session, small_bodies_do_not_wait_for_the_end_of_large_ones) {
  streaming p(3);
  p.write(0, 60'000);
  EXPECT_EQ(p.data(kFrameRoom), "1:16384 ");
  p.write(1, 20);
  p.write(2, 30);
  // nghttp2 has a frame of the large one packed already, and takes the next for as old as what has just come.
  EXPECT_EQ(p.data(), "1:16384 1:16384 3:20 5:30 1:10848 ");
}

// nghttp2 has packed the last bytes there are and finds no room for the frame; only then does the stream get more.
TEST(session, a_body_grows_while_its_last_frame_waits_for_room) {
  streaming p(2);
  p.pack_without_room();
  ASSERT_EQ(p[1].asked, 1);
  p.write(1, 500);
  EXPECT_EQ(p.data(), "3:1000 1:10848 3:500 ");
  p.write(1, 7);
  EXPECT_EQ(p.data(), "3:7 ");
}

TEST(session, streams_that_close_with_a_body_on_its_way) {
  const auto reset = [](uint32_t id) { return frame(NGHTTP2_RST_STREAM, 0, id, std::string("\0\0\0\x08", 4)); };
  for (const uint32_t gone : {1u, 3u, 5u}) {  // the first, one in the middle, the last of those that wait
    streaming p(3);
    for (size_t i = 0; i < 3; i++) p.write(i, 10);
    ASSERT_TRUE(p.s.receive(reset(gone), 0));
    std::string left;
    for (const uint32_t id : {1u, 3u, 5u}) {
      if (id != gone) left += std::to_string(id) + ":10 ";
    }
    EXPECT_EQ(p.data(), left);
    p.s.resume(p[gone / 2]);  // is no error
    EXPECT_FALSE(p.s.has_output());
  }
  // Packed, and no room for it; and more has come since.
  streaming p(2);
  p.pack_without_room();
  ASSERT_EQ(p[1].asked, 1);
  p.write(1, 500);
  ASSERT_TRUE(p.s.receive(reset(3), 0));
  EXPECT_EQ(p.data(), "1:10848 ");
  p.write(0, 1);
  EXPECT_EQ(p.data(), "1:1 ");
  EXPECT_FALSE(p.s.has_output());
}

TEST(session, bodies_that_wait_when_the_connection_ends_are_not_sent) {
  streaming p(2);
  p.write(0, 10);
  p.write(1, 10);
  ASSERT_TRUE(p.s.receive(frame(NGHTTP2_PING, 0, 0, "short"), 0));  // the GOAWAY is nghttp2's
  EXPECT_EQ(peer::kinds(p.output()), "G");
  EXPECT_FALSE(p.s.has_output());
  EXPECT_TRUE(p.s.finished());
}

TEST(session, a_stream_that_waited_when_its_connection_ended_serves_another) {
  streaming dead(3);
  for (size_t i = 0; i < 3; i++) dead.write(i, 10);
  struct reusing final : peer {
    stream* reused = nullptr;
    stream* open_stream(int32_t id) override { return reused != nullptr ? std::exchange(reused, nullptr) : peer::open_stream(id); }
  } q;
  q.reused = &dead[1];
  dead[1].goes_on = false;
  const auto whole = static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM);
  ASSERT_TRUE(q.s.receive(kPreface + kSettings + frame(NGHTTP2_HEADERS, whole, 1, kRequest), 0));
  EXPECT_EQ(peer::kinds(q.output()), "SSWHDH");
  EXPECT_EQ(q.closed, 1);
  // And the next one waits its turn as ever.
  ASSERT_TRUE(q.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 3, kRequest), 0));
  answering& next = *q.streams.back();
  next.goes_on = true;
  next.body = 0;
  next.on_request_end(q.s);
  EXPECT_EQ(peer::kinds(q.output()), "H");
  next.body = 5;
  q.s.resume(next);
  EXPECT_EQ(peer::kinds(q.output()), "D");
}

TEST(session, refused_stream_leaves_the_connection_alone) {
  peer p;
  p.refuse = true;
  ASSERT_TRUE(p.s.receive(
      kPreface + kSettings + frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, kRequest) + frame(NGHTTP2_DATA, 0, 1, "x"), 0));
  EXPECT_EQ(peer::kinds(p.output()), "SSWR");
  EXPECT_EQ(p.s.streams_refused(), 1u);
  EXPECT_FALSE(p.s.finished());
}

TEST(session, trailers_of_a_stream_that_was_reset_are_no_error) {
  peer p;
  const auto flags = NGHTTP2_FLAG_END_HEADERS;
  ASSERT_TRUE(
      p.s.receive(kPreface + kSettings + frame(NGHTTP2_HEADERS, flags, 1, kRequest) + frame(NGHTTP2_HEADERS, flags, 7, kRequest), 0));
  p.s.reset(*p.streams[0], NGHTTP2_CANCEL);
  p.output();
  EXPECT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_STREAM, 1, kRequest), 0));
  // But a stream in the gap (3, 5) may not be opened any more.
  EXPECT_FALSE(p.s.receive(frame(NGHTTP2_HEADERS, flags, 5, kRequest), 0));
  EXPECT_EQ(p.s.reason(), session::end_reason::protocol);
  EXPECT_EQ(peer::kinds(p.output()), "G");
  EXPECT_TRUE(p.s.finished());
}

// What frame_watch.h sees must not depend on how the bytes are cut.
TEST(session, frames_after_the_end_that_the_peer_made) {
  const auto open = NGHTTP2_FLAG_END_HEADERS;
  const auto whole = static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM);
  const std::string begin = kPreface + kSettings;
  // Reset and then DATA: the stream's fault (R beside our own answers), and the connection goes on.
  const std::string reset =
      begin + frame(NGHTTP2_HEADERS, open, 1, kRequest) + frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x08", 4));
  const std::string after_reset = reset + frame(NGHTTP2_DATA, 0, 1, "late") + frame(NGHTTP2_HEADERS, whole, 3, kRequest);
  // Ended, answered, and then DATA: the connection's.
  const std::string after_end = begin + frame(NGHTTP2_HEADERS, whole, 1, kRequest);
  const std::string late = frame(NGHTTP2_DATA, 0, 1, "late");
  const std::string itself = begin + frame(NGHTTP2_PRIORITY, 0, 7, std::string("\0\0\0\7\x10", 5));
  const std::string another = begin + frame(NGHTTP2_PRIORITY, 0, 7, std::string("\0\0\0\5\x10", 5)) + frame(NGHTTP2_PING, 0, 0, "12345678");
  const auto feed = [](peer& p, std::string_view bytes, size_t piece) {
    while (!bytes.empty()) {
      if (!p.s.receive(bytes.substr(0, piece), 0)) return false;
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
    return true;
  };
  for (size_t piece = 1; piece < 64; piece++) {
    peer r;
    EXPECT_TRUE(feed(r, after_reset, piece)) << piece;
    EXPECT_EQ(r.streams.size(), 2u) << piece;
    EXPECT_EQ(peer::kinds(r.output()), "SSWRHDH") << piece;
    peer e;
    EXPECT_TRUE(feed(e, after_end, piece)) << piece;
    EXPECT_EQ(peer::kinds(e.output()), "SSWHDH") << piece;
    EXPECT_FALSE(feed(e, late, piece)) << piece;
    EXPECT_EQ(e.s.reason(), session::end_reason::protocol) << piece;
    EXPECT_EQ(peer::kinds(e.output()), "G") << piece;
    peer i;
    EXPECT_FALSE(feed(i, itself, piece)) << piece;
    EXPECT_EQ(peer::kinds(i.output()).back(), 'G') << piece;
    peer a;
    EXPECT_TRUE(feed(a, another, piece)) << piece;
    EXPECT_EQ(peer::kinds(a.output()), "SSpW") << piece;
  }
}

// Rapid reset, with a clock of our own: a burst, and what time brings back.
// nghttp2 drops DATA of streams that it has forgotten, and does not look at its padding; RFC 9113 §6.1 wants an error of the connection,
// whatever the stream.
TEST(session, padding_longer_than_its_frame) {
  struct item {
    std::string payload;
    bool good;
  };
  for (const item& i : {item{std::string("\x02"
                                         "abc",
                                         4),
                             true},
                        {std::string("\x03"
                                     "abc",
                                     4),
                         true},
                        {std::string("\x04"
                                     "abc",
                                     4),
                         false},
                        {std::string("\xff"
                                     "abc",
                                     4),
                         false},
                        {std::string("\0", 1), true},
                        {"", false}}) {
    for (const bool open : {true, false}) {
      for (const size_t step : {1u, 5u, 100u}) {
        peer p;
        ASSERT_TRUE(p.s.receive(kPreface + kSettings + frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, kRequest), 1));
        if (!open) p.s.reset(*p.streams.front(), NGHTTP2_NO_ERROR);
        p.output();
        const std::string data = frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, i.payload) + frame(NGHTTP2_PING, 0, 0, "12345678");
        for (size_t at = 0; at < data.size() && !p.s.ended(); at += step) p.s.receive(data.substr(at, step), 2);
        const std::string kinds = peer::kinds(p.output());
        EXPECT_EQ(kinds.find('G') == std::string::npos, i.good) << i.payload.size() << open << kinds;
        EXPECT_EQ(kinds.find('p') != std::string::npos, i.good) << i.payload.size() << open << kinds;
      }
    }
  }
}

TEST(session, resets_of_the_peer_are_counted_and_forgotten) {
  peer p;
  EXPECT_TRUE(p.s.receive(kPreface + kSettings, 1));
  uint32_t id = 1;
  const auto resets = [&](int n, int64_t at) {
    bool good = true;
    for (; n > 0 && good; n--, id += 2) {
      good = p.s.receive(
          frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, kRequest) + frame(NGHTTP2_RST_STREAM, 0, id, std::string("\0\0\0\x08", 4)),
          at);
    }
    return good;
  };
  constexpr int64_t kSecond = 1'000'000'000;
  EXPECT_TRUE(resets(kPeerResetBurst, 1));
  EXPECT_TRUE(resets(kPeerResetPerSecond, 1 + kSecond));
  EXPECT_EQ(p.s.reason(), session::end_reason::none);
  EXPECT_FALSE(resets(1, 1 + kSecond));
  EXPECT_EQ(p.s.reason(), session::end_reason::abuse);
}

// Whoever ends a session by terminate() knows why: it is neither a broken rule nor a flood.
TEST(session, an_end_by_its_owner_is_not_the_peers_fault) {
  peer p;
  EXPECT_TRUE(p.s.receive(kPreface + kSettings, 1));
  p.s.terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_TRUE(peer::kinds(p.output()).ends_with("G"));
  EXPECT_EQ(p.s.reason(), session::end_reason::owner);
}

TEST(session, not_http2) {
  for (const std::string_view http1 :
       {"GET / HTTP/1.1\r\n", "OPTIONS", "GET ", "GET /index", "POST / ", "HEAD / HT", "GET /%20 HTTP/1.0\r\n"}) {
    peer p;
    EXPECT_FALSE(p.s.receive(http1, 0));
    EXPECT_EQ(p.output().substr(0, 12), "HTTP/1.1 400") << http1;
    EXPECT_TRUE(p.s.finished());
  }
  // Capitals alone do not make it HTTP/1; the first of these is h2spec's.
  for (const std::string_view neither : {"INVALID CONNECTION PREFACE\r\n\r\n", "GET /\r\n", "SSH-2.0\r\n", "GO", "PRI * HTTP/1.1\r\n"}) {
    peer p;
    EXPECT_FALSE(p.s.receive(neither, 0));
    EXPECT_EQ(peer::kinds(p.output()), "SG") << neither;
    EXPECT_TRUE(p.s.finished());
  }
  peer q;
  EXPECT_TRUE(q.s.receive(kPreface.substr(0, 10), 0));
  EXPECT_FALSE(q.s.receive("???", 0));
  EXPECT_EQ(peer::kinds(q.output()), "SG");
  EXPECT_TRUE(q.s.finished());
  EXPECT_EQ(q.s.reason(), session::end_reason::not_http2);
}

TEST(session, drain_ends_when_the_streams_have) {
  peer p;
  ASSERT_TRUE(p.s.receive(kPreface + kSettings + frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, kRequest), 0));
  p.output();
  p.s.begin_drain();
  EXPECT_EQ(peer::kinds(p.output()), "pG");  // PING goes first in nghttp2's queue
  p.s.finish_drain();
  EXPECT_EQ(peer::kinds(p.output()), "G");
  EXPECT_FALSE(p.s.finished());
  ASSERT_TRUE(p.s.receive(frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "x"), 0));
  EXPECT_EQ(peer::kinds(p.output()), "HDH");
  EXPECT_TRUE(p.s.finished());
}

// Streams that are refused while the client keeps to what it was told are not charged to it.
TEST(session, refusals_that_are_no_fault_of_the_client_are_forgiven) {
  peer p;
  p.refuse = true;
  ASSERT_TRUE(p.s.receive(kPreface + kSettings, 0));
  for (uint32_t i = 0; i < 4 * kOwnResetBurst; i++) {
    ASSERT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, kRequest), 0)) << i;
    p.output();
    ASSERT_FALSE(p.s.ended()) << i;
  }
  EXPECT_EQ(p.s.streams_refused(), 4u * kOwnResetBurst);
}

// The bucket of resets we send refills with time. The client opens streams where it was told that it may have none.
TEST(session, own_resets_are_limited_per_second) {
  peer p({.max_concurrent_streams = 0});
  p.refuse = true;
  ASSERT_TRUE(p.s.receive(kPreface + kSettings, 0));
  uint32_t id = 1;
  int64_t now = 0;
  const auto refuse_one = [&] {
    const bool on = p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, kRequest), now);
    id += 2;
    p.output();
    return on && !p.s.ended();
  };
  for (int i = 0; i < kOwnResetBurst; i++) ASSERT_TRUE(refuse_one()) << i;
  for (int i = 0; i < 10 * kOwnResetPerSecond; i++) {
    now += 1'000'000'000 / kOwnResetPerSecond;
    ASSERT_TRUE(refuse_one()) << i;
  }
  EXPECT_FALSE(refuse_one());
  EXPECT_EQ(p.s.reason(), session::end_reason::abuse);
}

// The same bytes come out of a session, and the same fields into its streams, whatever is trimmed in between: what is dropped is dead, and
// what sleeps wakes up as it was. HPACK's tables on both sides fill and turn over meanwhile.
TEST(session, trimming_changes_nothing) {
  const auto conversation = [](bool trims) {
    std::string fields;
    free_blocks kept;
    peer p;
    std::string out;
    EXPECT_TRUE(p.s.receive(kPreface + kSettings, 1));
    out += p.output();
    for (uint32_t i = 0; i < 300; i++) {
      p.s.lend(i % 3 == 0 ? nullptr : &kept);
      p.next_body = i % 7 * 20'000;
      const uint32_t id = 2 * i + 1;
      // A field that goes into the table, and one that came with the stream before, from there.
      const std::string value = std::to_string(i);
      std::string request = kRequest;
      if (i > 0) request += '\xbf';
      request += std::string("\x40\x01n", 3) + static_cast<char>(value.size()) + value;
      EXPECT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, request), 1));
      if (trims) p.s.trim();      // a stream is open: nothing happens
      if (i % 20 == 0) continue;  // some stay open meanwhile
      if (i % 20 == 1 && i > 20) {
        EXPECT_TRUE(p.s.receive(frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id - 2, "late"), 1));
      }
      EXPECT_TRUE(p.s.receive(frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, "x"), 1));
      EXPECT_TRUE(p.s.receive(frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\3\0\0", 4)), 1));
      EXPECT_TRUE(p.s.receive(frame(NGHTTP2_WINDOW_UPDATE, 0, id, std::string("\0\3\0\0", 4)), 1));
      out += p.output();
      if (trims) p.s.trim();
    }
    p.s.lend(nullptr);
    for (const auto& stream : p.streams)
      for (const std::string& line : stream->log) fields += line + "\n";
    EXPECT_NE(fields.find("n=298\nn=299\n"), std::string::npos);
    return std::pair(out, fields);
  };
  EXPECT_EQ(conversation(true), conversation(false));
}

// Whoever comes first to a session that sleeps.
TEST(session, whatever_is_asked_of_it_wakes_it) {
  const auto asleep = [] {
    auto p = std::make_unique<peer>();
    EXPECT_TRUE(p->s.receive(kPreface + kSettings + frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""), 1));
    p->output();
    EXPECT_TRUE(p->s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, kRequest), 1));
    EXPECT_EQ(peer::kinds(p->output()), "HDH");
    p->s.trim();
    // What is asked of every session at any time leaves it alone.
    EXPECT_FALSE(p->s.has_output());
    EXPECT_FALSE(p->s.backed_up());
    EXPECT_FALSE(p->s.finished());
    EXPECT_FALSE(p->s.odd());
    p->s.trim();
    return p;
  };
  asleep();  // its end

  auto p = asleep();
  p->s.ping();
  EXPECT_EQ(peer::kinds(p->output()), "p");

  p = asleep();
  p->s.begin_drain();
  EXPECT_EQ(peer::kinds(p->output()), "pG");

  p = asleep();
  p->s.finish_drain();
  EXPECT_EQ(peer::kinds(p->output()), "G");
  EXPECT_TRUE(p->s.finished());

  p = asleep();
  p->s.terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(peer::kinds(p->output()), "G");
  EXPECT_TRUE(p->s.finished());

  // Half a frame, a second sleep, the other half.
  p = asleep();
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  EXPECT_TRUE(p->s.receive(ping.substr(0, 5), 1));
  p->s.trim();
  EXPECT_TRUE(p->s.receive(ping.substr(5), 1));
  EXPECT_EQ(peer::kinds(p->output()), "p");

  // The end of one that is no HTTP/2, which nghttp2 need not know of.
  p = std::make_unique<peer>();
  EXPECT_TRUE(p->s.receive(kPreface.substr(0, 18), 1));
  p->output();
  p->s.trim();
  EXPECT_FALSE(p->s.receive("!", 2));
  EXPECT_FALSE(p->output().empty());
  EXPECT_TRUE(p->s.finished());

  // Bytes that break the rules.
  p = asleep();
  p->s.receive(frame(NGHTTP2_DATA, 0, 0, "x"), 1);
  EXPECT_EQ(peer::kinds(p->output()), "G");
  EXPECT_TRUE(p->s.finished());
}

// --- windows that grow -------------------------------------------------------------------------------------------------------------------

constexpr uint32_t kWindow = 64 << 10;
constexpr uint32_t kMost = 1 << 20;
constexpr int64_t kRoundTrip = 1'000'000;

// A client that uploads, and keeps count of what it was allowed.
struct uploader {
  peer p;
  int64_t now = 1;
  std::string ping;  // the payload of the last one that came
  int pings = 0;
  std::map<uint32_t, int64_t> updates;  // bytes, by stream

  explicit uploader(uint64_t extra = kMost, uint32_t most = kMost) : p({.windows = {kWindow, 2 * kWindow, most, extra}}) {
    EXPECT_TRUE(p.s.receive(kPreface + kSettings + frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""), now));
  }
  // n-th stream, from 0.
  answering& begin(int n) {
    EXPECT_TRUE(p.s.receive(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id(n), kRequest), now));
    return *p.streams.back();
  }
  static uint32_t id(int n) { return static_cast<uint32_t>(2 * n + 1); }
  void send(int n, size_t bytes) {
    p.streams[static_cast<size_t>(n)]->now = now;
    while (bytes != 0) {
      const size_t piece = std::min<size_t>(bytes, 16 << 10);
      EXPECT_TRUE(p.s.receive(frame(NGHTTP2_DATA, 0, id(n), std::string(piece, 'd')), now));
      bytes -= piece;
    }
    look();
  }
  void pong(const std::string& payload) {
    now += kRoundTrip;
    EXPECT_TRUE(p.s.receive(frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, payload), now));
    look();
  }
  void look() {
    const std::string out = p.output();
    for (size_t at = 0; at + 9 <= out.size();) {
      const auto u32 = [&](size_t i) {
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) v = v << 8 | static_cast<uint8_t>(out[at + i + k]);
        return v;
      };
      if (out[at + 3] == NGHTTP2_PING) {
        pings++;
        ping = out.substr(at + 9, 8);
      }
      if (out[at + 3] == NGHTTP2_WINDOW_UPDATE) updates[u32(5)] += u32(9);
      at += 9 + (u32(0) >> 8);
    }
  }
  // A window's worth within one round trip.
  void fill(int n) {
    const int before = pings;
    send(n, kWindow / 4);
    EXPECT_EQ(pings, before + 1);
    send(n, kWindow / 2);
    pong(ping);
  }
};

TEST(session_windows, grow_when_a_stream_fills_them_and_is_read) {
  uploader u;
  u.begin(0);
  u.fill(0);
  EXPECT_EQ(u.p.s.receive_windows().stream(), 2 * kWindow);
  EXPECT_EQ(u.p.s.receive_windows().extra(), 0u);  // its turn comes with what it takes next
  const int64_t before = u.updates[1];
  u.send(0, kWindow / 4);
  EXPECT_EQ(u.p.s.receive_windows().extra(), kWindow);
  EXPECT_GE(u.updates[1] - before, int64_t{kWindow});
  // The next ones take a higher rate.
  u.send(0, kWindow);
  u.send(0, kWindow);
  u.pong(u.ping);
  EXPECT_EQ(u.p.s.receive_windows().stream(), 4 * kWindow);
  EXPECT_EQ(u.p.s.receive_windows().connection(), 4 * kWindow);
}

TEST(session_windows, idle_connections_and_small_calls_are_not_pinged) {
  uploader u;
  for (int i = 0; i < 50; i++) {
    u.begin(i);
    u.send(i, 300);
    u.now += kRoundTrip;
  }
  EXPECT_EQ(u.pings, 0);
  for (int i = 0; i < 50; i++) u.send(i, 300);
  EXPECT_EQ(u.pings, 1);  // 30 000 bytes are more than a quarter of the window
}

TEST(session_windows, a_slow_sender_gets_no_more) {
  uploader u;
  u.begin(0);
  for (int i = 0; i < 100; i++) {
    u.send(0, kWindow / 4);
    u.pong(u.ping);
  }
  EXPECT_EQ(u.pings, 100);
  EXPECT_EQ(u.p.s.receive_windows().stream(), kWindow);
}

TEST(session_windows, stop_at_the_limit) {
  uploader u(kMost, 3 * kWindow);
  u.begin(0);
  for (size_t rate = 1; u.p.s.receive_windows().stream() < 3 * kWindow; rate++) {
    ASSERT_LT(rate, 10u);
    u.send(0, kWindow / 2);
    for (size_t i = 0; i < rate; i++) u.send(0, kWindow / 2);
    u.pong(u.ping);
  }
  const int before = u.pings;
  for (int i = 0; i < 100; i++) u.send(0, kWindow / 2);
  EXPECT_EQ(u.pings, before);
}

TEST(session_windows, chosen_windows_stay_and_nobody_is_pinged) {
  const window_limits chosen = window_limits::of(kWindow, 0, kMost, kMost);
  EXPECT_EQ(chosen.stream, kWindow);
  EXPECT_EQ(chosen.connection, kConnectionWindow);
  EXPECT_EQ(chosen.most, 0u);
  EXPECT_EQ(window_limits::of(0, kWindow, kMost, kMost).most, 0u);
  EXPECT_EQ(window_limits::of(0, 0, kMost, kMost).most, kMost);
  EXPECT_EQ(window_limits::of(0, 0, kMost, kMost).extra, kMost / 2);
  uploader u(kMost, 0);
  u.begin(0);
  for (int i = 0; i < 100; i++) u.send(0, kWindow / 2);
  EXPECT_EQ(u.pings, 0);
}

// Who opens streams and is not read keeps what the first SETTINGS gave him, however fast the path is.
TEST(session_windows, a_stream_that_nobody_reads_keeps_the_initial_window) {
  uploader u;
  u.begin(0);
  u.fill(0);
  u.send(0, kWindow / 4);
  u.begin(1).reads = false;
  u.send(1, kWindow);
  EXPECT_EQ(u.updates[3], 0);
  // One byte more is an error of the stream.
  EXPECT_EQ(u.p.closed, 0);
  EXPECT_TRUE(u.p.s.receive(frame(NGHTTP2_DATA, 0, 3, "x"), u.now));
  u.look();
  EXPECT_EQ(u.p.closed, 1);
}

TEST(session_windows, what_streams_have_above_the_initial_window_is_bounded_and_comes_back) {
  uploader u(3 * kWindow / 2);
  for (int i = 0; i < 3; i++) u.begin(i);
  u.fill(0);
  ASSERT_EQ(u.p.s.receive_windows().stream(), 2 * kWindow);
  for (int i = 0; i < 3; i++) u.send(i, kWindow / 4);
  EXPECT_EQ(u.p.s.receive_windows().extra(), 3 * kWindow / 2);  // a whole one, a half, none
  EXPECT_TRUE(u.p.s.receive(frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x08", 4)), u.now));
  EXPECT_EQ(u.p.s.receive_windows().extra(), kWindow / 2);
  u.send(2, kWindow / 4);
  EXPECT_EQ(u.p.s.receive_windows().extra(), 3 * kWindow / 2);
}

TEST(session_windows, acknowledgements_late_forged_or_missing) {
  uploader u;
  u.begin(0);
  u.send(0, kWindow / 4);
  ASSERT_EQ(u.pings, 1);
  for (int i = 0; i < 100; i++) u.send(0, kWindow / 2);  // and the acknowledgement does not come
  EXPECT_EQ(u.pings, 1);
  EXPECT_EQ(u.p.s.receive_windows().stream(), kWindow);
  const std::string real = u.ping;
  for (const char* payload : {"warrenka", "\1\6\1\x8\3\3\x9\x9", "wbdpxxxx"}) u.pong(payload);
  EXPECT_EQ(u.p.s.receive_windows().stream(), kWindow);
  u.pong(real);
  // It all came in one "round trip", so it may: the limit holds.
  EXPECT_EQ(u.p.s.receive_windows().stream(), kMost);
  u.pong(real);
  EXPECT_LE(u.p.s.receive_windows().extra(), kMost);
}

TEST(session_windows, a_keepalive_and_a_sample_do_not_disturb_each_other) {
  uploader u;
  u.begin(0);
  u.send(0, kWindow / 4);
  const std::string sample = u.ping;
  u.p.s.ping();
  u.send(0, kWindow / 2);
  EXPECT_EQ(u.pings, 2);
  EXPECT_NE(u.ping, sample);
  u.pong(u.ping);  // the keepalive's
  EXPECT_EQ(u.p.s.receive_windows().stream(), kWindow);
  u.pong(sample);
  EXPECT_EQ(u.p.s.receive_windows().stream(), 2 * kWindow);
}

TEST(block_pool, the_last_given_is_taken_first) {
  block_pool pool;
  char* a = pool.take();
  char* b = pool.take();
  EXPECT_NE(a, b);
  pool.give(a);
  EXPECT_EQ(pool.take(), a);
  pool.give(a);
  pool.give(b);
  for (size_t i = 0; i < 2 * kPooledBlocks; i++) pool.give(pool.take());
}

}  // namespace
