// The output of a call that may be sent again: places in it, and what is dropped.
#include "server/client/kept_output.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace {

using warren::grpc::client::kDropSent;
using warren::grpc::client::kept_output;

void add(kept_output& out, std::string_view text) {
  warren::http2::byte_buffer b;
  b.append(text);
  out.add(b);
}

std::string from(const kept_output& out, uint64_t place, size_t n) {
  std::string s(n, '\0');
  out.copy(place, s.data(), n);
  return s;
}

TEST(kept_output, places_stay_when_what_is_before_them_goes) {
  kept_output out;
  EXPECT_EQ(out.end(), 0u);
  add(out, "0123");
  add(out, "456789");
  EXPECT_EQ(out.begin(), 0u);
  EXPECT_EQ(out.end(), 10u);
  EXPECT_EQ(from(out, 2, 5), "23456");
  out.drop_to(4);
  EXPECT_EQ(out.begin(), 4u);
  EXPECT_EQ(from(out, 4, 6), "456789");
  out.drop_to(2);  // gone before
  EXPECT_EQ(out.begin(), 4u);
  out.drop_to(10);
  EXPECT_EQ(out.begin(), 10u);
  EXPECT_EQ(out.end(), 10u);
  add(out, "abc");
  EXPECT_EQ(from(out, 11, 2), "bc");
  EXPECT_EQ(out.end(), 13u);
}

TEST(kept_output, an_empty_one_takes_the_buffer_itself) {
  kept_output out;
  warren::http2::byte_buffer b;
  b.append("message");
  const char* const where = b.data();
  out.add(b);
  EXPECT_TRUE(b.empty());
  out.drop_to(7);
  out.add(b);
  EXPECT_EQ(b.data(), where);  // and gives it back
}

TEST(kept_output, much_that_was_dropped_is_moved_out_of_the_way) {
  kept_output out;
  std::string all;
  uint64_t dropped = 0;
  for (size_t i = 0; i < 100; i++) {
    const std::string piece(kDropSent / 7 + i, static_cast<char>('a' + i % 26));
    add(out, piece);
    all += piece;
    if (i % 3 != 0) dropped += kDropSent / 11;
    out.drop_to(dropped);
    ASSERT_EQ(out.begin(), dropped);
    ASSERT_EQ(out.end(), all.size());
    ASSERT_EQ(from(out, dropped, all.size() - dropped), all.substr(dropped));
  }
}

}  // namespace
