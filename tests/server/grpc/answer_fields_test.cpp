// The header blocks of an answer, as a list of fields.
#include "server/grpc/answer_fields.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/grpc/limits.h"

namespace {

using namespace warren::grpc;

std::string shown(std::span<const nghttp2_nv> block) {
  std::string all;
  for (const nghttp2_nv& f : block) {
    all.append(reinterpret_cast<const char*>(f.name), f.namelen).append("=").append(reinterpret_cast<const char*>(f.value), f.valuelen);
    all += ' ';
  }
  return all;
}

TEST(answer_fields, the_usual_answer_is_made_of_what_all_share) {
  answer_fields one, other;
  EXPECT_EQ(shown(one.headers(false, encoding::identity, {})), ":status=200 content-type=application/grpc ");
  EXPECT_EQ(shown(one.headers(true, encoding::identity, {})), ":status=200 content-type=application/grpc+proto ");
  EXPECT_EQ(shown(one.trailers({})), "grpc-status=0 ");
  EXPECT_EQ(one.headers(false, encoding::identity, {}).data(), other.headers(false, encoding::identity, {}).data());
  EXPECT_EQ(one.trailers({}).data(), other.trailers({}).data());
}

TEST(answer_fields, metadata_and_encoding) {
  metadata pairs;
  pairs.add("x-a", "1");
  pairs.add("x-b-bin", std::string_view("\0\1\2", 3));
  pairs.add("x-a", "2");
  answer_fields f;
  EXPECT_EQ(shown(f.headers(false, encoding::gzip, pairs)),
            ":status=200 content-type=application/grpc grpc-encoding=gzip x-a=1 x-b-bin=AAEC x-a=2 ");
  EXPECT_EQ(shown(f.headers(true, encoding::identity, pairs)), ":status=200 content-type=application/grpc+proto x-a=1 x-b-bin=AAEC x-a=2 ");
  EXPECT_EQ(shown(f.trailers(pairs)), "grpc-status=0 x-a=1 x-b-bin=AAEC x-a=2 ");
}

TEST(answer_fields, a_status_is_encoded) {
  answer_fields f;
  f.set_status(status_code::not_found, "100% café", std::string_view("\0\1\2", 3));
  EXPECT_EQ(f.code(), status_code::not_found);
  EXPECT_EQ(shown(f.trailers({})), "grpc-status=5 grpc-message=100%25 caf%C3%A9 grpc-status-details-bin=AAEC ");
  EXPECT_EQ(shown(f.trailers_only(false, "415", {})),
            ":status=415 content-type=application/grpc grpc-status=5 grpc-message=100%25 caf%C3%A9 grpc-status-details-bin=AAEC ");
  f.set_status(static_cast<status_code>(4711));
  EXPECT_EQ(shown(f.trailers_only(true, "200", {})), ":status=200 content-type=application/grpc+proto grpc-status=4711 ");
}

TEST(answer_fields, a_long_text_is_cut) {
  answer_fields f;
  f.set_status(status_code::internal, std::string(2 * kMaxMessageText, 'x'));
  EXPECT_EQ(shown(f.trailers({})), "grpc-status=13 grpc-message=" + std::string(kMaxMessageText, 'x') + " ");
}

// The frame of the first block may be written after the second was made.
TEST(answer_fields, what_a_block_points_to_outlives_the_next) {
  metadata pairs;
  pairs.add("x-b-bin", std::string(100, '\7'));
  answer_fields f;
  const std::span<const nghttp2_nv> headers = f.headers(false, encoding::identity, pairs);
  const std::vector<nghttp2_nv> copied(headers.begin(), headers.end());  // as nghttp2 does when a block is submitted
  const std::string before = shown(copied);
  f.set_status(static_cast<status_code>(99), "text");
  for (int i = 0; i < 20; i++) f.trailers(pairs);
  EXPECT_EQ(shown(copied), before);
}

TEST(answer_fields, nothing_is_left_for_the_next_one) {
  answer_fields f;
  f.set_status(status_code::internal, "text", "details");
  f.trailers({});
  f.reset();
  EXPECT_EQ(f.code(), status_code::ok);
  EXPECT_EQ(shown(f.trailers({})), "grpc-status=0 ");
  EXPECT_EQ(shown(f.trailers_only(false, "200", {})), ":status=200 content-type=application/grpc grpc-status=0 ");
}

}  // namespace
