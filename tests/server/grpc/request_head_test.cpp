// What the header block of a request says, field by field, and what is wrong with it.
#include "server/grpc/request_head.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/server/grpc/text_service.h"

namespace {

using namespace warren::grpc;
using warren::testing::text_service;
using finding = request_head::finding;
using fields = std::vector<std::pair<std::string_view, std::string_view>>;

class of_a_request : public ::testing::Test {
 protected:
  of_a_request() { methods_.add(service_); }
  // What a client sends whose request is good, with some fields behind that are more, or say something else.
  void come(const fields& more) {
    head.reset();
    for (const auto& [name, value] : fields{{":method", "POST"},
                                            {":scheme", "http"},
                                            {":path", "/test.Text/Echo"},
                                            {":authority", "a.example"},
                                            {"te", "trailers"},
                                            {"content-type", "application/grpc"}}) {
      head.on_field(name, value);
    }
    for (const auto& [name, value] : more) head.on_field(name, value);
  }
  finding found(const fields& more) {
    come(more);
    return head.find();
  }

  text_service service_;
  method_table methods_;
  request_head head{methods_};
};

TEST_F(of_a_request, a_good_one_is_known_whole) {
  come({{"grpc-timeout", "5S"}, {"grpc-encoding", "gzip"}, {"grpc-accept-encoding", "identity,gzip"}, {"x-a", "1"}, {"x-b-bin", "AAE"}});
  EXPECT_EQ(head.find(), finding::fine);
  ASSERT_TRUE(head.path_known());
  EXPECT_EQ(head.method()->path, "/test.Text/Echo");
  EXPECT_EQ(head.authority(), "a.example");
  EXPECT_EQ(head.timeout(), 5'000'000'000);
  EXPECT_EQ(head.message_encoding(), encoding::gzip);
  EXPECT_TRUE(head.accepts(encoding::gzip));
  EXPECT_FALSE(head.accepts(encoding::deflate));
  EXPECT_FALSE(head.proto());
  EXPECT_FALSE(head.asks_for_head());
  EXPECT_EQ(head.metadata().size(), 2u);
  EXPECT_EQ(head.metadata().find("x-a"), "1");
  EXPECT_EQ(head.metadata().find("x-b-bin"), std::string_view("\0\1", 2));
}

TEST_F(of_a_request, nothing_is_left_for_the_next_one) {
  come({{"grpc-timeout", "bad"},
        {"grpc-encoding", "snappy"},
        {"x-b-bin", "!"},
        {":method", "HEAD"},
        {"x-a", "1"},
        {"grpc-accept-encoding", "gzip"}});
  head.on_fields_over_limit();
  EXPECT_EQ(head.find(), finding::over_limit);
  come({});
  EXPECT_EQ(head.find(), finding::fine);
  EXPECT_EQ(head.timeout(), std::nullopt);
  EXPECT_EQ(head.message_encoding(), encoding::identity);
  EXPECT_FALSE(head.accepts(encoding::gzip));
  EXPECT_TRUE(head.metadata().empty());
  EXPECT_FALSE(head.asks_for_head());
  head.reset();
  EXPECT_FALSE(head.path_known());
  EXPECT_EQ(head.authority(), "");
}

TEST_F(of_a_request, content_types) {
  const struct {
    std::string_view type;
    finding found;
    bool proto;
  } cases[] = {
      {"application/grpc", finding::fine, false},
      {"application/grpc;charset=utf-8", finding::fine, false},
      {"application/grpc+proto", finding::fine, true},
      {"application/grpc+proto;v=1", finding::fine, true},
      {"application/grpc+json", finding::other_format, false},
      {"application/grpc+", finding::other_format, false},
      {"application/grpcx", finding::not_grpc, false},
      {"application/grpc-web", finding::not_grpc, false},
      {"text/html", finding::not_grpc, false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(found({{"content-type", c.type}}), c.found) << c.type;
    EXPECT_EQ(head.proto(), c.proto) << c.type;
  }
}

TEST_F(of_a_request, the_root_is_a_page_unless_it_is_a_call) {
  EXPECT_EQ(found({{":path", "/"}, {"content-type", "text/html"}, {":method", "GET"}}), finding::page);
  EXPECT_EQ(found({{":path", "/"}, {"content-type", "text/html"}, {":method", "HEAD"}}), finding::page);
  EXPECT_TRUE(head.asks_for_head());
  EXPECT_EQ(found({{":path", "/"}}), finding::unknown_method);
}

// Each request has what the later ones have, too: the first counts.
TEST_F(of_a_request, the_order_of_refusals) {
  fields wrong;
  const auto found_with = [&](std::string_view name, std::string_view value) {
    wrong.emplace_back(name, value);
    return found(wrong);
  };
  EXPECT_EQ(found_with("x-bin", "!"), finding::bad_binary);
  EXPECT_EQ(found_with("grpc-encoding", "snappy"), finding::bad_encoding);
  EXPECT_EQ(found_with("grpc-timeout", "soon"), finding::bad_timeout);
  EXPECT_EQ(found_with("content-type", "application/grpc+json"), finding::other_format);
  EXPECT_EQ(found_with(":path", "/test.Text/None"), finding::unknown_method);
  EXPECT_EQ(found_with(":method", "GET"), finding::not_post);
  EXPECT_EQ(found_with("content-type", "text/plain"), finding::not_grpc);
  head.on_fields_over_limit();
  EXPECT_EQ(head.find(), finding::over_limit);
}

TEST_F(of_a_request, what_a_refusal_says) {
  const struct {
    finding of;
    std::string_view http_status;
    status_code code;
    std::string_view words;
  } cases[] = {
      {finding::over_limit, "431", status_code::resource_exhausted, "over the server's limit"},
      {finding::not_grpc, "415", status_code::invalid_argument, "not application/grpc"},
      {finding::not_post, "405", status_code::internal, "not POST"},
      {finding::unknown_method, "200", status_code::unimplemented, "no such method: /test.Text/None"},
      {finding::other_format, "200", status_code::unimplemented, "application/grpc+proto"},
      {finding::bad_timeout, "400", status_code::internal, "grpc-timeout"},
      {finding::bad_encoding, "200", status_code::unimplemented, "identity,deflate,gzip"},
      {finding::bad_binary, "200", status_code::internal, "not base64"},
  };
  come({{":path", "/test.Text/None"}});
  for (const auto& c : cases) {
    const request_head::refusal why = head.why(c.of);
    EXPECT_EQ(why.http_status, c.http_status);
    EXPECT_EQ(why.code, c.code) << c.words;
    EXPECT_NE(why.message.find(c.words), std::string::npos) << why.message;
  }
}

TEST_F(of_a_request, authority_before_host) {
  come({{"host", "h.example"}});
  EXPECT_EQ(head.authority(), "a.example");
  head.reset();
  head.on_field("host", "h.example");
  head.on_field("host", "other.example");
  EXPECT_EQ(head.authority(), "h.example");
  head.on_field(":authority", "a.example");
  EXPECT_EQ(head.authority(), "a.example");
}

}  // namespace
