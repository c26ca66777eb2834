// The wire rules of gRPC over HTTP/2, one test per rule, numbered as in the project's list of rules: what a server answers to requests
// good and bad, seen frame by frame. Client-streaming: stream_test.cpp; compression: compression_test.cpp.
// Rules of TLS and the client are not here yet.
#include <gtest/gtest.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::be32;
using warren::testing::fields;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

const std::string kEcho = "/test.Text/Echo";

std::string code(grpc::status_code c) { return std::to_string(static_cast<uint32_t>(c)); }
const std::string kDeadline = code(grpc::status_code::deadline_exceeded);
const std::string kExhausted = code(grpc::status_code::resource_exhausted);
const std::string kUnimplemented = code(grpc::status_code::unimplemented);
const std::string kInternal = code(grpc::status_code::internal);

// A complete request with one header changed (or removed: empty value).
reply call_with(raw_client& c, const std::string& name, const std::string& value, const std::string& path = kEcho) {
  const int32_t id = c.begin(raw_client::with(raw_client::request_fields(path), name, value));
  c.data(id, message("x"), true);
  return c.wait(id);
}

// The connection still serves.
void expect_alive(raw_client& c) { EXPECT_EQ(c.call(kEcho, "alive").messages(), std::vector<std::string>{"alive"}); }

TEST(wire_rules, rule_01_content_type_must_be_grpc) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* bad : {"application/grpcx", "application/json", "text/html", ""}) {
      const reply r = call_with(c, "content-type", bad);
      EXPECT_EQ(r.http_status(), "415") << bad;
      EXPECT_EQ(r.shape, "h") << bad;
    }
    EXPECT_EQ(svc.ran, 0);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_02_content_type_subtypes_are_echoed) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(call_with(c, "content-type", "application/grpc").header("content-type"), "application/grpc");
    EXPECT_EQ(call_with(c, "content-type", "application/grpc+proto").header("content-type"), "application/grpc+proto");
    EXPECT_EQ(call_with(c, "content-type", "application/grpc;charset=utf-8").grpc_status(), "0");
    EXPECT_EQ(call_with(c, "content-type", "application/grpc+proto;v=1").grpc_status(), "0");
  });
}

TEST(wire_rules, rule_03_unknown_subtype) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    EXPECT_EQ(call_with(c, "content-type", "application/grpc+foo").grpc_status(), kUnimplemented);
    EXPECT_EQ(svc.ran, 0);
  });
}

TEST(wire_rules, rule_04_method_must_be_post) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* verb : {"GET", "PUT", "OPTIONS"}) {
      const reply r = call_with(c, ":method", verb);
      EXPECT_EQ(r.http_status(), "405") << verb;
      EXPECT_EQ(r.grpc_status(), kInternal) << verb;
    }
    EXPECT_EQ(svc.ran, 0);
  });
}

TEST(wire_rules, rule_05_malformed_paths_are_unimplemented) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* path :
         {"/", "/a", "//", "/a/b/c", "/test.Text/Echo/", "/test.Text//Echo", "/test.Text/", "//test.Text/Echo", "/TEST.Text/Echo"}) {
      const reply r = c.call(path, "x");
      EXPECT_EQ(r.grpc_status(), kUnimplemented) << path;
      EXPECT_EQ(r.shape, "h") << path;
    }
    // Without the slash it is no path of HTTP/2 at all: refused before any of our code could be fooled by it.
    EXPECT_EQ(c.call("test.Text/Echo", "x").reset, NGHTTP2_PROTOCOL_ERROR);
    EXPECT_EQ(svc.ran, 0);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_06_unknown_service_or_method) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Nope", "x").grpc_status(), kUnimplemented);
    const reply r = c.call("/no.Such/Echo", "x");
    EXPECT_EQ(r.grpc_status(), kUnimplemented);
    EXPECT_EQ(r.http_status(), "200");
    EXPECT_EQ(r.shape, "h");
    EXPECT_EQ(r.header("content-type"), "application/grpc");
    EXPECT_EQ(s.counters().calls_unknown_method, 2u);
  });
}

TEST(wire_rules, rule_07_several_authorities_are_malformed) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    fields f = raw_client::request_fields(kEcho);
    f.insert(f.begin(), {":authority", "other"});
    EXPECT_EQ(c.wait(c.begin(f, true)).reset, NGHTTP2_PROTOCOL_ERROR);
    f = raw_client::request_fields(kEcho);
    f.emplace_back("host", "one");
    f.emplace_back("host", "two");
    EXPECT_EQ(c.wait(c.begin(f, true)).reset, NGHTTP2_PROTOCOL_ERROR);
    EXPECT_EQ(svc.ran, 0);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_08_host_stands_in_for_authority) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string facts = "/test.Text/Facts";
    fields f = raw_client::with(raw_client::request_fields(facts), ":authority", "");
    f.emplace_back("host", "from-host");
    int32_t id = c.begin(f);
    c.data(id, message(""), true);
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"/test.Text/Facts from-host 127.0.0.1: unlimited on"});
    f = raw_client::request_fields(facts);
    f.emplace_back("host", "from-host");
    id = c.begin(f);
    c.data(id, message(""), true);
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"/test.Text/Facts test 127.0.0.1: unlimited on"});
  });
}

TEST(wire_rules, rule_09_connection_headers_are_malformed) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(call_with(c, "connection", "close").reset, NGHTTP2_PROTOCOL_ERROR);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_10_te) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(call_with(c, "te", "gzip").reset, NGHTTP2_PROTOCOL_ERROR);
    EXPECT_EQ(call_with(c, "te", "").grpc_status(), "0");  // absent: accepted
    EXPECT_EQ(call_with(c, "te", "trailers").grpc_status(), "0");
  });
}

TEST(wire_rules, rule_11_malformed_timeouts) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* bad : {"1", "S", "123456789S", "-1S", "1x", "1.5S", "1 S"}) {
      const reply r = call_with(c, "grpc-timeout", bad);
      EXPECT_EQ(r.grpc_status(), kInternal) << bad;
      EXPECT_EQ(r.http_status(), "400") << bad;
    }
    EXPECT_EQ(svc.ran, 0);
    for (const char* good : {"99999999H", "99999999M", "10S", "10000m", "99999999u"}) {
      EXPECT_EQ(call_with(c, "grpc-timeout", good).grpc_status(), "0") << good;
    }
    EXPECT_EQ(c.call("/test.Text/Facts", "", {{"grpc-timeout", "10S"}}).messages(),
              std::vector<std::string>{"/test.Text/Facts test 127.0.0.1: limited on"});
  });
}

TEST(wire_rules, rule_12_timeout_past_at_arrival) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* late : {"0n", "0H", "1n"}) EXPECT_EQ(call_with(c, "grpc-timeout", late).grpc_status(), kDeadline) << late;
    EXPECT_EQ(svc.ran, 0);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_13_deadline_cancels_the_handler_and_answers) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    // A handler that waits for its context, and one that does not look at it: both are answered.
    EXPECT_EQ(c.call("/test.Text/UntilDone", "", {{"grpc-timeout", "20m"}}).grpc_status(), kDeadline);
    EXPECT_TRUE(until([&] { return svc.returned == 1; }));
    EXPECT_EQ(svc.cause, static_cast<int>(grpc::status_code::deadline_exceeded));
    EXPECT_EQ(c.call("/test.Text/Wait", "", {{"grpc-timeout", "20m"}}).grpc_status(), kDeadline);
    svc.hold = false;
    EXPECT_TRUE(until([&] { return svc.returned == 2; }));
    // A stream that has begun ends with trailers.
    const reply r = c.call("/test.Text/Hang", "", {{"grpc-timeout", "20m"}});
    EXPECT_EQ(r.shape, "HDh");
    EXPECT_EQ(r.grpc_status(), kDeadline);
    // A request that never becomes complete.
    const int32_t id = c.begin(raw_client::with(raw_client::request_fields(kEcho), "grpc-timeout", "20m"));
    EXPECT_EQ(c.wait(id).grpc_status(), kDeadline);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_14_binary_metadata_padded_unpadded_and_joined) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const auto seen = [&](const std::string& value) { return c.call("/test.Text/Metadata", "", {{"k-bin", value}}); };
    EXPECT_EQ(seen("AAEC").messages(), std::vector<std::string>{std::string("k-bin=\0\1\2|", 10)});
    EXPECT_EQ(seen("YQ").messages(), std::vector<std::string>{"k-bin=a|"});
    EXPECT_EQ(seen("YQ==").messages(), std::vector<std::string>{"k-bin=a|"});
    EXPECT_EQ(seen("YQ==,Yg").messages(), std::vector<std::string>{"k-bin=a|k-bin=b|"});
    for (const char* bad : {"%%%", "A", "YQ=", "YQ===", "Y=Q="}) {
      EXPECT_EQ(seen(bad).grpc_status(), kInternal) << bad;  // this stream's error only
    }
    expect_alive(c);
  });
}

TEST(wire_rules, rule_15_repeated_keys_keep_their_order) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Metadata", "", {{"k", "1"}, {"l", "x"}, {"k", "2"}, {"k", "3"}}).messages(),
              std::vector<std::string>{"k=1|l=x|k=2|k=3|"});
  });
}

TEST(wire_rules, rule_16_reserved_keys_are_hidden) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Metadata", "",
                     {{"grpc-foo", "1"},
                      {"grpc-accept-encoding", "gzip"},
                      {"grpc-previous-rpc-attempts", "2"},
                      {"grpc-retry-pushback-ms", "3"},
                      {"mine", "4"}})
                  .messages(),
              std::vector<std::string>{"grpc-previous-rpc-attempts=2|grpc-retry-pushback-ms=3|mine=4|"});
  });
}

TEST(wire_rules, rule_17_bad_text_metadata_is_no_error) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call("/test.Text/Metadata", "", {{"k", "a\x01z"}, {"l", "good"}});
    EXPECT_EQ(r.messages(), std::vector<std::string>{"l=good|"}) << r.shape << " " << r.reset.value_or(99);
    EXPECT_EQ(c.call(kEcho, "x", {{"k", "caf\xc3\xa9"}}).grpc_status(), "0");
  });
}

TEST(wire_rules, rule_18_header_list_over_the_limit) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    reply r = c.call(kEcho, "x", {{"big", std::string(16 << 10, 'h')}});
    EXPECT_EQ(r.http_status(), "431");
    EXPECT_EQ(r.grpc_status(), kExhausted);
    fields many;
    for (int i = 0; i < 200; i++) many.emplace_back(std::string("k").append(std::to_string(i)), "v");
    EXPECT_EQ(c.call(kEcho, "x", many).grpc_status(), kExhausted);
    EXPECT_EQ(svc.ran, 0);
    EXPECT_EQ(c.call(kEcho, "x", {{"big", std::string(8 << 10, 'h')}}).grpc_status(), "0");
    expect_alive(c);
  });
}

// Each of them is a pair with a copy of the key: 16 KiB of a long key and of commas would be 64 MB of metadata.
TEST(wire_rules, rule_18_values_that_were_joined_count_as_the_fields_they_were) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "x", {{"k-bin", std::string(200, ',')}}).http_status(), "431") << "more fields than may be";
    EXPECT_EQ(c.call(kEcho, "x", {{std::string(4000, 'k') + "-bin", ",,,,"}}).http_status(), "431") << "more bytes than may be";
    EXPECT_EQ(c.call(kEcho, "x", {{std::string(8000, 'k') + "-bin", std::string(8000, ',')}}).http_status(), "431") << "a bomb";
    EXPECT_EQ(svc.ran, 0);
    EXPECT_EQ(c.call(kEcho, "x", {{"k-bin", std::string(100, ',')}, {"k", std::string(200, ',')}}).grpc_status(), "0");
    expect_alive(c);
  });
}

TEST(wire_rules, rule_19_framing_ignores_frame_boundaries) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string m = message("twenty bytes of text");
    // One byte per DATA frame.
    int32_t id = c.begin(raw_client::request_fields(kEcho));
    for (size_t i = 0; i < m.size(); i++) c.data(id, m.substr(i, 1), i + 1 == m.size());
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"twenty bytes of text"});
    // The prefix split at each of its bytes.
    for (size_t cut = 1; cut <= 5; cut++) {
      id = c.begin(raw_client::request_fields(kEcho));
      c.data(id, m.substr(0, cut), false);
      c.data(id, m.substr(cut), true);
      EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"twenty bytes of text"}) << cut;
    }
    // A flag that is neither 0 nor 1.
    id = c.begin(raw_client::request_fields(kEcho));
    c.data(id, message("x", 2), true);
    EXPECT_EQ(c.wait(id).grpc_status(), kInternal);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_20_empty_message_is_a_message) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call(kEcho, "");
    EXPECT_EQ(r.shape, "HDh");
    EXPECT_EQ(r.messages(), std::vector<std::string>{""});
  });
}

TEST(wire_rules, rule_21_message_over_the_limit_is_refused_before_it_comes) {
  with_server({.max_receive_message = 1000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, std::string(1000, 'x')).grpc_status(), "0");
    EXPECT_EQ(c.call(kEcho, std::string(1001, 'x')).grpc_status(), kExhausted);
    // The prefix alone is enough: 4 GiB are announced, 5 bytes are sent.
    const int32_t id = c.begin(raw_client::request_fields(kEcho));
    c.data(id, std::string("\0\xff\xff\xff\xff", 5), false);
    const reply r = c.wait(id);
    EXPECT_EQ(r.grpc_status(), kExhausted);
    EXPECT_EQ(svc.ran, 1);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_21_reply_over_the_limit) {
  with_server({.max_send_message = 1000}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Big", "1000").grpc_status(), "0");
    const reply r = c.call("/test.Text/Big", "1001");
    EXPECT_EQ(r.grpc_status(), kExhausted);
    EXPECT_EQ(r.data, "");
    EXPECT_EQ(c.call("/test.Text/Stream", "3 1001").grpc_status(), kExhausted);
  });
}

TEST(wire_rules, rule_22_compressed_flag_without_encoding) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin(raw_client::request_fields(kEcho));
    c.data(id, message("x", 1), true);
    EXPECT_EQ(c.wait(id).grpc_status(), kInternal);
  });
}

TEST(wire_rules, rule_23_unknown_encoding_names_what_is_taken) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    for (const char* encoding : {"br", "snappy"}) {
      const reply r = call_with(c, "grpc-encoding", encoding);
      EXPECT_EQ(r.grpc_status(), kUnimplemented);
      EXPECT_EQ(r.header("grpc-accept-encoding"), "identity,deflate,gzip");
    }
    EXPECT_EQ(call_with(c, "grpc-encoding", "identity").grpc_status(), "0");
  });
}

TEST(wire_rules, rule_26_request_ends_within_a_message) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const size_t n : {1u, 4u, 5u, 7u}) {
      const int32_t id = c.begin(raw_client::request_fields(kEcho));
      c.data(id, message("abcdef").substr(0, n), true);
      EXPECT_EQ(c.wait(id).grpc_status(), kInternal) << n;
    }
    EXPECT_EQ(svc.ran, 0);
  });
}

TEST(wire_rules, rule_27_exactly_one_request_message) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    for (const char* path : {"/test.Text/Echo", "/test.Text/Stream"}) {
      EXPECT_EQ(c.wait(c.begin(raw_client::request_fields(path), true)).grpc_status(), kUnimplemented) << path;
      int32_t id = c.begin(raw_client::request_fields(path));
      c.data(id, "", true);
      EXPECT_EQ(c.wait(id).grpc_status(), kUnimplemented) << path;
      id = c.begin(raw_client::request_fields(path));
      c.data(id, message("1 1") + message("1 1"), true);
      EXPECT_EQ(c.wait(id).grpc_status(), kUnimplemented) << path;
    }
    EXPECT_EQ(svc.ran, 0);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_28_empty_data_frame_ends_the_request) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin(raw_client::request_fields(kEcho));
    c.data(id, message("half-closed later"), false);
    c.data(id, "", true);
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{"half-closed later"});
  });
}

TEST(wire_rules, rule_29_request_trailers_end_the_request) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin(raw_client::request_fields("/test.Text/Metadata"));
    c.data(id, message(""), false);
    c.headers(id, {{"k", "of a trailer"}}, true);
    const reply r = c.wait(id);
    EXPECT_EQ(r.grpc_status(), "0");
    EXPECT_EQ(r.messages(), std::vector<std::string>{""});
  });
}

TEST(wire_rules, rule_30_unparsable_request) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "unparsable").grpc_status(), kInternal);
    EXPECT_EQ(svc.ran, 0);
  });
}

TEST(wire_rules, rule_31_shape_of_an_answer) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call(kEcho, "hello");
    EXPECT_EQ(r.shape, "HDh");
    EXPECT_EQ(r.headers, (fields{{":status", "200"}, {"content-type", "application/grpc"}}));
    EXPECT_EQ(r.trailers, (fields{{"grpc-status", "0"}}));
    EXPECT_EQ(r.messages(), std::vector<std::string>{"hello"});
  });
}

TEST(wire_rules, rule_32_errors_are_trailers_only) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call("/test.Text/Fail", "5 not here");
    EXPECT_EQ(r.shape, "h");
    EXPECT_EQ(r.headers,
              (fields{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}, {"grpc-message", "not here"}}));
  });
}

TEST(wire_rules, rule_33_status_codes) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    for (const char* n : {"1", "7", "10", "16", "17", "1234567"}) {
      EXPECT_EQ(c.call("/test.Text/Fail", std::string(n) + " m").grpc_status(), n);
    }
    EXPECT_EQ(c.call("/test.Text/NoReply", "").grpc_status(), "2");  // OK without a message
  });
}

TEST(wire_rules, rule_34_grpc_message_is_percent_encoded) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const auto sent = [&](const std::string& m) { return c.call("/test.Text/Fail", "2 " + m).trailer("grpc-message"); };
    EXPECT_EQ(sent("100%"), "100%25");
    EXPECT_EQ(sent("%zz"), "%25zz");
    EXPECT_EQ(sent("a\nb"), "a%0Ab");
    EXPECT_EQ(sent("\xF0\x9F\x98\x88"), "%F0%9F%98%88");
    EXPECT_EQ(sent("\xFF"), "%EF%BF%BD");
  });
}

TEST(wire_rules, rule_36_early_answer_stops_the_client) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin(raw_client::request_fields("/no.Such/Method"));
    c.wait_for(id, "hR");
    EXPECT_EQ(c.replies[id].shape, "hR");
    EXPECT_EQ(c.replies[id].reset, NGHTTP2_NO_ERROR);
    EXPECT_EQ(c.replies[id].grpc_status(), kUnimplemented);
  });
}

TEST(wire_rules, rule_37_refused_uploads_do_not_leak_the_connection_window) {
  with_server({.connection_window = 1 << 20}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string block(16 << 10, 'x');
    int64_t sent = 0;
    for (int i = 0; i < 100; i++) {
      const int32_t id = c.begin(raw_client::request_fields("/no.Such/Method"));
      for (int k = 0; k < 3; k++) {
        c.data(id, block, false);
        sent += static_cast<int64_t>(block.size());
      }
      ASSERT_TRUE(c.ping());  // also reads what came
    }
    // All but what is below the threshold of an update was given back.
    EXPECT_GT(c.connection_window_updates, sent);  // the initial enlargement is in it too
    expect_alive(c);
  });
}

TEST(wire_rules, rule_39_handler_exception_is_unknown_and_silent) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call("/test.Text/Throw", "");
    EXPECT_EQ(r.grpc_status(), "2");
    EXPECT_EQ(r.trailer("grpc-message").find("secret"), std::string::npos);
    expect_alive(c);
  });
}

TEST(wire_rules, rule_40_binary_metadata_is_sent_unpadded) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/test.Text/Metadata", "", {{"x-echo-trailing-bin", "YQ=="}}).trailer("x-echo-trailing-bin"), "YQ");
  });
}

TEST(wire_rules, rule_41_initial_metadata) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    reply r = c.call("/test.Text/Metadata", "", {{"x-echo-initial", "early"}, {"x-echo-trailing-bin", "AAE"}});
    EXPECT_EQ(r.shape, "HDh");
    EXPECT_EQ(r.header("x-echo-initial"), "early");
    EXPECT_EQ(r.trailer("x-echo-trailing-bin"), "AAE");
    r = c.call("/test.Text/Metadata", "fail", {{"x-echo-initial", "early"}, {"x-echo-trailing-bin", "AAE"}});
    EXPECT_EQ(r.shape, "Hh");
    EXPECT_EQ(r.header("x-echo-initial"), "early");
    EXPECT_EQ(r.grpc_status(), "10");
    // Streams: with messages, with none, with an error after the first, with an error before any.
    EXPECT_EQ(c.call("/test.Text/Stream", "0 0").shape, "Hh");
    r = c.call("/test.Text/StreamFail", "1");
    EXPECT_EQ(r.shape, "HDh");
    EXPECT_EQ(r.header("x-early"), "1");
    EXPECT_EQ(r.grpc_status(), "15");
    EXPECT_EQ(r.trailer("grpc-message"), "headers had left");
    r = c.call("/test.Text/StreamFail", "0");
    EXPECT_EQ(r.shape, "Hh");
    EXPECT_EQ(r.header("x-early"), "1");
  });
}

TEST(wire_rules, rule_44_graceful_goaway_in_two_steps) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t first = c.start("/test.Text/Wait", "held");
    ASSERT_TRUE(until([&] { return svc.ran == 1; }));
    std::atomic<bool> stopped{false};
    warren::go([&] {
      s.shutdown(60s);
      stopped = true;
    });
    c.acknowledge = false;  // the PING's answer is ours to time
    while (c.goaway.empty() && c.read_frame()) {
    }
    ASSERT_FALSE(c.goaway.empty());
    EXPECT_EQ(c.goaway[0], (std::pair<int32_t, uint32_t>(0x7fffffff, NGHTTP2_NO_ERROR)));
    // A call that was on its way is still served.
    EXPECT_EQ(c.call(kEcho, "late").messages(), std::vector<std::string>{"late"});
    c.send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, std::string("\1\6\1\10\0\3\3\11", 8));
    while (c.goaway.size() < 2 && c.read_frame()) {
    }
    ASSERT_EQ(c.goaway.size(), 2u);
    EXPECT_EQ(c.goaway[1].second, NGHTTP2_NO_ERROR);
    EXPECT_EQ(c.goaway[1].first, 3);
    svc.hold = false;
    EXPECT_EQ(c.wait(first).messages(), std::vector<std::string>{"held"});
    c.wait_closed();
    EXPECT_FALSE(c.timed_out);
    c.close();
    EXPECT_TRUE(until([&] { return stopped.load(); }));
  });
}

TEST(wire_rules, rule_48_settings) {
  with_server([](grpc::server& s, text_service&) {
    // MAX_FRAME_SIZE and window changes: a stream's window shrinks below zero and comes back.
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    EXPECT_EQ(c.settings[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], 1000u);
    const auto set_window = [&](uint32_t n) { c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + be32(n)); };
    set_window(10);
    const int32_t id = c.start("/test.Text/Big", "95");  // 100 bytes with the prefix
    while (c.replies[id].data.size() < 10 && c.read_frame()) {
    }
    EXPECT_TRUE(c.ping());
    EXPECT_EQ(c.replies[id].data.size(), 10u);
    set_window(0);  // the window is now -10
    c.window_update(id, 15);
    while (c.replies[id].data.size() < 15 && c.read_frame()) {
    }
    EXPECT_TRUE(c.ping());
    EXPECT_EQ(c.replies[id].data.size(), 15u);
    set_window(65535);
    EXPECT_EQ(c.wait(id).messages(), std::vector<std::string>{std::string(95, 'b')});
    // The header table may shrink to nothing.
    c.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\1", 2) + be32(0));
    EXPECT_TRUE(c.ping());
  });
}

TEST(wire_rules, rule_49_streams_over_the_limit_are_refused_singly) {
  with_server({.max_concurrent_streams = 4}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    ASSERT_TRUE(c.ping());
    EXPECT_EQ(c.settings[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], 4u);
    std::vector<int32_t> ids;
    for (int i = 0; i < 4; i++) ids.push_back(c.start("/test.Text/Wait", "w"));
    ASSERT_TRUE(until([&] { return svc.ran == 4; }));
    for (int i = 0; i < 3; i++) EXPECT_EQ(c.call(kEcho, "x").reset, NGHTTP2_REFUSED_STREAM);
    EXPECT_EQ(s.counters().streams_refused, 3u);
    svc.hold = false;
    for (const int32_t id : ids) EXPECT_EQ(c.wait(id).grpc_status(), "0");
    expect_alive(c);
  });
}

TEST(wire_rules, rule_49_handlers_that_outlive_their_stream_count) {
  with_server({.max_concurrent_streams = 2}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t one = c.start("/test.Text/Wait", "w");
    const int32_t two = c.start("/test.Text/Wait", "w");
    ASSERT_TRUE(until([&] { return svc.ran == 2; }));
    c.reset(one);
    c.reset(two);
    EXPECT_EQ(c.call(kEcho, "x").reset, NGHTTP2_REFUSED_STREAM);
    svc.hold = false;
    ASSERT_TRUE(until([&] { return svc.returned == 2; }));
    EXPECT_TRUE(until([&] { return c.call(kEcho, "x").grpc_status() == "0"; }));
  });
}

TEST(wire_rules, rule_50_one_stream_that_is_not_read_does_not_stall_the_others) {
  with_server([](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const int32_t stuck = c.start("/test.Text/Wait", std::string(15 << 10, 's'));
    const std::string payload(15 << 10, 'p');
    for (int i = 0; i < 500; i++) {  // 7.5 MB through a window of 4 MB
      const reply r = c.call(kEcho, payload);
      ASSERT_EQ(r.data.size(), payload.size() + 5) << i;
      c.window_update(0, static_cast<uint32_t>(r.data.size()));
    }
    svc.hold = false;
    EXPECT_EQ(c.wait(stuck).grpc_status(), "0");
  });
}

TEST(wire_rules, rule_51_stream_ids_are_odd_and_increase) {
  with_server([](grpc::server& s, text_service&) {
    const auto ends_with_protocol_error = [&](const std::vector<int32_t>& ids) {
      raw_client c(s.address());
      for (const int32_t id : ids) {
        c.headers(id, raw_client::request_fields(kEcho), false);
      }
      c.wait_closed();
      EXPECT_FALSE(c.timed_out);
      ASSERT_FALSE(c.goaway.empty());
      EXPECT_EQ(c.goaway.back().second, NGHTTP2_PROTOCOL_ERROR);
    };
    ends_with_protocol_error({2});
    ends_with_protocol_error({5, 3});
    ends_with_protocol_error({1, 9, 5});
    raw_client c(s.address());  // the server goes on
    expect_alive(c);
  });
}

TEST(wire_rules, rule_52_preface_deadline) {
  with_server({.preface_timeout = 50ms}, [](grpc::server& s, text_service&) {
    raw_client silent(s.address(), false);
    silent.acknowledge = false;  // or the answer to the server's SETTINGS would be the first bytes
    silent.wait_closed();
    EXPECT_FALSE(silent.timed_out);
    raw_client slow(s.address(), false);
    slow.acknowledge = false;
    slow.send("PRI * HTTP/2.0\r\n");
    slow.wait_closed();
    EXPECT_FALSE(slow.timed_out);
    raw_client no_settings(s.address(), false);
    no_settings.acknowledge = false;
    no_settings.send(std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
    no_settings.wait_closed();
    EXPECT_FALSE(no_settings.timed_out);
    EXPECT_TRUE(until([&] { return s.counters().connections_open == 0; }));
    EXPECT_EQ(s.counters().connections_stalled, 3u);
    // One that was in time may then be silent.
    raw_client good(s.address());
    ASSERT_TRUE(good.ping());
    warren::sleep(100ms);
    expect_alive(good);
  });
}

TEST(wire_rules, rule_54_http1_and_garbage_get_a_short_answer) {
  with_server([](grpc::server& s, text_service&) {
    for (const char* request :
         {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /test.Text/Echo HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"}) {
      raw_client c(s.address(), false);
      c.send(request);
      const std::string answer = c.read_all();
      EXPECT_FALSE(c.timed_out);
      EXPECT_EQ(answer.substr(0, 17), "HTTP/1.1 400 Bad ") << request;
      EXPECT_NE(answer.find("gRPC"), std::string::npos);
    }
    for (const std::string& garbage : {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), std::string(100, '\0'),
                                       std::string("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), std::string("hello\r\n")}) {
      raw_client c(s.address(), false);
      c.send(garbage);
      c.wait_closed();
      EXPECT_FALSE(c.timed_out);
      ASSERT_EQ(c.goaway.size(), 1u);
      EXPECT_EQ(c.goaway[0].second, NGHTTP2_PROTOCOL_ERROR);
    }
    EXPECT_EQ(s.counters().connections_not_http2, 7u);
    raw_client c(s.address());
    expect_alive(c);
  });
}

TEST(wire_rules, status_page_at_the_root_for_humans) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}}, true);
    const reply r = c.wait(id);
    EXPECT_EQ(r.shape, "Hd");
    EXPECT_EQ(r.http_status(), "200");
    EXPECT_NE(r.data.find("gRPC"), std::string::npos);
  });
}

// The page's answer waits for the end of the request, but not for ever: an upload without end is answered when half of the stream's window
// is used up, and told to stop.
TEST(wire_rules, status_page_ends_an_endless_upload) {
  grpc::server_options o;
  o.stream_window = 64 << 10;
  with_server(o, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin({{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}});
    for (int i = 0; i < 2; i++) c.data(id, std::string(15 << 10, 'x'), false);
    ASSERT_TRUE(c.ping());
    EXPECT_EQ(c.replies[id].shape, "");
    c.data(id, std::string(2 << 10, 'x'), false);
    EXPECT_EQ(c.wait_for(id, "HdR").shape, "HdR");
    EXPECT_EQ(c.replies[id].reset, NGHTTP2_NO_ERROR);
    expect_alive(c);
  });
}

TEST(wire_rules, status_page_ends_a_request_that_does_not_end) {
  grpc::server_options o;
  o.request_timeout = 50ms;
  with_server(o, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const int32_t id = c.begin({{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}});
    EXPECT_EQ(c.wait_for(id, "HdR").shape, "HdR");
    expect_alive(c);
  });
}

}  // namespace
