// What a client owes to the protocol, and what it makes of servers that break it. The rules' numbers are those of the table of gRPC's wire
// rules (request 1–30, response 31–41, connection 42–54) that wire_rules_test.cpp follows for the server.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>

#include <warren/sync.h>

#include "server/client/limits.h"
#include "server/http2/limits.h"
#include "tests/server/client/text_stub.h"
#include "tests/server/raw_server.h"

namespace {

using namespace warren;
using namespace warren::testing;
using grpc::status_code;
using std::chrono::milliseconds;

// A channel to a raw server; script is the server's side of its first connection.
template <class Script, class Body>
void against(grpc::channel_options options, Script script, Body body) {
  warren::run([&] {
    raw_server server;
    grpc::channel channel(server.address(), options);
    wait_group peer;
    peer.go([&] { script(server); });
    body(text_stub{channel});
    peer.wait();
    channel.close();
  });
}

// One unary call, answered by script(connection, stream id).
grpc::status status_of(const std::function<void(raw_client&, int32_t)>& script, grpc::channel_options options = {},
                       std::string* reply = nullptr) {
  grpc::status out;
  against(
      options,
      [&](raw_server& s) {
        const auto c = s.accept();
        script(*c, raw_server::next_request(*c));
        c->wait_closed();
      },
      [&](const text_stub& stub) {
        limited_context ctx;
        const auto r = stub.unary(ctx, "/test.Text/Echo", "ping");
        out = r.status();
        if (r.ok() && reply != nullptr) *reply = (*r).bytes;
        stub.channel.close();
      });
  return out;
}

// --- requests ----------------------------------------------------------------------------------------------------------------------------

TEST(client_rule, the_request_is_what_the_specification_wants) {
  against(
      {.user_agent = "mine/2"},
      [](raw_server& s) {
        const auto c = s.accept();
        EXPECT_EQ(s.preface, std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
        const int32_t id = raw_server::next_request(*c);
        const reply& r = c->replies[id];
        EXPECT_EQ(r.headers[0], (std::pair<std::string, std::string>(":method", "POST")));
        EXPECT_EQ(r.header(":scheme"), "http");
        EXPECT_EQ(r.header(":path"), "/test.Text/Echo");
        EXPECT_EQ(r.header(":authority"), s.address());
        EXPECT_EQ(r.header("te"), "trailers");
        EXPECT_EQ(r.header("content-type"), "application/grpc");
        EXPECT_EQ(r.header("grpc-accept-encoding"), "identity,deflate,gzip");
        EXPECT_EQ(r.header("grpc-encoding"), "(absent)");
        EXPECT_TRUE(r.header("user-agent").starts_with("mine/2 grpc-c++-warren/"));
        EXPECT_EQ(r.header("x-bytes-bin"), "AP8");  // unpadded
        EXPECT_EQ(r.header("grpc-previous-rpc-attempts"), "(absent)");
        EXPECT_EQ(r.shape, "Hd");
        EXPECT_EQ(r.data, message("ping"));
        EXPECT_EQ(c->settings[NGHTTP2_SETTINGS_ENABLE_PUSH], 0u);
        const std::string timeout = r.header("grpc-timeout");
        EXPECT_LE(timeout.size(), 9u);
        EXPECT_TRUE(timeout == "30000000u" || (timeout.starts_with("29") && timeout.ends_with("u"))) << timeout;
        raw_server::answer(*c, id, "pong");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        ctx.add_metadata("x-bytes-bin", std::string("\0\xff", 2));
        const auto r = stub.unary(ctx, "/test.Text/Echo", "ping");
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "pong");
        stub.channel.close();
      });
}

TEST(client_rule, an_empty_message_is_a_message_and_half_close_follows_the_last) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        c->wait(1);
        EXPECT_EQ(c->replies[1].data, message(""));
        EXPECT_TRUE(c->replies[1].shape == "HDd" || c->replies[1].shape == "Hd") << c->replies[1].shape;
        raw_server::answer(*c, 1, "");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        auto out = stub.client_stream(ctx, "/test.Text/Upload");
        EXPECT_TRUE(out.write(text{""}));
        const auto r = out.finish();
        ASSERT_TRUE(r.ok()) << r.status().message();
        EXPECT_EQ((*r).bytes, "");
        stub.channel.close();
      });
}

// --- rule 19, 20, 26: framing of replies
// ---------------------------------------------------------------------------------------------------

TEST(client_rule_19, data_frame_boundaries_mean_nothing) {
  std::string got;
  EXPECT_TRUE(status_of(
                  [](raw_client& c, int32_t id) {
                    raw_server::headers(c, id);
                    for (const char b : message("byte by byte")) c.data(id, std::string(1, b), false);
                    raw_server::trailers(c, id, "0");
                  },
                  {}, &got)
                  .ok());
  EXPECT_EQ(got, "byte by byte");
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        const int32_t id = raw_server::next_request(*c);
        raw_server::headers(*c, id);
        std::string all;
        for (int i = 0; i < 100; i++) all += message(std::to_string(i));
        c->data(id, all, false);
        raw_server::trailers(*c, id, "0");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        auto in = stub.server_stream(ctx, "/test.Text/Stream", "");
        int n = 0;
        for (const text& m : in) EXPECT_EQ(m.bytes, std::to_string(n++));
        EXPECT_EQ(n, 100);
        EXPECT_TRUE(in.finish().ok());
        stub.channel.close();
      });
}

TEST(client_rule_19, a_flag_above_1_is_internal_and_resets_the_stream) {
  EXPECT_EQ(status_of([&](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("x", 2), true);
            }).code(),
            status_code::internal);
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        const int32_t id = raw_server::next_request(*c);
        raw_server::headers(*c, id);
        c->data(id, message("x", 2), false);
        c->wait_for(id, "HdR");
        EXPECT_EQ(c->replies[id].reset, NGHTTP2_CANCEL);
      },
      [](const text_stub& stub) {
        limited_context ctx;
        auto in = stub.server_stream(ctx, "/test.Text/Stream", "");
        EXPECT_EQ(in.finish().code(), status_code::internal);
      });
}

TEST(client_rule_21, a_length_over_the_limit_is_refused_before_it_is_buffered) {
  const grpc::status s = status_of(
      [](raw_client& c, int32_t id) {
        raw_server::headers(c, id);
        c.data(id, std::string("\0\xff\xff\xff\xff", 5), false);
        c.wait_closed();
      },
      {.stream_window = 1000});
  EXPECT_EQ(s.code(), status_code::resource_exhausted) << s.message();
  EXPECT_NE(s.message().find("4294967295"), std::string::npos);
}

TEST(client_rule_22, a_compressed_message_without_an_encoding_is_internal) {
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("x", 1), false);
              raw_server::trailers(c, id, "0");
            }).code(),
            status_code::internal);
}

TEST(client_rule_23, an_unknown_encoding_is_internal_if_a_message_uses_it) {
  const grpc::status s = status_of([](raw_client& c, int32_t id) {
    raw_server::headers(c, id, {{"grpc-encoding", "snappy"}});
    c.data(id, message("x", 1), false);
    raw_server::trailers(c, id, "0");
  });
  EXPECT_EQ(s.code(), status_code::internal);
  EXPECT_NE(s.message().find("snappy"), std::string::npos);
  EXPECT_TRUE(status_of([](raw_client& c, int32_t id) {
                raw_server::headers(c, id, {{"grpc-encoding", "snappy"}});
                c.data(id, message("x", 0), false);
                raw_server::trailers(c, id, "0");
              }).ok());
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id, {{"grpc-encoding", "gzip"}});
              c.data(id, message("this is no gzip", 1), false);
              raw_server::trailers(c, id, "0");
            }).code(),
            status_code::internal);
}

TEST(client_rule_26, an_answer_that_ends_within_a_message_is_internal) {
  for (const size_t n : {1u, 4u, 5u, 7u}) {
    EXPECT_EQ(status_of([&](raw_client& c, int32_t id) {
                raw_server::headers(c, id);
                c.data(id, std::string_view(message("whole")).substr(0, n), false);
                raw_server::trailers(c, id, "0");
              }).code(),
              status_code::internal)
        << n;
  }
}

TEST(client_rule_27, a_single_reply_is_exactly_one) {
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              raw_server::trailers(c, id, "0");
            }).code(),
            status_code::unimplemented);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) { raw_server::trailers_only(c, id, "0"); }).code(), status_code::unimplemented);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("one") + message("two"), false);
              raw_server::trailers(c, id, "0");
            }).code(),
            status_code::unimplemented);
  // A failure is a failure, whatever came before.
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("one"), false);
              raw_server::trailers(c, id, "9");
            }).code(),
            status_code::failed_precondition);
}

// --- rules 31–36: the status
// ---------------------------------------------------------------------------------------------------------------

TEST(client_rule_32, trailers_only_is_a_status) {
  const grpc::status s = status_of([](raw_client& c, int32_t id) {
    raw_server::trailers_only(c, id, "7", {{"grpc-message", "no entry"}});
  });
  EXPECT_EQ(s.code(), status_code::permission_denied);
  EXPECT_EQ(s.message(), "no entry");
}

TEST(client_rule_33, odd_statuses_end_the_call_all_the_same) {
  const auto code_of = [](const std::string& text) {
    return status_of([&](raw_client& c, int32_t id) { raw_server::trailers_only(c, id, text); }).code();
  };
  EXPECT_EQ(code_of("99"), static_cast<status_code>(99));
  EXPECT_EQ(code_of("-1"), status_code::unknown);
  EXPECT_EQ(code_of("five"), status_code::unknown);
  EXPECT_EQ(code_of("99999999999999999999"), status_code::unknown);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.headers(id, {{"x-other", "1"}}, true);
            }).code(),
            status_code::unknown);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("x"), true);
            }).code(),
            status_code::internal);
}

TEST(client_rule_34, the_message_is_decoded_leniently) {
  const auto message_of = [](const std::string& text) {
    return status_of([&](raw_client& c, int32_t id) { raw_server::trailers_only(c, id, "2", {{"grpc-message", text}}); }).message();
  };
  EXPECT_EQ(message_of("50%25 of %E2%98%BA"), "50% of ☺");
  EXPECT_EQ(message_of("%zz%"), "%zz%");
}

TEST(client_rule_35, details_are_bytes) {
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::trailers_only(c, id, "2", {{"grpc-status-details-bin", "AP8="}});
            }).details(),
            std::string("\0\xff", 2));
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::trailers_only(c, id, "2", {{"grpc-status-details-bin", "?"}});
            }).details(),
            "");
}

TEST(client_rule_36, trailers_before_the_half_close_end_the_stream_here_too) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        c->wait_for(1, "H");
        c->window_update(0, 1 << 30);  // however much it writes, there is room for the second call
        raw_server::trailers_only(*c, 1, "8");
        while (!c->replies[1].reset && !c->closed && c->read_frame()) {
        }
        EXPECT_EQ(c->replies[1].reset, NGHTTP2_NO_ERROR);
        raw_server::answer(*c, raw_server::next_request(*c, 1), "");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        auto out = stub.client_stream(ctx, "/test.Text/Upload");
        while (out.write(text{"more"})) {
        }
        EXPECT_EQ(out.finish().status().code(), status_code::resource_exhausted);
        // The stream's place is free: the connection still serves.
        EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "").ok());
        stub.channel.close();
      });
}

TEST(client_rule, informational_headers_are_passed_over) {
  std::string got;
  EXPECT_TRUE(status_of(
                  [](raw_client& c, int32_t id) {
                    c.headers(id, {{":status", "103"}, {"x-hint", "1"}}, false);
                    raw_server::answer(c, id, "after 103");
                  },
                  {}, &got)
                  .ok());
  EXPECT_EQ(got, "after 103");
}

TEST(client_rule, bad_binary_metadata_and_double_headers_are_internal) {
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) { raw_server::headers(c, id, {{"x-bin", "!"}}); }).code(), status_code::internal);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("x"), false);
              raw_server::trailers(c, id, "0", {{"x-bin", "!"}});
            }).code(),
            status_code::internal);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.headers(id, {{"x-more", "1"}}, false);
            }).code(),
            status_code::internal);
}

TEST(client_rule_18, metadata_over_the_limit_ends_the_call_only) {
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              fields many;
              for (int i = 0; i < 200; i++) many.emplace_back("x-" + std::to_string(i), "1");
              raw_server::headers(c, id, many);
            }).code(),
            status_code::resource_exhausted);
  EXPECT_EQ(status_of(
                [](raw_client& c, int32_t id) {
                  raw_server::headers(c, id, {{"x-long", std::string(10'000, 'l')}});
                },
                {.max_header_list = 8192})
                .code(),
            status_code::resource_exhausted);
  // Values of a binary key that were joined on the way count as the fields they were.
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id, {{"x-bin", std::string(200, ',')}});
            }).code(),
            status_code::resource_exhausted);
}

// --- rules 42, 43
// --------------------------------------------------------------------------------------------------------------------------

TEST(client_rule_42, reset_codes_become_statuses) {
  const auto code_of = [](uint32_t reset) { return status_of([&](raw_client& c, int32_t id) { c.reset(id, reset); }).code(); };
  EXPECT_EQ(code_of(NGHTTP2_NO_ERROR), status_code::internal);
  EXPECT_EQ(code_of(NGHTTP2_PROTOCOL_ERROR), status_code::internal);
  EXPECT_EQ(code_of(NGHTTP2_INTERNAL_ERROR), status_code::internal);
  EXPECT_EQ(code_of(NGHTTP2_COMPRESSION_ERROR), status_code::internal);
  EXPECT_EQ(code_of(NGHTTP2_CANCEL), status_code::cancelled);
  EXPECT_EQ(code_of(NGHTTP2_ENHANCE_YOUR_CALM), status_code::resource_exhausted);
  EXPECT_EQ(code_of(NGHTTP2_INADEQUATE_SECURITY), status_code::permission_denied);
  // After data as well.
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              raw_server::headers(c, id);
              c.data(id, message("x"), false);
              c.reset(id, NGHTTP2_CANCEL);
            }).code(),
            status_code::cancelled);
}

TEST(client_rule_43, http_statuses_become_statuses_if_there_is_no_other) {
  const auto code_of = [](const std::string& http, bool end) {
    return status_of([&](raw_client& c, int32_t id) { c.headers(id, {{":status", http}, {"content-type", "text/html"}}, end); }).code();
  };
  EXPECT_EQ(code_of("400", true), status_code::internal);
  EXPECT_EQ(code_of("401", true), status_code::unauthenticated);
  EXPECT_EQ(code_of("403", false), status_code::permission_denied);
  EXPECT_EQ(code_of("404", false), status_code::unimplemented);
  EXPECT_EQ(code_of("429", true), status_code::unavailable);
  EXPECT_EQ(code_of("502", true), status_code::unavailable);
  EXPECT_EQ(code_of("503", false), status_code::unavailable);
  EXPECT_EQ(code_of("504", true), status_code::unavailable);
  EXPECT_EQ(code_of("500", true), status_code::unknown);
  EXPECT_EQ(code_of("200", true), status_code::unknown);
  EXPECT_EQ(status_of([](raw_client& c, int32_t id) {
              c.headers(id, {{":status", "503"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}}, true);
            }).code(),
            status_code::not_found);
}

// --- rules 45–51: the connection
// -----------------------------------------------------------------------------------------------------------

TEST(client_rule_42, a_refused_stream_is_sent_again_once) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        c->reset(raw_server::next_request(*c), NGHTTP2_REFUSED_STREAM);
        const int32_t second = raw_server::next_request(*c, 1);
        EXPECT_EQ(c->replies[second].data, message("ping"));
        EXPECT_EQ(c->replies[second].header("grpc-previous-rpc-attempts"), "(absent)");
        raw_server::answer(*c, second, "pong");
        // The second call is refused twice.
        c->reset(raw_server::next_request(*c, 2), NGHTTP2_REFUSED_STREAM);
        c->reset(raw_server::next_request(*c, 3), NGHTTP2_REFUSED_STREAM);
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "ping").ok());
        EXPECT_EQ(ctx.attempts(), 2);
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "ping").status().code(), status_code::unavailable);
        EXPECT_EQ(stub.channel.counters().transparent_retries, 2u);
        stub.channel.close();
      });
}

TEST(client_rule_45, goaway_lets_go_on_what_is_below_and_sends_the_rest_elsewhere) {
  against(
      {},
      [](raw_server& s) {
        const auto first = s.accept();
        raw_server::next_request(*first, 0);
        raw_server::next_request(*first, 1);
        first->send_frame(NGHTTP2_GOAWAY, 0, 0, be32(1) + be32(NGHTTP2_NO_ERROR) + "going");
        const auto second = s.accept();
        const int32_t moved = raw_server::next_request(*second);
        EXPECT_EQ(second->replies[moved].data, first->replies[3].data);
        raw_server::answer(*second, moved, "from the second");
        raw_server::answer(*first, 1, "from the first");
        first->wait_closed();  // the client has no more use for it
        second->wait_closed();
      },
      [](const text_stub& stub) {
        std::string replies[2];
        wait_group both;
        std::atomic<bool> began{false};
        both.go([&] {
          limited_context ctx;
          grpc::call_ptr call = stub.channel.start(ctx, {"/test.Text/Echo", grpc::method_kind::unary});
          grpc::detail::send_message(*call, text{"a"}, {}, true);
          began = true;
          const auto r = grpc::detail::receive_reply<text>(*call);
          replies[0] = r.ok() ? (*r).bytes : r.status().message();
        });
        EXPECT_TRUE(until([&] { return began.load(); }));
        both.go([&] {
          limited_context ctx;
          const auto r = stub.unary(ctx, "/test.Text/Echo", "b");
          replies[1] = r.ok() ? (*r).bytes : r.status().message();
        });
        both.wait();
        EXPECT_EQ(replies[0], "from the first");
        EXPECT_EQ(replies[1], "from the second");
        stub.channel.close();
      });
}

TEST(client_rule_45, a_lost_connection_is_unavailable_and_made_anew) {
  against(
      {},
      [](raw_server& s) {
        {
          const auto first = s.accept();
          raw_server::next_request(*first);
        }
        const auto second = s.accept();
        raw_server::answer(*second, raw_server::next_request(*second), "again");
        second->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        const auto lost = stub.unary(ctx, "/test.Text/Echo", "");
        EXPECT_EQ(lost.status().code(), status_code::unavailable);
        EXPECT_NE(lost.status().message().find("lost"), std::string::npos) << lost.status().message();
        const auto again = stub.unary(ctx, "/test.Text/Echo", "");
        ASSERT_TRUE(again.ok()) << again.status().message();
        stub.channel.close();
      });
}

TEST(client_rule_47, a_ping_is_answered_with_its_bytes) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        const int32_t id = raw_server::next_request(*c);
        EXPECT_TRUE(c->ping("8 bytes!"));
        raw_server::answer(*c, id, "");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        limited_context ctx;
        EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "").ok());
        stub.channel.close();
      });
}

TEST(client_rule_48, a_change_of_the_initial_window_counts_for_open_streams) {
  const std::string payload(1000, 'w');
  against(
      {},
      [&](raw_server& s) {
        const auto c = s.accept(raw_server::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100));
        c->wait_for(1, "HD");
        while (c->replies[1].data.size() < 100) c->read_frame();
        EXPECT_TRUE(c->ping());
        EXPECT_EQ(c->replies[1].data.size(), 100u);  // and not a byte more
        c->send_frame(NGHTTP2_SETTINGS, 0, 0, raw_server::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 200));
        while (c->replies[1].data.size() < 200) c->read_frame();
        EXPECT_TRUE(c->ping());
        EXPECT_EQ(c->replies[1].data.size(), 200u);
        c->window_update(1, 10'000);
        c->wait(1);
        EXPECT_EQ(c->replies[1].data, message(payload));
        raw_server::answer(*c, 1, "");
        c->wait_closed();
      },
      [&](const text_stub& stub) {
        limited_context ctx;
        EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", payload).ok());
        stub.channel.close();
      });
}

TEST(client_rule_49, max_concurrent_streams_is_kept_and_may_change) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept(raw_server::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1));
        raw_server::next_request(*c, 0);
        EXPECT_TRUE(c->ping());
        EXPECT_EQ(c->replies.size(), 1u);  // the others wait in line
        c->send_frame(NGHTTP2_SETTINGS, 0, 0, raw_server::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2));
        raw_server::next_request(*c, 1);
        EXPECT_TRUE(c->ping());
        EXPECT_EQ(c->replies.size(), 2u);
        raw_server::answer(*c, 3, "");
        raw_server::next_request(*c, 2);
        raw_server::answer(*c, 1, "");
        raw_server::answer(*c, 5, "");
        c->wait_closed();
      },
      [](const text_stub& stub) {
        wait_group all;
        for (int i = 0; i < 3; i++) {
          all.go([&] {
            limited_context ctx;
            EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "").ok());
          });
        }
        all.wait();
        stub.channel.close();
      });
}

TEST(client_rule_50, the_stream_window_opens_as_messages_are_taken_the_connections_as_they_come) {
  std::atomic<bool> looked{false};
  against(
      {.stream_window = 10'000, .connection_window = 70'000},
      [&](raw_server& s) {
        const auto c = s.accept();
        const int32_t id = raw_server::next_request(*c);
        EXPECT_EQ(c->settings[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE], 10'000u);
        raw_server::headers(*c, id);
        const std::string piece = message(std::string(995, 'p'));
        for (int i = 0; i < 10; i++) c->data(id, piece, false);  // the window is used up
        EXPECT_TRUE(c->ping());
        EXPECT_EQ(c->stream_window_updates[id], 0);  // nobody has read
        looked = true;
        while (c->stream_window_updates[id] == 0 && !c->closed) c->read_frame();
        EXPECT_GT(c->stream_window_updates[id], 0);
        raw_server::trailers(*c, id, "0");
        c->wait_closed();
      },
      [&](const text_stub& stub) {
        limited_context ctx;
        auto in = stub.server_stream(ctx, "/test.Text/Stream", "");
        EXPECT_TRUE(until([&] { return looked.load(); }));
        text m;
        int n = 0;
        while (in.read(m)) n++;
        EXPECT_EQ(n, 10);
        EXPECT_TRUE(in.finish().ok());
        stub.channel.close();
      });
}

TEST(client_rule_51, frames_on_streams_that_never_were_end_the_connection) {
  for (const int32_t id : {2, 99}) {
    const grpc::status s = status_of([&](raw_client& c, int32_t) {
      c.headers(id, {{":status", "200"}}, false);
      c.wait_closed();
      EXPECT_FALSE(c.goaway.empty());
    });
    EXPECT_EQ(s.code(), status_code::unavailable) << id;
  }
}

TEST(client_rule, a_push_promise_ends_the_connection) {
  const grpc::status s = status_of([](raw_client& c, int32_t id) {
    c.send_frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, id, be32(2) + c.encode({{":method", "GET"}, {":path", "/"}}));
    c.wait_closed();
  });
  EXPECT_EQ(s.code(), status_code::unavailable);
}

TEST(client_rule, bytes_that_are_not_http2_say_so) {
  warren::run([] {
    raw_server server;
    grpc::channel channel(server.address());
    wait_group peer;
    peer.go([&] {
      tcp_conn c = server.accept_raw();
      c.write(asio::buffer(std::string_view("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")));
      asio::error_code ec;
      char b[256];
      while (c.read_some(asio::buffer(b), ec) != 0) {
      }
    });
    limited_context ctx;
    const auto r = text_stub{channel}.unary(ctx, "/test.Text/Echo", "");
    EXPECT_EQ(r.status().code(), status_code::unavailable);
    channel.close();
    peer.wait();
  });
}

TEST(client_rule, a_server_that_sends_no_settings_is_given_up) {
  warren::run([] {
    raw_server server;
    grpc::channel channel(server.address(), {.connect_timeout = milliseconds(50)});
    wait_group peer;
    peer.go([&] {
      tcp_conn c = server.accept_raw();
      asio::error_code ec;
      char b[256];
      while (c.read_some(asio::buffer(b), ec) != 0) {
      }
    });
    limited_context ctx;
    const auto r = text_stub{channel}.unary(ctx, "/test.Text/Echo", "");
    EXPECT_EQ(r.status().code(), status_code::unavailable);
    EXPECT_NE(r.status().message().find("SETTINGS"), std::string::npos) << r.status().message();
    channel.close();
    peer.wait();
  });
}

TEST(client_rule, a_flood_of_frames_without_a_call_ends_the_connection) {
  const grpc::status s = status_of([](raw_client& c, int32_t) {
    std::string many;
    for (int i = 0; i < http2::kMaxIdleFrames + 100; i++) many += raw_client::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(1));
    c.send(many);
    c.wait_closed();
  });
  EXPECT_EQ(s.code(), status_code::unavailable);
}

TEST(client_rule, keepalive_finds_a_server_that_is_gone) {
  const grpc::status s = status_of(
      [](raw_client& c, int32_t) {
        c.acknowledge = false;
        c.wait_closed();
        EXPECT_GE(c.pings_received, 1);
      },
      {.keepalive_time = milliseconds(20), .keepalive_timeout = milliseconds(50)});
  EXPECT_EQ(s.code(), status_code::unavailable);
  EXPECT_NE(s.message().find("keepalive"), std::string::npos) << s.message();
}

TEST(client_rule, keepalive_keeps_a_server_that_answers) {
  std::string got;
  EXPECT_TRUE(status_of(
                  [](raw_client& c, int32_t id) {
                    while (c.pings_received < 5 && !c.closed) c.read_frame();
                    raw_server::answer(c, id, "still here");
                  },
                  {.keepalive_time = milliseconds(5)}, &got)
                  .ok());
  EXPECT_EQ(got, "still here");
}

TEST(client_rule, cancelling_sends_rst_stream_cancel) {
  against(
      {},
      [](raw_server& s) {
        const auto c = s.accept();
        c->wait_for(1, "HdR");
        EXPECT_EQ(c->replies[1].reset, NGHTTP2_CANCEL);
        c->wait_closed();
      },
      [](const text_stub& stub) {
        grpc::client_context ctx;
        ctx.timeout(milliseconds(30));
        EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::deadline_exceeded);
        limited_context other;
        // The reset has left before this call's frames; the server need not answer it.
        grpc::call_ptr call = stub.channel.start(other, {"/test.Text/Echo", grpc::method_kind::unary});
        EXPECT_TRUE(grpc::detail::send_message(*call, text{""}, {}, true));
        call.reset();
        stub.channel.close();
      });
}

// A server that ends a connection may have answered before. On one P the write comes before the reader can have seen the answer.
TEST(client_rule, an_answer_that_is_there_is_not_lost_to_a_write_that_fails) {
  setenv("WARREN_MAXPROCS", "1", 1);
  wait_group gone;
  gone.add(1);
  against(
      {},
      [&](raw_server& s) {
        auto socket = std::make_unique<warren::tcp_conn>(s.accept_raw());
        const int fd = socket->native_handle();
        raw_client c(std::move(socket), false);
        c.take(NGHTTP2_CLIENT_MAGIC_LEN);
        c.send_frame(NGHTTP2_SETTINGS, 0, 0, "");
        c.wait_for(1, "HD");
        raw_server::answer(c, 1, "pong");
        const linger now{1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);  // closing it is a reset
        c.close();
        gone.done();
      },
      [&](const text_stub& stub) {
        limited_context ctx;
        auto io = stub.bidi(ctx, "/test.Text/Chat");
        EXPECT_TRUE(io.write(text{"ping"}));
        gone.wait();
        io.write(text{"nobody reads this"});
        text m;
        EXPECT_TRUE(io.read(m));
        EXPECT_EQ(m.bytes, "pong");
        EXPECT_FALSE(io.read(m));
        const grpc::status ended = io.finish();
        EXPECT_TRUE(ended.ok()) << ended.message();
        stub.channel.close();
      });
  unsetenv("WARREN_MAXPROCS");
}

}  // namespace
