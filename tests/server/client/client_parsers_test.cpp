// Targets, service configs, timeouts, backoff: what a client reads before it calls anybody.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "server/client/backoff.h"
#include "server/client/response.h"
#include "server/client/service_config.h"
#include "server/client/target.h"
#include "server/grpc/timeout.h"

namespace {

using namespace warren::grpc;
using namespace warren::grpc::client;
using strings = std::vector<std::string>;

std::string refusal(const std::string& text) {
  try {
    parse_target(text);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

TEST(client_target, names_are_for_the_resolver) {
  for (const char* text : {"shop.example:50051", "dns:shop.example:50051", "dns:///shop.example:50051"}) {
    const target t = parse_target(text);
    EXPECT_TRUE(t.addresses.empty()) << text;
    EXPECT_EQ(t.host, "shop.example") << text;
    EXPECT_EQ(t.port, 50051) << text;
    EXPECT_EQ(t.authority, "shop.example:50051") << text;
    EXPECT_EQ(t.server_name, "shop.example") << text;
  }
  EXPECT_EQ(parse_target("shop.example").port, 443);
}

TEST(client_target, numbers_are_addresses) {
  EXPECT_EQ(parse_target("127.0.0.1:80").addresses, (strings{"127.0.0.1:80"}));
  EXPECT_EQ(parse_target("[::1]:80").addresses, (strings{"[::1]:80"}));
  EXPECT_EQ(parse_target("ipv4:127.0.0.1:80,10.0.0.1").addresses, (strings{"127.0.0.1:80", "10.0.0.1:443"}));
  EXPECT_EQ(parse_target("ipv6:[::1]:80,[fe80::2]:90").addresses, (strings{"[::1]:80", "[fe80::2]:90"}));
  EXPECT_EQ(parse_target("ipv6:::1").addresses, (strings{"[::1]:443"}));
  EXPECT_EQ(parse_target("ipv4:1.2.3.4:5").authority, "1.2.3.4:5");
}

TEST(client_target, unix_sockets_are_called_localhost) {
  EXPECT_EQ(parse_target("unix:run/x").addresses, (strings{"unix:run/x"}));
  EXPECT_EQ(parse_target("unix:/run/x").addresses, (strings{"unix:/run/x"}));
  EXPECT_EQ(parse_target("unix:///run/x").addresses, (strings{"unix:/run/x"}));
  EXPECT_EQ(parse_target("unix-abstract:x").addresses, (strings{"unix:@x"}));
  EXPECT_EQ(parse_target("unix:/run/x").authority, "localhost");
}

TEST(client_target, what_cannot_be_understood_is_refused_with_a_remedy) {
  for (const char* bad :
       {"", ":80", "shop:0", "shop:65536", "shop:x", "shop:", "[::1", "[::1]80", "sh op:1", "unix:", "unix-abstract:", "unix://x/y",
        "dns://8.8.8.8/shop:1", "ipv4:", "ipv4:shop:1", "ipv4:[::1]:1", "ipv6:1.2.3.4:1", "xds:///shop", "a/b:1"}) {
    EXPECT_NE(refusal(bad), "") << bad;
  }
  EXPECT_NE(refusal("xds:///shop").find("dns:///"), std::string::npos);
}

std::string config_refusal(const std::string& json) {
  try {
    parse_service_config(json);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

TEST(client_service_config, methods_are_found_by_their_most_special_name) {
  const service_config c = parse_service_config(R"({"methodConfig": [
    {"name": [{"service": "a.S", "method": "M"}], "timeout": "1s"},
    {"name": [{"service": "a.S"}], "timeout": "2.5s"},
    {"name": [{}], "timeout": "0.000000003s", "waitForReady": true}]})");
  EXPECT_EQ(c.find("/a.S/M")->timeout_ns, 1'000'000'000);
  EXPECT_EQ(c.find("/a.S/N")->timeout_ns, 2'500'000'000);
  EXPECT_EQ(c.find("/b.S/M")->timeout_ns, 3);
  EXPECT_EQ(c.find("/b.S/M")->wait_for_ready, true);
  EXPECT_EQ(parse_service_config("").find("/a.S/M"), nullptr);
  EXPECT_EQ(parse_service_config("{}").find("/a.S/M"), nullptr);
}

TEST(client_service_config, policies_are_read_and_cut_to_five_attempts) {
  const service_config c = parse_service_config(R"({
    "loadBalancingConfig": [{"unknown": {}}, {"round_robin": {}}],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{"service": "s"}], "retryPolicy": {"maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s",
      "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "aborted", 8]}, "maxRequestMessageBytes": "77"}]})");
  EXPECT_EQ(c.load_balancing, "round_robin");
  EXPECT_EQ(c.throttle.max_tokens, 10);
  const auto& r = *c.find("/s/m")->retry;
  EXPECT_EQ(r.max_attempts, 5);
  EXPECT_EQ(r.initial_backoff_ns, 100'000'000);
  EXPECT_EQ(r.retryable, 1u << 14 | 1u << 10 | 1u << 8);
  EXPECT_EQ(c.find("/s/m")->max_request, 77u);
}

TEST(client_service_config, mistakes_are_refused_with_their_place) {
  const auto method = [](const std::string& inside) { return R"({"methodConfig": [{"name": [{"service": "s"}], )" + inside + "}]}"; };
  const std::string retry = R"("maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1)";
  for (const std::string& bad : {
           std::string("{"),
           std::string("[]"),
           std::string(R"({"methodConfig": {}})"),
           std::string(R"({"methodConfig": [1]})"),
           std::string(R"({"methodConfig": [{"name": [{"method": "m"}]}]})"),
           std::string(R"({"methodConfig": [{"name": [{"service": "s"}, {"service": "s"}]}]})"),
           std::string(R"({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}})"),
           std::string(R"({"retryThrottling": {"maxTokens": 10}})"),
           std::string(R"({"loadBalancingConfig": [{"grpclb": {}}]})"),
           method(R"("timeout": 1)"),
           method(R"("timeout": "1")"),
           method(R"("timeout": "s")"),
           method(R"("timeout": "-1s")"),
           method(R"("timeout": "1.0000000001s")"),
           method(R"("timeout": "99999999999999999999s")"),
           method(R"("waitForReady": "yes")"),
           method(R"("maxRequestMessageBytes": -1)"),
           method(R"("retryPolicy": {)" + retry + "}"),
           method(R"("retryPolicy": {)" + retry + R"(, "retryableStatusCodes": ["NOPE"]})"),
           method(R"("retryPolicy": {)" + retry + R"(, "retryableStatusCodes": [17]})"),
           method(R"("retryPolicy": {"maxAttempts": 1})"),
           method(R"("retryPolicy": {)" + retry + R"(, "retryableStatusCodes": [14]}, "hedgingPolicy": {"maxAttempts": 2})"),
       }) {
    EXPECT_TRUE(config_refusal(bad).starts_with("grpc: service config: ")) << bad << " -> " << config_refusal(bad);
  }
  EXPECT_EQ(config_refusal(method(R"("timeout": 1)")), "grpc: service config: methodConfig[0].timeout: must be a string");
}

TEST(client_timeout, is_rounded_up_to_eight_digits_and_reads_back) {
  EXPECT_EQ(format_timeout(1), "1n");
  EXPECT_EQ(format_timeout(0), "1n");
  EXPECT_EQ(format_timeout(-5), "1n");
  EXPECT_EQ(format_timeout(99'999'999), "99999999n");
  EXPECT_EQ(format_timeout(100'000'000), "100000u");
  EXPECT_EQ(format_timeout(100'000'001), "100001u");
  EXPECT_EQ(format_timeout(30'000'000'000), "30000000u");
  for (const int64_t ns : {int64_t{7}, int64_t{123'456'789}, int64_t{98'765'432'101'234}, INT64_MAX / 2, INT64_MAX}) {
    const auto back = parse_timeout(format_timeout(ns));
    ASSERT_TRUE(back) << format_timeout(ns);
    EXPECT_GE(*back, ns);
  }
}

TEST(client_backoff, grows_by_1_6_up_to_the_maximum_within_a_fifth) {
  backoff b(1000, 120'000);
  EXPECT_EQ(b.next(0.5), 1000);
  EXPECT_EQ(b.next(0.5), 1600);
  EXPECT_EQ(b.next(0.0), 2048);  // 2560 less a fifth
  for (int i = 0; i < 20; i++) b.next(0.5);
  EXPECT_EQ(b.next(0.5), 120'000);
  EXPECT_LT(b.next(0.999999), 144'000);
  b.reset();
  EXPECT_EQ(b.next(0.5), 1000);
}

TEST(client_response, joined_binary_values_are_taken_apart) {
  response r;
  r.on_header(":status", "200");
  r.on_header("content-type", "application/grpc+proto");
  r.on_header("x-bin", "AQ==, Ag");
  EXPECT_EQ(r.end_block(false), response::block::initial);
  EXPECT_EQ(r.initial().find_all("x-bin"), (std::vector<std::string_view>{"\1", "\2"}));
}

TEST(client_response, reserved_names_are_not_the_users_but_two) {
  response r;
  for (const char* name : {"grpc-status", "grpc-retry-pushback-ms", "te", "x-mine", "grpc-other"}) r.on_header(name, "5");
  r.on_header(":status", "200");
  r.on_header("content-type", "application/grpc");
  EXPECT_EQ(r.end_block(true), response::block::last);
  EXPECT_EQ(r.trailing().size(), 2u);
  EXPECT_TRUE(r.trailing().find("x-mine"));
  EXPECT_EQ(r.pushback_ms(), 5);
}

}  // namespace
