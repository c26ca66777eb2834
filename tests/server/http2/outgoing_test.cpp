// What is packed and what is lent, in order, whatever part of it each write takes.
#include "server/http2/outgoing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

namespace {

using namespace warren::http2;

struct block {
  std::unique_ptr<char[]> memory = std::make_unique<char[]>(kBlockSize);
  outgoing* out = outgoing::in(memory.get());
  size_t used = 0;

  block() { out->begin(); }
  void pack(const std::string& bytes) {
    std::memcpy(out->room().data() + used, bytes.data(), bytes.size());
    used += bytes.size();
  }
  void lend(const std::string& bytes) { out->lend(used, bytes.data(), bytes.size()); }
  // Writes it, n bytes at a time.
  std::string written(size_t n) {
    std::string all;
    while (!out->empty()) {
      size_t left = n;
      for (const asio::const_buffer& b : out->pieces()) {
        const size_t some = std::min(left, b.size());
        all.append(static_cast<const char*>(b.data()), some);
        left -= some;
      }
      out->written(n - left);
    }
    return all;
  }
};

TEST(outgoing, is_the_same_in_writes_of_every_size) {
  const std::string first = "a lent one", second = "another", third = "the last";
  const std::string all = "head" + first + "between" + second + third + "end";
  for (size_t n = 1; n <= all.size() + 1; n++) {
    block b;
    b.pack("he");
    b.pack("ad");
    b.lend(first);
    b.pack("between");
    b.lend(second);
    b.lend(third);
    b.pack("end");
    ASSERT_EQ(b.out->end(b.used), all.size());
    EXPECT_EQ(b.written(n), all) << n;
  }
}

TEST(outgoing, that_lends_nothing_is_one_piece) {
  block b;
  b.pack("some");
  b.pack("more");
  ASSERT_EQ(b.out->end(b.used), 8u);
  EXPECT_EQ(b.out->pieces().size(), 1u);
  b.out->drop();
  EXPECT_TRUE(b.out->empty());
  b.out->begin();
  EXPECT_EQ(b.out->end(0), 0u);
  EXPECT_TRUE(b.out->empty());
}

// What a peer that does not read makes its connection hold.
TEST(outgoing, packs_less_than_a_block_holds) {
  block b;
  EXPECT_LT(b.out->room().size(), kPackedAtOnce);
  EXPECT_GE(b.out->room().size(), 4 * kFrameRoom);
}

TEST(outgoing, lends_no_more_than_one_write_takes) {
  block pieces;
  size_t lent = 0;
  for (const std::string one = "1"; pieces.out->can_lend(); lent++) {
    pieces.pack("h");
    pieces.lend(one);
  }
  pieces.pack("end");
  EXPECT_EQ(pieces.out->end(pieces.used), 2 * lent + 3);
  EXPECT_LE(pieces.out->pieces().size(), 64u);
  EXPECT_GT(lent, 25u);  // a block of small headers and their bodies

  block bytes;
  const std::string large(16 << 10, 'l');
  for (lent = 0; bytes.out->can_lend(); lent++) bytes.lend(large);
  EXPECT_EQ(lent, kLentAtOnce / large.size());
}

}  // namespace
