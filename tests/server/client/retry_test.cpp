// Retry policy, hedging and throttling (gRPC A6), by servers that answer as a script says.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include <warren/sync.h>

#include "server/client/throttle.h"
#include "tests/server/client/text_stub.h"
#include "tests/server/raw_server.h"

namespace {

using namespace warren;
using namespace warren::testing;
using grpc::status_code;
using std::chrono::milliseconds;

const char* const kRetry = R"({"methodConfig": [{"name": [{"service": "test.Text"}], "retryPolicy": {
  "maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.01s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", 10]}}]})";
const char* const kHedge = R"({"methodConfig": [{"name": [{}], "hedgingPolicy": {
  "maxAttempts": 3, "hedgingDelay": "0.02s", "nonFatalStatusCodes": ["UNAVAILABLE"]}}]})";

template <class Script, class Body>
void against(const std::string& config, Script script, Body body, grpc::channel_options options = {}) {
  options.service_config = config;
  warren::run([&] {
    raw_server server;
    grpc::channel channel(server.address(), options);
    wait_group peer;
    peer.go([&] {
      const auto c = server.accept();
      script(*c);
      c->wait_closed();
    });
    body(text_stub{channel});
    channel.close();
    peer.wait();
  });
}

TEST(client_retry, a_retryable_failure_is_sent_again_with_its_number) {
  against(
      kRetry,
      [](raw_client& c) {
        for (int n = 0; n < 3; n++) {
          const int32_t id = raw_server::next_request(c, n);
          EXPECT_EQ(c.replies[id].data, message("ping"));
          EXPECT_EQ(c.replies[id].header("grpc-previous-rpc-attempts"), n == 0 ? "(absent)" : std::to_string(n));
          if (n < 2) raw_server::trailers_only(c, id, n == 0 ? "14" : "10");
          if (n == 2) raw_server::answer(c, id, "at last");
        }
      },
      [](const text_stub& stub) {
        limited_context ctx;
        const auto r = stub.unary(ctx, "/test.Text/Echo", "ping");
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "at last");
        EXPECT_EQ(ctx.attempts(), 3);
        EXPECT_EQ(stub.channel.counters().retries, 2u);
      });
}

TEST(client_retry, ends_with_the_last_failure_after_max_attempts) {
  against(
      kRetry,
      [](raw_client& c) {
        for (int n = 0; n < 4; n++) {
          raw_server::trailers_only(c, raw_server::next_request(c, n), "14", {{"grpc-message", "try " + std::to_string(n)}});
        }
      },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status(), grpc::unavailable("try 3"));
        EXPECT_EQ(ctx.attempts(), 4);
      });
}

TEST(client_retry, other_codes_headers_and_pushback_forbid_it) {
  against(
      kRetry,
      [](raw_client& c) {
        raw_server::trailers_only(c, raw_server::next_request(c, 0), "5");
        // Headers commit the call.
        const int32_t id = raw_server::next_request(c, 1);
        raw_server::headers(c, id);
        raw_server::trailers(c, id, "14");
        raw_server::trailers_only(c, raw_server::next_request(c, 2), "14", {{"grpc-retry-pushback-ms", "-1"}});
        raw_server::trailers_only(c, raw_server::next_request(c, 3), "14", {{"grpc-retry-pushback-ms", "1"}});
        raw_server::answer(c, raw_server::next_request(c, 4), "pushed");
      },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::not_found);
        EXPECT_EQ(ctx.attempts(), 1);
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 1);
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 1);
        EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "").ok());
        EXPECT_EQ(ctx.attempts(), 2);
      });
}

TEST(client_retry, a_stream_is_replayed_from_its_first_message) {
  against(
      kRetry,
      [](raw_client& c) {
        const std::string two = message("one") + message("two");
        while (c.replies[1].data.size() < two.size() && !c.closed) c.read_frame();
        EXPECT_TRUE(c.replies[1].data.starts_with(two));
        raw_server::trailers_only(c, 1, "14");
        const int32_t id = raw_server::next_request(c, 1);
        EXPECT_EQ(c.replies[id].data, message("one") + message("two") + message("three"));
        raw_server::answer(c, id, "all three");
      },
      [](const text_stub& stub) {
        limited_context ctx;
        auto out = stub.client_stream(ctx, "/test.Text/Upload");
        EXPECT_TRUE(out.write(text{"one"}));
        EXPECT_TRUE(out.write(text{"two"}));
        EXPECT_TRUE(until([&] { return stub.channel.counters().attempts == 1; }));
        EXPECT_TRUE(out.write(text{"three"}));
        const auto r = out.finish();
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "all three");
      });
}

TEST(client_retry, more_than_the_retry_buffer_is_not_sent_again) {
  against(
      kRetry, [](raw_client& c) { raw_server::trailers_only(c, raw_server::next_request(c), "14"); },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", std::string(2000, 'x')).status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 1);
      },
      {.retry_buffer = 1000});
}

TEST(client_retry, can_be_switched_off) {
  against(
      kRetry, [](raw_client& c) { raw_server::trailers_only(c, raw_server::next_request(c), "14"); },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 1);
      },
      {.retries = false});
}

TEST(client_retry, the_deadline_ends_the_pause) {
  against(
      R"({"methodConfig": [{"name": [{"service": "test.Text"}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "1000s",
          "maxBackoff": "1000s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]})",
      [](raw_client& c) { raw_server::trailers_only(c, raw_server::next_request(c), "14"); },
      [](const text_stub& stub) {
        grpc::client_context ctx;
        ctx.timeout(milliseconds(100));
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::deadline_exceeded);
      });
}

TEST(client_retry, throttling_stops_retries_when_too_many_fail) {
  const std::string config =
      std::string(kRetry).substr(0, std::string(kRetry).size() - 1) + R"(, "retryThrottling": {"maxTokens": 4, "tokenRatio": 0.5}})";
  against(
      config,
      [](raw_client& c) {
        // Three tokens are left after the first failure, two (half) after the second: no third attempt.
        raw_server::trailers_only(c, raw_server::next_request(c, 0), "14");
        raw_server::trailers_only(c, raw_server::next_request(c, 1), "14");
        raw_server::trailers_only(c, raw_server::next_request(c, 2), "14");
      },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 2);
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 1);
        EXPECT_EQ(stub.channel.counters().throttled, 2u);
      });
}

TEST(client_throttle, counts_in_thousandths_between_zero_and_its_maximum) {
  grpc::client::throttle t;
  EXPECT_TRUE(t.failed());  // no throttling
  t.set(2, 0.5);
  EXPECT_TRUE(t.allows());
  EXPECT_FALSE(t.failed());  // 1 of 2: not more than half
  EXPECT_FALSE(t.failed());
  EXPECT_FALSE(t.failed());  // not below 0
  EXPECT_FALSE(t.allows());
  t.succeeded();
  t.succeeded();
  EXPECT_FALSE(t.allows());
  t.succeeded();
  EXPECT_TRUE(t.allows());
  for (int i = 0; i < 10; i++) t.succeeded();
  EXPECT_FALSE(t.failed());  // it was at 2 again, not at more
}

TEST(client_hedging, a_second_attempt_follows_a_silent_first_and_the_first_answer_counts) {
  against(
      kHedge,
      [](raw_client& c) {
        raw_server::next_request(c, 0);
        const int32_t second = raw_server::next_request(c, 1);
        EXPECT_EQ(c.replies[second].header("grpc-previous-rpc-attempts"), "1");
        EXPECT_EQ(c.replies[second].data, c.replies[1].data);
        raw_server::answer(c, second, "hedged");
        c.wait_for(1, "HdR");  // the loser is cancelled
        EXPECT_EQ(c.replies[1].reset, NGHTTP2_CANCEL);
      },
      [](const text_stub& stub) {
        limited_context ctx;
        const auto r = stub.unary(ctx, "/test.Text/Echo", "ping");
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "hedged");
        EXPECT_GE(ctx.attempts(), 2);
        // The reset leaves before this call's frames do.
        limited_context next;
        grpc::call_ptr call = stub.channel.start(next, {"/other/Method", grpc::method_kind::unary});
        EXPECT_TRUE(call->start());
      });
}

TEST(client_hedging, a_non_fatal_failure_sends_the_next_at_once_and_a_fatal_one_ends_it) {
  const char* const patient = R"({"methodConfig": [{"name": [{}], "hedgingPolicy": {
    "maxAttempts": 3, "hedgingDelay": "1000s", "nonFatalStatusCodes": ["UNAVAILABLE"]}}]})";
  against(
      patient,
      [](raw_client& c) {
        raw_server::trailers_only(c, raw_server::next_request(c, 0), "14");
        raw_server::answer(c, raw_server::next_request(c, 1), "second");
        raw_server::trailers_only(c, raw_server::next_request(c, 2), "14");
        raw_server::trailers_only(c, raw_server::next_request(c, 3), "3");
        for (int n = 4; n < 7; n++) raw_server::trailers_only(c, raw_server::next_request(c, n), "14");
      },
      [](const text_stub& stub) {
        limited_context ctx;
        const auto r = stub.unary(ctx, "/test.Text/Echo", "");
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "second");
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::invalid_argument);
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::unavailable);
        EXPECT_EQ(ctx.attempts(), 3);
      });
}

TEST(client_service_config, sets_timeout_limits_and_wait_for_ready) {
  against(
      R"({"methodConfig": [
        {"name": [{"service": "test.Text", "method": "Echo"}], "timeout": "0.05s"},
        {"name": [{"service": "test.Text"}], "maxRequestMessageBytes": 10, "maxResponseMessageBytes": 5}]})",
      [](raw_client& c) {
        raw_server::next_request(c, 0);
        EXPECT_NE(c.replies[1].header("grpc-timeout"), "(absent)");
        raw_server::answer(c, raw_server::next_request(c, 1), "123456");
      },
      [](const text_stub& stub) {
        grpc::client_context ctx;
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::deadline_exceeded);
        limited_context other;
        EXPECT_EQ(stub.unary(other, "/test.Text/Other", "12345678901").status().code(), status_code::resource_exhausted);
        EXPECT_EQ(stub.unary(other, "/test.Text/Other", "1234567890").status().code(), status_code::resource_exhausted);
      });
}

}  // namespace
