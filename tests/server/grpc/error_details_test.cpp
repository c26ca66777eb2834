// Rich errors: what is added to a status is what its reader finds, on the wire too, whatever else is there.
#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <warren/grpc/protobuf.h>

#include "rich.pb.h"
#include "server/grpc/base64.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::raw_client;
using warren::testing::text_service;
namespace grpc = warren::grpc;

TEST(error_details, are_what_google_rpc_status_is) {
  google::protobuf::StringValue mine;
  mine.set_value("of my own");
  grpc::status s =
      grpc::with_detail(grpc::invalid_argument("no good"), grpc::bad_request{{{"items[2].amount", "must be above 0"}, {"name", ""}}});
  s = grpc::with_detail(std::move(s), grpc::error_info{"OUT_OF_STOCK", "shop.example.com", {{"item", "42"}, {"", "empty key"}}});
  s = grpc::with_detail(std::move(s), grpc::retry_info{1500ms});
  s = grpc::with_detail(std::move(s), grpc::retry_info{-1ns});
  s = grpc::with_detail(std::move(s), mine);

  // Read by protobuf, with messages of the same numbers.
  warren::test::rich::Status read;
  ASSERT_TRUE(read.ParseFromString(s.details()));
  EXPECT_EQ(read.code(), 3);
  EXPECT_EQ(read.message(), "no good");
  ASSERT_EQ(read.details_size(), 5);
  EXPECT_EQ(read.details(0).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  warren::test::rich::BadRequest bad;
  ASSERT_TRUE(bad.ParseFromString(read.details(0).value()));
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(0).field(), "items[2].amount");
  EXPECT_EQ(bad.field_violations(0).description(), "must be above 0");
  EXPECT_EQ(bad.field_violations(1).field(), "name");
  EXPECT_EQ(read.details(1).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  warren::test::rich::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(read.details(1).value()));
  EXPECT_EQ(info.reason(), "OUT_OF_STOCK");
  EXPECT_EQ(info.domain(), "shop.example.com");
  EXPECT_EQ(info.metadata().at("item"), "42");
  EXPECT_EQ(info.metadata().at(""), "empty key");
  EXPECT_EQ(read.details(2).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  warren::test::rich::RetryInfo retry;
  ASSERT_TRUE(retry.ParseFromString(read.details(2).value()));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  ASSERT_TRUE(retry.ParseFromString(read.details(3).value()));
  EXPECT_EQ(retry.retry_delay().nanos(), -1);
  ASSERT_TRUE(read.details(4).UnpackTo(&mine));
  EXPECT_EQ(mine.value(), "of my own");

  // And by ourselves.
  google::protobuf::StringValue found;
  EXPECT_TRUE(grpc::find_detail(s, found));
  EXPECT_EQ(found.value(), "of my own");
  google::protobuf::Timestamp other;
  EXPECT_FALSE(grpc::find_detail(s, other));
  const auto all = grpc::details_of(s);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 5u);
}

TEST(error_details, an_ok_status_has_none) {
  const grpc::status s = grpc::with_detail(grpc::status(), grpc::retry_info{1s});
  EXPECT_TRUE(s.ok());
  EXPECT_EQ(s.details(), "");
  EXPECT_EQ(grpc::details_of(s)->size(), 0u);
}

// A peer may send anything.
TEST(error_details, what_is_no_status_is_not_read) {
  const auto of = [](std::string bytes) { return grpc::details_of(grpc::status(grpc::status_code::internal, "", std::move(bytes))); };
  for (const std::string bad :
       {"\x1a", "\x1a\x05x", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x1a\x02\x0a\x05", "\x0b", "\x07", "\x01",
        "\x09"
        "1234567"}) {
    EXPECT_FALSE(of(bad)) << bad.size();
  }
  EXPECT_FALSE(of(std::string("\x00\x00", 2)));
  EXPECT_EQ(of("\x08\x03\x2d"
               "1234"
               "\x39"
               "12345678")
                ->size(),
            0u);  // unknown fields of every kind
  // Every cut of a good one is either refused or has fewer details, and none reads past its end.
  google::protobuf::StringValue v;
  v.set_value("0123456789");
  const grpc::status whole = grpc::with_detail(grpc::with_detail(grpc::aborted("m"), v), v);
  for (size_t n = 0; n < whole.details().size(); n++) {
    const auto some = of(whole.details().substr(0, n));
    if (some) {
      EXPECT_LT(some->size(), 2u) << n;
    }
  }
}

// Fails with details.
struct failing final : grpc::interceptor {
  grpc::status intercept(grpc::server_call&, const next&) override {
    return grpc::with_detail(grpc::status(grpc::status_code::failed_precondition, "not yet \xe2\x98\xba"), grpc::retry_info{2s});
  }
};

TEST(error_details, rule_35_travel_as_unpadded_base64_with_the_status_code) {
  warren::run([] {
    failing f;
    text_service svc;
    grpc::server s({.listen = "127.0.0.1:0"});
    s.add(svc);
    s.intercept(f);
    s.start();
    raw_client c(s.address());
    const auto r = c.call("/test.Text/Echo", "x");
    EXPECT_EQ(r.grpc_status(), "9");
    const std::string sent = r.trailer("grpc-status-details-bin");
    EXPECT_EQ(sent.find('='), std::string::npos);
    std::string bytes;
    ASSERT_TRUE(grpc::base64_decode(sent, bytes));
    warren::test::rich::Status read;
    ASSERT_TRUE(read.ParseFromString(bytes));
    EXPECT_EQ(read.code(), 9);
    EXPECT_EQ(read.message(), "not yet \xe2\x98\xba");
    EXPECT_EQ(read.details_size(), 1);
    s.shutdown(0ns);
  });
}

}  // namespace
