// Calls of all four kinds against our own server.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include <warren/sync.h>

#include "tests/server/client/text_stub.h"

namespace {

using namespace warren;
using namespace warren::testing;
using grpc::status_code;

template <class F>
void with_channel(grpc::channel_options options, F body) {
  with_server([&](grpc::server& server, text_service& service) {
    grpc::channel channel(server.address(), options);
    body(text_stub{channel}, service);
  });
}
template <class F>
void with_channel(F body) {
  with_channel({}, body);
}

TEST(client_call, unary_returns_the_reply) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    const auto reply = stub.unary(ctx, "/test.Text/Echo", "hello");
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_EQ((*reply).bytes, "hello");
  });
}

}  // namespace
