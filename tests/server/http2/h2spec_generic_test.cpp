// h2spec's group "generic": what every server must take, frame type by frame type. See h2spec_ground.h.
#include "tests/server/http2/h2spec_ground.h"
#include "tests/server/http2/hpack_bytes.h"

namespace {

using namespace warren::testing::h2spec;
namespace hpack = warren::testing::hpack;
using warren::testing::be32;
using warren::testing::fields;
using warren::testing::frame;
using warren::testing::raw_client;

TEST(Generic_1, PrefaceIsAnsweredBySettings) { on_both(expect_settings_first, false); }

// --- 2: streams ---

TEST(Generic_2, PriorityOnIdleStream) {
  on_both([](peer& p) {
    p.priority(1, 0, 255);
    p.lives();
  });
}
TEST(Generic_2, WindowUpdateOnHalfClosedStream) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));  // or the stream is over too soon
    p.request();
    p.c.window_update(1, 1);
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Generic_2, PriorityOnHalfClosedStream) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
    p.request();
    p.priority(1, 0, 255);
    p.c.window_update(1, 1);
    EXPECT_EQ(p.next_data(), 1);
  });
}
TEST(Generic_2, ResetOfHalfClosedStream) {
  on_both([](peer& p) {
    p.request();
    p.c.reset(1);
    p.lives();
  });
}
TEST(Generic_2, PriorityOnClosedStream) {
  on_both([](peer& p) {
    p.request();
    p.answered();
    p.priority(1, 0, 255);
    p.lives();
  });
}

// --- 3: frames ---

TEST(Generic_3_1, OneDataFrame) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, "test", true);
    p.answered();
  });
}
TEST(Generic_3_1, SeveralDataFrames) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, "test", false);
    p.data(1, "test", true);
    p.answered();
  });
}
TEST(Generic_3_1, PaddedDataFrame) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED | peer::kEnd, 1, std::string(1, 6) + "test" + std::string(6, '\0'));
    p.answered();
  });
}

TEST(Generic_3_2, HeadersFrame) {
  on_both([](peer& p) {
    p.request();
    p.answered();
  });
}
TEST(Generic_3_2, PaddedHeadersFrame) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_HEADERS, kGet | NGHTTP2_FLAG_PADDED, 1, std::string(1, 8) + p.c.encode(p.get()) + std::string(8, '\0'));
    p.answered();
  });
}
TEST(Generic_3_2, HeadersFrameWithPriority) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_HEADERS, kGet | NGHTTP2_FLAG_PRIORITY, 1, peer::dependency(0, 255) + p.c.encode(p.get()));
    p.answered();
  });
}

TEST(Generic_3_3, PriorityWeight1) {
  on_both([](peer& p) {
    p.priority(1, 0, 0);
    p.request();
    p.answered();
  });
}
TEST(Generic_3_3, PriorityWeight256) {
  on_both([](peer& p) {
    p.priority(1, 0, 255);
    p.request();
    p.answered();
  });
}
TEST(Generic_3_3, PriorityWithDependency) {
  on_both([](peer& p) {
    p.priority(3, 1, 0);
    p.request();
    p.answered();
  });
}
TEST(Generic_3_3, PriorityExclusive) {
  on_both([](peer& p) {
    p.priority(1, 0, 0, true);
    p.request();
    p.answered();
  });
}
TEST(Generic_3_3, PriorityOfIdleStreamThenALowerOneOpens) {
  on_both([](peer& p) {
    p.priority(3, 0, 255);
    p.request();
    p.answered();
  });
}

TEST(Generic_3_4, ResetFrame) {
  on_both([](peer& p) {
    p.headers(1, p.get(), peer::kWhole);
    p.c.reset(1);
    p.lives();
  });
}

TEST(Generic_3_5, SettingsFrame) {
  on_both([](peer& p) {
    p.settings(peer::setting(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096) + peer::setting(NGHTTP2_SETTINGS_ENABLE_PUSH, 1) +
               peer::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100) + peer::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535) +
               peer::setting(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384) + peer::setting(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 100));
    p.acknowledged();
  });
}

TEST(Generic_3_7, PingFrame) {
  on_both([](peer& p) { EXPECT_TRUE(p.c.ping(std::string_view("h2spec\0\0", 8))); });
}

TEST(Generic_3_8, GoAwayFrame) {
  on_both([](peer& p) {
    p.frame(NGHTTP2_GOAWAY, 0, 0, be32(0) + be32(NGHTTP2_NO_ERROR) + "that is all");
    p.closes();
  });
}

TEST(Generic_3_9, WindowUpdateOfTheConnection) {
  on_both([](peer& p) {
    p.c.window_update(0, 1);
    p.lives();
  });
}
TEST(Generic_3_9, WindowUpdateOfAStream) {
  on_both([](peer& p) {
    p.request();
    p.c.window_update(1, 1);
    p.answered();
  });
}

TEST(Generic_3_10, OneContinuation) {
  on_both([](peer& p) {
    const std::string block = p.c.encode(p.get());
    p.frame(NGHTTP2_HEADERS, peer::kEnd, 1, block.substr(0, 5));
    p.frame(NGHTTP2_CONTINUATION, peer::kWhole, 1, block.substr(5));
    p.answered();
  });
}
TEST(Generic_3_10, SeveralContinuations) {
  on_both([](peer& p) {
    const std::string block = p.c.encode(p.get());
    ASSERT_GT(block.size(), 10u);
    p.frame(NGHTTP2_HEADERS, peer::kEnd, 1, block.substr(0, 5));
    p.frame(NGHTTP2_CONTINUATION, 0, 1, block.substr(5, 5));
    p.frame(NGHTTP2_CONTINUATION, peer::kWhole, 1, block.substr(10));
    p.answered();
  });
}

// --- 4: requests ---

TEST(Generic_4, Get) {
  on_both([](peer& p) {
    p.request();
    p.answered();
  });
}
TEST(Generic_4, Head) {
  on_both([](peer& p) {
    p.headers(1, raw_client::with(p.get(), ":method", "HEAD"), kGet);
    EXPECT_EQ(p.c.wait(1).http_status(), "200");
    EXPECT_EQ(p.c.replies[1].shape, "h");  // to HEAD there is no content
  });
}
TEST(Generic_4, Post) {
  on_both([](peer& p) {
    p.headers(1, p.post(), peer::kWhole);
    p.data(1, "test", true);
    p.answered();
  });
}
TEST(Generic_4, PostWithTrailers) {
  on_both([](peer& p) {
    p.headers(1, peer::plus(p.post(), "trailer", "x-test"), peer::kWhole);
    p.data(1, "test", false);
    p.headers(1, {{"x-test", "ok"}}, peer::kEnd | peer::kWhole);
    p.answered();
  });
}

// --- 5: HPACK ---

// A GET whose header block has these bytes before or behind the usual fields.
void hpack_case(const std::string& before, const std::string& behind) {
  on_both([&](peer& p) {
    p.frame(NGHTTP2_HEADERS, kGet, 1, before + p.c.encode(p.get()) + behind);
    p.answered();
  });
}
TEST(Generic_5, IndexedField) { hpack_case("", hpack::indexed(hpack::kUserAgent)); }
TEST(Generic_5, IndexingIndexedName) { hpack_case("", hpack::with_index(hpack::kIndexing, hpack::kUserAgent, hpack::plain("test"))); }
TEST(Generic_5, IndexingIndexedNameHuffman) {
  hpack_case("", hpack::with_index(hpack::kIndexing, hpack::kUserAgent, hpack::huffman("test")));
}
TEST(Generic_5, IndexingNewName) { hpack_case("", hpack::with_name(hpack::kIndexing, hpack::plain("x-test"), hpack::plain("test"))); }
TEST(Generic_5, IndexingNewNameHuffman) {
  hpack_case("", hpack::with_name(hpack::kIndexing, hpack::huffman("x-test"), hpack::huffman("test")));
}
TEST(Generic_5, NotIndexingIndexedName) { hpack_case("", hpack::with_index(hpack::kNotIndexing, hpack::kUserAgent, hpack::plain("test"))); }
TEST(Generic_5, NotIndexingIndexedNameHuffman) {
  hpack_case("", hpack::with_index(hpack::kNotIndexing, hpack::kUserAgent, hpack::huffman("test")));
}
TEST(Generic_5, NotIndexingNewName) { hpack_case("", hpack::with_name(hpack::kNotIndexing, hpack::plain("x-test"), hpack::plain("test"))); }
TEST(Generic_5, NotIndexingNewNameHuffman) {
  hpack_case("", hpack::with_name(hpack::kNotIndexing, hpack::huffman("x-test"), hpack::huffman("test")));
}
TEST(Generic_5, NeverIndexedIndexedName) {
  hpack_case("", hpack::with_index(hpack::kNeverIndexed, hpack::kUserAgent, hpack::plain("test")));
}
TEST(Generic_5, NeverIndexedIndexedNameHuffman) {
  hpack_case("", hpack::with_index(hpack::kNeverIndexed, hpack::kUserAgent, hpack::huffman("test")));
}
TEST(Generic_5, NeverIndexedNewName) {
  hpack_case("", hpack::with_name(hpack::kNeverIndexed, hpack::plain("x-test"), hpack::plain("test")));
}
TEST(Generic_5, NeverIndexedNewNameHuffman) {
  hpack_case("", hpack::with_name(hpack::kNeverIndexed, hpack::huffman("x-test"), hpack::huffman("test")));
}
TEST(Generic_5, TableSizeUpdate) { hpack_case(hpack::table_size(0), ""); }
TEST(Generic_5, SeveralTableSizeUpdates) { hpack_case(hpack::table_size(0) + hpack::table_size(4096), ""); }

}  // namespace
