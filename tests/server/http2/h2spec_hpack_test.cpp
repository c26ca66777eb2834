// h2spec's group "hpack": header blocks that cannot be decoded (RFC 7541). Each ends the connection with COMPRESSION_ERROR. See
// h2spec_ground.h.
#include "tests/server/http2/h2spec_ground.h"
#include "tests/server/http2/hpack_bytes.h"

namespace {

using namespace warren::testing::h2spec;
namespace hpack = warren::testing::hpack;

// A GET whose header block has these bytes before or behind the usual fields.
void undecodable(const std::string& before, const std::string& behind) {
  on_both([&](peer& p) {
    p.frame(NGHTTP2_HEADERS, peer::kEnd | peer::kWhole, 1, before + p.c.encode(p.get()) + behind);
    p.connection_error({NGHTTP2_COMPRESSION_ERROR});
  });
}

TEST(Hpack_2_3_3, IndexedFieldBeyondTheTables) { undecodable("", hpack::indexed(126)); }
TEST(Hpack_2_3_3, LiteralFieldWithANameBeyondTheTables) { undecodable("", hpack::with_index(hpack::kIndexing, 126, hpack::plain("test"))); }

TEST(Hpack_4_2, TableSizeUpdateAtTheEnd) { undecodable("", hpack::table_size(1)); }

TEST(Hpack_5_2, PaddingOfMoreThanSevenBits) {
  undecodable("",
              hpack::with_name(hpack::kNotIndexing, hpack::huffman("x-test"), hpack::bits().text("test").pad(true).put(0xff, 8).literal()));
}
TEST(Hpack_5_2, PaddingOfZeros) {
  undecodable("", hpack::with_name(hpack::kNotIndexing, hpack::huffman("x-test"), hpack::bits().text("test").pad(false).literal()));
}
TEST(Hpack_5_2, EndOfStringSymbol) {
  undecodable(
      "", hpack::with_name(hpack::kNotIndexing, hpack::huffman("x-test"), hpack::bits().end_of_string().text("test").pad(true).literal()));
}

TEST(Hpack_6_1, IndexZero) { undecodable("", hpack::indexed(0)); }

TEST(Hpack_6_3, TableSizeOverTheLimit) { undecodable(hpack::table_size(4097), ""); }

}  // namespace
