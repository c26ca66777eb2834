// h2spec's group "http2": RFC 7540 section by section, mostly what must not be done and how that is to be answered. See h2spec_ground.h.
#include "tests/server/http2/h2spec_ground.h"

namespace {

using namespace warren::testing::h2spec;
using warren::testing::be32;
using warren::testing::fields;
using warren::testing::frame;
using warren::testing::raw_client;

const std::string kZeros(8, '\0');

// --- 3.5: the preface ---

TEST(Http2_3_5, ServerPrefaceIsSettings) { on_both(expect_settings_first, false); }
TEST(Http2_3_5, InvalidPreface) {
  on_both(
      [](peer& p) {
        p.c.send("INVALID CONNECTION PREFACE\r\n\r\n");
        p.c.read_all();
        EXPECT_TRUE(p.c.closed && !p.c.timed_out);
      },
      false);
}

// --- 4: frames ---

TEST(Http2_4_1, UnknownFrameType) {
  on_both([](peer& p) {
    p.frame(0x16, 0, 0, kZeros);
    p.lives();
  });
}
TEST(Http2_4_1, UndefinedFlag) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0x16, 0, kZeros);
    EXPECT_TRUE(p.find([](const frame& f) { return f.type == NGHTTP2_PING && (f.flags & NGHTTP2_FLAG_ACK) != 0 && f.payload == kZeros; }));
  });
}
TEST(Http2_4_1, ReservedBit) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0x16, static_cast<int32_t>(0x80000000u), kZeros);
    EXPECT_TRUE(p.find([](const frame& f) { return f.type == NGHTTP2_PING && (f.flags & NGHTTP2_FLAG_ACK) != 0 && f.payload == kZeros; }));
  });
}

TEST(Http2_4_2, LargestDataFrame) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, std::string(1 << 14, 'x'), true);
    p.answered();
  });
}
TEST(Http2_4_2, DataFrameTooLarge) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, std::string((1 << 14) + 1, 'x'), true);
    p.stream_error(1, {NGHTTP2_FRAME_SIZE_ERROR});
  });
}
TEST(Http2_4_2, HeadersFrameTooLarge) {
  on_both([](peer& p) {
    // Stored as they are, so that they fill the frame.
    std::string block = p.c.encode(p.get());
    block.append((1 << 14) + 1 - block.size(), '\0');
    p.frame(NGHTTP2_HEADERS, kGet, 1, block);
    p.connection_error({NGHTTP2_FRAME_SIZE_ERROR});
  });
}

TEST(Http2_4_3, InvalidHeaderBlock) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_HEADERS, kGet, 1, "\x40");  // a literal field that ends before its name
    p.connection_error({NGHTTP2_COMPRESSION_ERROR});
  });
}
TEST(Http2_4_3, PriorityWithinAHeaderBlock) {
  on_both([](peer& p) {
    p.headers(1, p.get(), 0);
    p.priority(1, 0, 255);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_4_3, OtherHeadersWithinAHeaderBlock) {
  on_both([](peer& p) {
    p.headers(1, p.get(), 0);
    p.headers(3, p.get(), kGet);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

// --- 5.1: stream states ---

TEST(Http2_5_1, IdleData) {
  on_both([](peer& p) {
    p.data(1, "test", true);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, IdleReset) {
  on_both([](peer& p) {
    p.c.reset(1);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, IdleWindowUpdate) {
  on_both([](peer& p) {
    p.c.window_update(1, 100);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, IdleContinuation) {
  on_both([](peer& p) {
    p.continuation(1, p.get(), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, HalfClosedRemoteData) {
  on_both([](peer& p) {
    p.request();
    p.data(1, "test", true);
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, HalfClosedRemoteHeaders) {
  on_both([](peer& p) {
    p.request();
    p.request();
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, HalfClosedRemoteContinuation) {
  on_both([](peer& p) {
    p.request();
    p.continuation(1, p.get(), peer::kWhole);
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED, NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, ResetThenData) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.reset(1);
    p.data(1, "test", true);
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, ResetThenHeaders) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.reset(1);
    p.request();
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, ResetThenContinuation) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.reset(1);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED, NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1, ClosedData) {
  on_both([](peer& p) {
    p.request();
    p.answered();
    p.data(1, "test", true);
    p.connection_error({NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, ClosedHeaders) {
  on_both([](peer& p) {
    p.request();
    p.answered();
    p.request();
    p.connection_error({NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_5_1, ClosedContinuation) {
  on_both([](peer& p) {
    p.request();
    p.answered();
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_STREAM_CLOSED, NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_5_1_1, EvenStreamIdentifier) {
  on_both([](peer& p) {
    p.request(2);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_1_1, SmallerStreamIdentifier) {
  on_both([](peer& p) {
    p.request(5);
    p.request(3);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
// Not in every version of the tool.
TEST(Http2_5_1_1, SameStreamIdentifier) {
  on_both([](peer& p) {
    p.request(5);
    p.request(5);
    p.stream_error(5, {NGHTTP2_STREAM_CLOSED});
  });
}

TEST(Http2_5_1_2, TooManyStreams) {
  on_both([](peer& p) {
    const uint32_t most = p.c.settings[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS];
    ASSERT_GT(most, 0u);
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));  // or streams are over before the last begins
    std::string all;
    const std::string block = p.c.encode(p.get());  // the first one fills the table
    const std::string again = p.c.encode(p.get());
    auto id = 1;
    for (uint32_t i = 0; i <= most; i++, id += 2) all += raw_client::frame_bytes(NGHTTP2_HEADERS, kGet, id, i == 0 ? block : again);
    p.c.send(all);
    p.stream_error(id - 2, {NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM});
  });
}

// --- 5.3 to 5.5 ---

TEST(Http2_5_3_1, HeadersThatDependOnThemselves) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_HEADERS, kGet | NGHTTP2_FLAG_PRIORITY, 1, peer::dependency(1, 255) + p.c.encode(p.get()));
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_5_3_1, PriorityThatDependsOnItself) {
  on_both([](peer& p) {
    p.priority(1, 1, 255);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_5_4_1, ConnectionIsClosedAfterAnError) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0, 3, kZeros);
    p.closes();
  });
}
TEST(Http2_5_4_1, GoAwayBeforeTheClose) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0, 3, kZeros);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_5_5, UnknownExtensionFrame) {
  on_both([](peer& p) {
    p.frame(0x16, 0, 0, kZeros);
    p.lives();
  });
}
TEST(Http2_5_5, UnknownFrameWithinAHeaderBlock) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kEnd);
    p.frame(0x16, 0, 0, kZeros);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

// --- 6.1 DATA, 6.2 HEADERS, 6.3 PRIORITY, 6.4 RST_STREAM ---

TEST(Http2_6_1, DataOnStream0) {
  on_both([](peer& p) {
    p.data(0, "test", true);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_1, DataOnAStreamThatIsNotOpen) {
  on_both([](peer& p) {
    p.headers(1, p.post(), kGet);
    p.data(1, "test", true);
    p.stream_error(1, {NGHTTP2_STREAM_CLOSED});
  });
}
TEST(Http2_6_1, PaddingLongerThanTheFrame) {
  on_both([](peer& p) {
    p.headers(1, peer::plus(p.post(), "content-length", "4"), peer::kWhole);
    p.frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED | peer::kEnd, 1, "\x06test");
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_6_2, PriorityInsteadOfContinuation) {
  on_both([](peer& p) {
    p.headers(1, p.get(), 0);
    p.priority(1, 0, 255);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_2, OtherStreamsHeadersInsteadOfContinuation) {
  on_both([](peer& p) {
    p.headers(1, p.get(), 0);
    p.headers(3, p.get(), kGet);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_2, HeadersOnStream0) {
  on_both([](peer& p) {
    p.request(0);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_2, PaddingLongerThanTheFrame) {
  on_both([](peer& p) {
    const std::string block = p.c.encode(p.get());
    p.frame(NGHTTP2_HEADERS, kGet | NGHTTP2_FLAG_PADDED, 1, static_cast<char>(block.size() + 2) + block);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_6_3, PriorityOnStream0) {
  on_both([](peer& p) {
    p.priority(0, 0, 255);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_3, PriorityOfFourBytes) {
  on_both([](peer& p) {
    p.request();
    p.frame(NGHTTP2_PRIORITY, 0, 1, std::string("\x80\0\0\1", 4));
    p.stream_error(1, {NGHTTP2_FRAME_SIZE_ERROR});
  });
}
// Not in every version of the tool.
TEST(Http2_6_3, PriorityOfIdleStreamThenALowerOneOpens) {
  on_both([](peer& p) {
    p.priority(3, 0, 255);
    p.request();
    p.answered();
  });
}

TEST(Http2_6_4, ResetOfStream0) {
  on_both([](peer& p) {
    p.c.reset(0);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_4, ResetOfIdleStream) {
  on_both([](peer& p) {
    p.c.reset(1);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_4, ResetOfThreeBytes) {
  on_both([](peer& p) {
    p.request();
    p.frame(NGHTTP2_RST_STREAM, 0, 1, std::string(3, '\0'));
    p.stream_error(1, {NGHTTP2_FRAME_SIZE_ERROR});
  });
}

// --- 6.5 SETTINGS ---

TEST(Http2_6_5, AckWithPayload) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, std::string(1, '\0'));
    p.connection_error({NGHTTP2_FRAME_SIZE_ERROR});
  });
}
TEST(Http2_6_5, SettingsOnAStream) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_SETTINGS, 0, 1, peer::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_5, LengthNotAMultipleOfSix) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100) + std::string("\0\2\0", 3));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR, NGHTTP2_FRAME_SIZE_ERROR});
  });
}

TEST(Http2_6_5_2, EnablePushOf2) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_ENABLE_PUSH, 2));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_5_2, InitialWindowTooLarge) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1u << 31));
    p.connection_error({NGHTTP2_FLOW_CONTROL_ERROR});
  });
}
TEST(Http2_6_5_2, MaxFrameSizeTooSmall) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (1 << 14) - 1));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_5_2, MaxFrameSizeTooLarge) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 24));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_5_2, UnknownSetting) {
  on_both([](peer& p) {
    p.settings(peer::setting(0xff, 1));
    p.lives();
  });
}

TEST(Http2_6_5_3, ValuesAreTakenInOrder) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100) + peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1));
    p.acknowledged();
    p.request();
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Http2_6_5_3, SettingsAreAcknowledged) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_ENABLE_PUSH, 0));
    p.acknowledged();
  });
}

// --- 6.7 PING, 6.8 GOAWAY ---

TEST(Http2_6_7, PingIsEchoed) {
  on_both([](peer& p) { EXPECT_TRUE(p.c.ping(std::string_view("h2spec\0\0", 8))); });
}
TEST(Http2_6_7, AckIsNotAnswered) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, std::string("invalid\0", 8));
    p.frame(NGHTTP2_PING, 0, 0, std::string("h2spec\0\0", 8));
    std::string first;
    p.find([&](const frame& f) {
      if (f.type == NGHTTP2_PING) first = f.payload;
      return f.type == NGHTTP2_PING;
    });
    EXPECT_EQ(first, std::string("h2spec\0\0", 8));
  });
}
TEST(Http2_6_7, PingOnAStream) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0, 1, kZeros);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_7, PingOfSixBytes) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PING, 0, 0, std::string(6, '\0'));
    p.connection_error({NGHTTP2_FRAME_SIZE_ERROR});
  });
}

TEST(Http2_6_8, GoAwayOnAStream) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_GOAWAY, 0, 1, be32(0) + be32(NGHTTP2_NO_ERROR));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

// --- 6.9 WINDOW_UPDATE ---

TEST(Http2_6_9, ZeroForTheConnection) {
  on_both([](peer& p) {
    p.c.window_update(0, 0);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_9, ZeroForAStream) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.window_update(1, 0);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_9, WindowUpdateOfThreeBytes) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\0\1", 3));
    p.connection_error({NGHTTP2_FRAME_SIZE_ERROR});
  });
}

TEST(Http2_6_9_1, WindowOfOne) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1));
    p.acknowledged();
    p.request();
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Http2_6_9_1, ConnectionWindowOverflows) {
  on_both([](peer& p) {
    p.c.window_update(0, INT32_MAX);
    p.c.window_update(0, INT32_MAX);
    p.connection_error({NGHTTP2_FLOW_CONTROL_ERROR});
  });
}
TEST(Http2_6_9_1, StreamWindowOverflows) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.window_update(1, INT32_MAX);
    p.c.window_update(1, INT32_MAX);
    while (!p.c.closed && !p.c.replies[1].reset && p.c.read_frame()) {
    }
    EXPECT_EQ(p.c.replies[1].reset, NGHTTP2_FLOW_CONTROL_ERROR);  // of the stream, not of the connection
    p.lives();
  });
}

TEST(Http2_6_9_2, InitialWindowChangesOpenStreams) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
    p.acknowledged();
    p.request();
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1));
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Http2_6_9_2, NegativeWindow) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 3));
    p.acknowledged();
    p.request();
    EXPECT_EQ(p.next_data(), 3);
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2));
    p.acknowledged();
    p.c.window_update(1, 2);
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Http2_6_9_2, InitialWindowAboveTheMaximum) {
  on_both([](peer& p) {
    p.settings(std::string("\0\4\x80\0\0\0", 6));
    p.connection_error({NGHTTP2_FLOW_CONTROL_ERROR});
  });
}

// --- 6.10 CONTINUATION ---

TEST(Http2_6_10, SeveralContinuations) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kEnd);
    p.continuation(1, peer::bulk(1), 0);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.answered();
  });
}
TEST(Http2_6_10, DataInsteadOfContinuation) {
  on_both([](peer& p) {
    p.headers(1, p.post(), 0);
    p.continuation(1, peer::bulk(1), 0);
    p.data(1, "test", true);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_10, ContinuationOnStream0) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kEnd);
    p.continuation(0, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_10, AfterHeadersThatWereWhole) {
  on_both([](peer& p) {
    p.request();
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_10, AfterTheLastContinuation) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kEnd);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.continuation(1, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_6_10, AfterData) {
  on_both([](peer& p) {
    p.headers(1, p.post(), 0);
    p.data(1, "test", true);
    p.continuation(1, peer::bulk(1), 0);
    p.continuation(0, peer::bulk(1), peer::kWhole);
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

// --- 7: error codes ---

TEST(Http2_7, GoAwayWithUnknownCode) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_GOAWAY, 0, 0, be32(0) + be32(0xff));
    p.closes();
  });
}
TEST(Http2_7, ResetWithUnknownCode) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.c.reset(1, 0xff);
    p.lives();
  });
}

// --- 8: HTTP ---

TEST(Http2_8_1, SecondHeadersThatDoNotEndTheStream) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, "test", false);
    p.headers(1, {{"x-test", "ok"}}, peer::kWhole);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}

// A GET with these fields is malformed.
void malformed(const std::function<fields(const peer&)>& request) {
  on_both([&](peer& p) {
    p.headers(1, request(p), kGet);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_8_1_2, UpperCaseName) {
  malformed([](const peer& p) { return peer::plus(p.get(), "X-TEST", "ok"); });
}

TEST(Http2_8_1_2_1, UnknownPseudoHeader) {
  malformed([](const peer& p) { return peer::plus(p.get(), ":test", "ok"); });
}
TEST(Http2_8_1_2_1, PseudoHeaderOfResponses) {
  malformed([](const peer& p) { return peer::plus(p.get(), ":status", "200"); });
}
TEST(Http2_8_1_2_1, PseudoHeaderInTrailers) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, "test", false);
    p.headers(1, {{":method", "POST"}}, kGet);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_8_1_2_1, PseudoHeaderAfterAnOrdinaryOne) {
  malformed([](const peer& p) {
    fields f{{"x-test", "ok"}};
    for (const auto& one : p.get()) f.push_back(one);
    return f;
  });
}

TEST(Http2_8_1_2_2, ConnectionHeader) {
  malformed([](const peer& p) { return peer::plus(p.get(), "connection", "keep-alive"); });
}
TEST(Http2_8_1_2_2, TeOtherThanTrailers) {
  malformed([](const peer& p) { return peer::plus(peer::plus(p.get(), "trailers", "test"), "te", "trailers, deflate"); });
}

TEST(Http2_8_1_2_3, EmptyPath) {
  malformed([](const peer& p) {
    fields f = p.get();
    for (auto& [name, value] : f) {
      if (name == ":path") value.clear();
    }
    return f;
  });
}
TEST(Http2_8_1_2_3, NoMethod) {
  malformed([](const peer& p) { return peer::less(p.get(), ":method"); });
}
TEST(Http2_8_1_2_3, NoScheme) {
  malformed([](const peer& p) { return peer::less(p.get(), ":scheme"); });
}
TEST(Http2_8_1_2_3, NoPath) {
  malformed([](const peer& p) { return peer::less(p.get(), ":path"); });
}
TEST(Http2_8_1_2_3, TwoMethods) {
  malformed([](const peer& p) { return peer::plus(p.get(), ":method", "GET"); });
}
TEST(Http2_8_1_2_3, TwoSchemes) {
  malformed([](const peer& p) { return peer::plus(p.get(), ":scheme", "http"); });
}
TEST(Http2_8_1_2_3, TwoPaths) {
  malformed([](const peer& p) { return peer::plus(p.get(), ":path", "/"); });
}

TEST(Http2_8_1_2_6, ContentLengthIsNotThatOfTheData) {
  on_both([](peer& p) {
    p.headers(1, peer::plus(p.post(), "content-length", "1"), peer::kWhole);
    p.data(1, "test", true);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}
TEST(Http2_8_1_2_6, ContentLengthIsNotThatOfAllData) {
  on_both([](peer& p) {
    p.headers(1, peer::plus(p.post(), "content-length", "1"), peer::kWhole);
    p.data(1, "test", false);
    p.data(1, "test", true);
    p.stream_error(1, {NGHTTP2_PROTOCOL_ERROR});
  });
}

TEST(Http2_8_2, PushPromise) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_PUSH_PROMISE, peer::kWhole, 1, be32(3) + p.c.encode(p.get()));
    p.connection_error({NGHTTP2_PROTOCOL_ERROR});
  });
}

}  // namespace
