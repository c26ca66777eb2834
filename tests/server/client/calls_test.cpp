// Calls of all four kinds against our own server: messages, metadata, deadlines, cancellation, compression, limits, flow control.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include <warren/sync.h>

#include "tests/server/client/text_stub.h"

namespace {

using namespace warren;
using namespace warren::testing;
using grpc::status_code;
using std::chrono::hours;
using std::chrono::milliseconds;

template <class F>
void with_channel(grpc::server_options server_options, grpc::channel_options options, F body) {
  with_server(server_options, [&](grpc::server& server, text_service& service) {
    grpc::channel channel(server.address(), options);
    body(text_stub{channel}, service);
  });
}
template <class F>
void with_channel(F body) {
  with_channel({}, {}, body);
}

// --- the four kinds ----------------------------------------------------------------------------------------------------------------------

TEST(client_call, unary_returns_the_reply) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    const auto reply = stub.unary(ctx, "/test.Text/Echo", "hello");
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_EQ((*reply).bytes, "hello");
    EXPECT_TRUE(ctx.peer().starts_with("127.0.0.1:"));
    EXPECT_EQ(ctx.attempts(), 1);
  });
}

TEST(client_call, empty_and_large_messages_arrive_as_they_were) {
  with_channel([](const text_stub& stub, text_service&) {
    for (const size_t n : {0u, 1u, 16'383u, 70'000u, 3'000'000u}) {
      limited_context ctx;
      const std::string sent(n, 'x');
      const auto reply = stub.unary(ctx, "/test.Text/Echo", sent);
      ASSERT_TRUE(reply.ok()) << n << ": " << reply.status().message();
      EXPECT_EQ((*reply).bytes, sent);
    }
  });
}

TEST(client_call, a_status_comes_with_code_and_message) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    const auto reply = stub.unary(ctx, "/test.Text/Fail", "5 \t\nno such ☺ thing%\n");
    ASSERT_FALSE(reply.ok());
    EXPECT_EQ(reply.status().code(), status_code::not_found);
    EXPECT_EQ(reply.status().message(), "\t\nno such ☺ thing%\n");
    limited_context other;
    EXPECT_EQ(stub.unary(other, "/test.Text/Nowhere", "").status().code(), status_code::unimplemented);
    limited_context thrower;
    EXPECT_EQ(stub.unary(thrower, "/test.Text/Throw", "").status().code(), status_code::unknown);
  });
}

TEST(client_call, server_stream_gives_every_message_and_then_the_status) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    auto in = stub.server_stream(ctx, "/test.Text/Stream", "1000 100");
    int n = 0;
    for (const text& m : in) {
      EXPECT_EQ(m.bytes, std::string(100, static_cast<char>('a' + n % 26)));
      n++;
    }
    EXPECT_EQ(n, 1000);
    EXPECT_TRUE(in.finish().ok());
    EXPECT_TRUE(in.finish().ok());  // the same each time
  });
}

TEST(client_call, a_server_stream_may_fail_after_messages) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    auto in = stub.server_stream(ctx, "/test.Text/StreamFail", "1");
    text m;
    EXPECT_TRUE(in.read(m));
    EXPECT_EQ(m.bytes, "one");
    EXPECT_FALSE(in.read(m));
    EXPECT_EQ(in.finish().code(), status_code::data_loss);
    EXPECT_EQ(in.initial_metadata().find("x-early"), "1");
  });
}

TEST(client_call, client_stream_sends_every_message_and_gets_one_reply) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    auto out = stub.client_stream(ctx, "/test.Text/Upload");
    for (int i = 0; i < 500; i++) EXPECT_TRUE(out.write(text{std::string(1000, 'u')}));
    EXPECT_TRUE(out.write(text{"last"}));
    const auto reply = out.finish();
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_EQ((*reply).bytes, "501 500004 last");
  });
}

TEST(client_call, a_server_may_answer_before_it_has_read_everything) {
  with_channel([](const text_stub& stub, text_service&) {
    for (const char* word : {"enough", "no"}) {
      limited_context ctx;
      auto out = stub.client_stream(ctx, "/test.Text/Upload");
      EXPECT_TRUE(out.write(text{word}));
      while (out.write(text{std::string(10'000, 'x')})) {
      }
      const auto reply = out.finish();
      if (std::string(word) == "enough") {
        ASSERT_TRUE(reply.ok()) << reply.status().message();
        EXPECT_EQ((*reply).bytes, "had enough");
      } else {
        EXPECT_EQ(reply.status().code(), status_code::failed_precondition);
      }
    }
  });
}

TEST(client_call, both_directions_take_turns) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    auto io = stub.bidi(ctx, "/test.Text/Chat");
    text m;
    for (int i = 0; i < 200; i++) {
      ASSERT_TRUE(io.write(text{std::to_string(i)}));
      ASSERT_TRUE(io.read(m));
      EXPECT_EQ(m.bytes, std::to_string(i));
    }
    EXPECT_TRUE(io.writes_done());
    EXPECT_FALSE(io.read(m));
    EXPECT_TRUE(io.finish().ok());
  });
}

TEST(client_call, one_goroutine_reads_while_another_writes) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    auto io = stub.bidi(ctx, "/test.Text/Chat");
    constexpr int kMessages = 3000;
    wait_group writer;
    writer.go([&] {
      for (int i = 0; i < kMessages; i++) EXPECT_TRUE(io.write(text{std::string(1000, 'd')}));
      io.writes_done();
    });
    int n = 0;
    for (const text& m : io) n += m.bytes.size() == 1000 ? 1 : 0;
    writer.wait();
    EXPECT_EQ(n, kMessages);
    EXPECT_TRUE(io.finish().ok());
  });
}

TEST(client_call, many_goroutines_share_one_connection) {
  with_channel([](const text_stub& stub, text_service&) {
    wait_group all;
    std::atomic<int> good{0};
    for (int i = 0; i < 200; i++) {
      all.go([&, i] {
        for (int k = 0; k < 20; k++) {
          limited_context ctx;
          const std::string word = std::to_string(i) + "/" + std::to_string(k);
          const auto reply = stub.unary(ctx, "/test.Text/Echo", word);
          if (reply.ok() && (*reply).bytes == word) good++;
        }
      });
    }
    all.wait();
    EXPECT_EQ(good, 4000);
    EXPECT_EQ(stub.channel.counters().connections, 1u);
    EXPECT_EQ(stub.channel.counters().attempts, 4000u);
  });
}

// --- metadata ----------------------------------------------------------------------------------------------------------------------------

TEST(client_call, metadata_travels_both_ways_in_order_and_as_bytes) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    const std::string bytes("\0\xff,\xab", 4);
    EXPECT_TRUE(ctx.add_metadata("X-Echo-Initial", "one"));
    EXPECT_TRUE(ctx.add_metadata("x-echo-initial", "two"));
    EXPECT_TRUE(ctx.add_metadata("x-echo-trailing-bin", bytes));
    EXPECT_FALSE(ctx.add_metadata("grpc-timeout", "1S"));
    EXPECT_FALSE(ctx.add_metadata("x y", "1"));
    const auto reply = stub.unary(ctx, "/test.Text/Metadata", "");
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_NE((*reply).bytes.find("x-echo-initial=one|x-echo-initial=two|x-echo-trailing-bin=" + bytes + "|"), std::string::npos);
    EXPECT_EQ(ctx.initial_metadata().find_all("x-echo-initial"), (std::vector<std::string_view>{"one", "two"}));
    EXPECT_EQ(ctx.trailing_metadata().find("x-echo-trailing-bin"), bytes);
    EXPECT_FALSE(ctx.trailing_metadata().find("grpc-status"));
    EXPECT_FALSE(ctx.initial_metadata().find("content-type"));
  });
}

TEST(client_call, trailing_metadata_comes_with_a_failure_too) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    ctx.add_metadata("x-echo-trailing-bin", "t");
    EXPECT_EQ(stub.unary(ctx, "/test.Text/Metadata", "fail").status().code(), status_code::aborted);
    EXPECT_EQ(ctx.trailing_metadata().find("x-echo-trailing-bin"), "t");
  });
}

TEST(client_call, initial_metadata_can_be_had_before_the_first_message) {
  with_channel([](const text_stub& stub, text_service& service) {
    limited_context ctx;
    grpc::call_ptr call = stub.channel.start(ctx, {"/test.Text/EarlyHeaders", grpc::method_kind::unary});
    ASSERT_TRUE(grpc::detail::send_message(*call, text{"x"}, {}, true));
    EXPECT_EQ(call->initial_metadata().find("x-early"), "1");
    EXPECT_EQ(service.returned, 0);
    service.hold = false;
    EXPECT_TRUE(grpc::detail::receive_reply<text>(*call).ok());
  });
}

TEST(client_call, the_server_sees_method_authority_and_deadline) {
  with_channel({}, {.authority = "shop.example:1"}, [](const text_stub& stub, text_service&) {
    limited_context ctx;
    const auto reply = stub.unary(ctx, "/test.Text/Facts", "");
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ((*reply).bytes, "/test.Text/Facts shop.example:1 127.0.0.1: limited on");
    grpc::client_context unlimited;
    EXPECT_NE((*stub.unary(unlimited, "/test.Text/Facts", "")).bytes.find("unlimited"), std::string::npos);
  });
}

// --- the end of a call -------------------------------------------------------------------------------------------------------------------

TEST(client_call, the_deadline_ends_it_here_and_there) {
  with_channel([](const text_stub& stub, text_service& service) {
    grpc::client_context ctx;
    ctx.timeout(milliseconds(50));
    EXPECT_EQ(stub.unary(ctx, "/test.Text/UntilDone", "").status().code(), status_code::deadline_exceeded);
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
  });
}

TEST(client_call, a_deadline_that_has_passed_sends_nothing) {
  with_channel([](const text_stub& stub, text_service& service) {
    grpc::client_context ctx;
    ctx.timeout(milliseconds(-1));
    EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::deadline_exceeded);
    EXPECT_EQ(stub.channel.counters().attempts, 0u);
    EXPECT_EQ(service.ran, 0);
  });
}

TEST(client_call, the_deadline_wakes_a_reader_and_a_writer) {
  with_channel([](const text_stub& stub, text_service&) {
    grpc::client_context reading;
    reading.timeout(milliseconds(50));
    auto in = stub.server_stream(reading, "/test.Text/Hang", "");
    text m;
    while (in.read(m)) {
    }
    EXPECT_EQ(in.finish().code(), status_code::deadline_exceeded);
    grpc::client_context writing;
    writing.timeout(milliseconds(100));
    auto out = stub.client_stream(writing, "/test.Text/LateUpload");
    while (out.write(text{std::string(100'000, 'w')})) {
    }
    EXPECT_EQ(out.finish().status().code(), status_code::deadline_exceeded);
  });
}

TEST(client_call, cancel_ends_it_with_cancelled_and_tells_the_handler) {
  with_channel([](const text_stub& stub, text_service& service) {
    limited_context ctx;
    wait_group canceller;
    canceller.go([&] {
      EXPECT_TRUE(until([&] { return service.ran == 1; }));
      ctx.cancel();
    });
    EXPECT_EQ(stub.unary(ctx, "/test.Text/UntilDone", "").status().code(), status_code::cancelled);
    canceller.wait();
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
    EXPECT_EQ(service.cause, static_cast<int>(status_code::cancelled));
    // A context that was cancelled makes no call any more.
    EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::cancelled);
  });
}

TEST(client_call, destroying_a_stream_cancels_its_call) {
  with_channel([](const text_stub& stub, text_service& service) {
    limited_context ctx;
    {
      auto in = stub.server_stream(ctx, "/test.Text/Hang", "");
      text m;
      EXPECT_TRUE(in.read(m));
    }
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
  });
}

TEST(client_call, a_cancelled_parent_cancels_the_call) {
  with_channel([](const text_stub& stub, text_service& service) {
    const auto parent = with_cancel(background());
    grpc::client_context ctx(parent.ctx);
    wait_group canceller;
    canceller.go([&, cancel = parent.cancel] {
      EXPECT_TRUE(until([&] { return service.ran == 1; }));
      cancel();
    });
    EXPECT_EQ(stub.unary(ctx, "/test.Text/UntilDone", "").status().code(), status_code::cancelled);
    canceller.wait();
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
    grpc::client_context late(parent.ctx);
    EXPECT_EQ(stub.unary(late, "/test.Text/Echo", "").status().code(), status_code::cancelled);
  });
}

// A service that calls on, with its own context.
struct relay_service final : grpc::service {
  std::atomic<grpc::channel*> next{nullptr};
  std::atomic<int> code{-1};
  std::atomic<bool> had_deadline{false};
  grpc::result<text> Relay(grpc::server_context& ctx, const text& request) {
    grpc::client_context out(ctx);
    had_deadline = ctx.deadline().has_value();
    auto reply = text_stub{*next.load()}.unary(out, request.bytes == "wait" ? "/test.Text/UntilDone" : "/test.Text/Facts", "");
    code = static_cast<int>(reply.status().code());
    return reply;
  }
  std::string_view full_name() const override { return "test.Relay"; }
  std::span<const grpc::method_descriptor> methods() const override {
    static constexpr grpc::method_descriptor table[] = {
        {"Relay", grpc::method_kind::unary, &grpc::unary<&relay_service::Relay, text, text>}};
    return table;
  }
};

TEST(client_call, a_call_made_in_a_handler_inherits_deadline_and_cancellation) {
  with_channel([](const text_stub& stub, text_service& service) {
    relay_service relay;
    grpc::server front({.listen = "127.0.0.1:0"});
    front.add(relay);
    front.start();
    {
      grpc::channel to_front(front.address());
      relay.next = &stub.channel;
      limited_context ctx;
      const auto facts = text_stub{to_front}.unary(ctx, "/test.Relay/Relay", "");
      ASSERT_TRUE(facts.ok()) << facts.status().message();
      EXPECT_NE((*facts).bytes.find(" limited "), std::string::npos);

      grpc::client_context cancelled;
      wait_group canceller;
      canceller.go([&] {
        EXPECT_TRUE(until([&] { return service.ran == 1; }));
        cancelled.cancel();
      });
      EXPECT_EQ(text_stub{to_front}.unary(cancelled, "/test.Relay/Relay", "wait").status().code(), status_code::cancelled);
      canceller.wait();
      EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
      EXPECT_TRUE(until([&] { return relay.code == static_cast<int>(status_code::cancelled); }));

      grpc::client_context late;
      late.timeout(milliseconds(50));
      EXPECT_EQ(text_stub{to_front}.unary(late, "/test.Relay/Relay", "wait").status().code(), status_code::deadline_exceeded);
      EXPECT_TRUE(until([&] { return service.cancelled == 2; }));
    }
    front.shutdown(std::chrono::seconds(5));
  });
}

TEST(client_call, closing_the_channel_ends_what_is_open) {
  with_channel([](const text_stub& stub, text_service& service) {
    limited_context ctx;
    wait_group closer;
    closer.go([&] {
      EXPECT_TRUE(until([&] { return service.ran == 1; }));
      stub.channel.close();
    });
    const auto reply = stub.unary(ctx, "/test.Text/UntilDone", "");
    EXPECT_EQ(reply.status().code(), status_code::cancelled) << reply.status().message();
    closer.wait();
    limited_context late;
    EXPECT_EQ(stub.unary(late, "/test.Text/Echo", "").status().code(), status_code::cancelled);
    EXPECT_EQ(stub.channel.state(), grpc::connectivity_state::shutdown);
  });
}

// --- compression and limits --------------------------------------------------------------------------------------------------------------

TEST(client_call, messages_are_compressed_both_ways) {
  with_channel([](const text_stub& stub, text_service&) {
    for (const auto how : {grpc::encoding::gzip, grpc::encoding::deflate}) {
      limited_context ctx;
      ctx.compress(how);
      const auto reply = stub.unary(ctx, "/test.Text/Packed", std::string(grpc::to_string(how)) + " 100000");
      ASSERT_TRUE(reply.ok()) << reply.status().message();
      EXPECT_EQ((*reply).bytes, std::string(100'000, 'p'));
      EXPECT_EQ(ctx.trailing_metadata().find("x-can"), "yes");
      EXPECT_EQ(ctx.trailing_metadata().find("x-came-compressed"), "yes");
    }
    limited_context ctx;
    auto io = stub.bidi(ctx, "/test.Text/PackedChat");
    text m;
    for (const bool compressed : {true, false, true}) {
      ASSERT_TRUE(io.write(text{std::string(5000, 'c')}));
      ASSERT_TRUE(io.read(m));
      EXPECT_EQ(m.bytes.size(), 5000u);
      EXPECT_EQ(io.message_compressed(), compressed);
    }
    EXPECT_TRUE(io.finish().ok());
  });
}

TEST(client_call, limits_hold_in_both_directions_and_while_inflating) {
  with_channel({}, {.max_receive_message = 1000, .max_send_message = 2000}, [](const text_stub& stub, text_service& service) {
    limited_context ctx;
    EXPECT_TRUE(stub.unary(ctx, "/test.Text/Big", "1000").ok());
    const auto big = stub.unary(ctx, "/test.Text/Big", "1001");
    EXPECT_EQ(big.status().code(), status_code::resource_exhausted) << big.status().message();
    EXPECT_NE(big.status().message().find("max_receive_message"), std::string::npos);
    EXPECT_EQ(stub.unary(ctx, "/test.Text/Packed", "gzip 1000000").status().code(), status_code::resource_exhausted);
    const int before = service.ran;
    EXPECT_EQ(stub.unary(ctx, "/test.Text/Echo", std::string(2001, 'x')).status().code(), status_code::resource_exhausted);
    EXPECT_EQ(service.ran, before);
    EXPECT_TRUE(stub.unary(ctx, "/test.Text/Echo", "still good").ok());
  });
}

TEST(client_call, a_reply_that_cannot_be_parsed_is_internal) {
  with_channel([](const text_stub& stub, text_service&) {
    limited_context ctx;
    grpc::call_ptr call = stub.channel.start(ctx, {"/test.Text/Big", grpc::method_kind::unary});
    ASSERT_TRUE(grpc::detail::send_message(*call, text{"10"}, {}, true));
    std::span<const char> bytes;
    ASSERT_TRUE(call->next_message(bytes));
    call->fail(grpc::detail::reply_unparsable(bytes.size()));
    EXPECT_EQ(call->finish().code(), status_code::internal);
  });
}

// --- flow control ------------------------------------------------------------------------------------------------------------------------

TEST(client_call, who_does_not_read_stalls_its_own_stream_only) {
  with_channel({}, {.stream_window = 64 << 10}, [](const text_stub& stub, text_service& service) {
    limited_context ctx;
    auto unread = stub.server_stream(ctx, "/test.Text/Stream", "10000 1000");
    // The handler comes to a stop: its window is full and so is its send buffer.
    limited_context other;
    for (int i = 0; i < 50; i++) ASSERT_TRUE(stub.unary(other, "/test.Text/Echo", "beside").ok());
    EXPECT_LT(service.writes, 1000);
    int n = 0;
    for (const text& m : unread) n += m.bytes.size() == 1000 ? 1 : 0;
    EXPECT_EQ(n, 10000);
    EXPECT_TRUE(unread.finish().ok());
  });
}

TEST(client_call, a_writer_parks_until_the_handler_reads) {
  with_channel({.stream_window = 64 << 10}, {}, [](const text_stub& stub, text_service& service) {
    limited_context ctx;
    auto out = stub.client_stream(ctx, "/test.Text/LateUpload");
    std::atomic<int> written{0};
    wait_group writer;
    writer.go([&] {
      for (int i = 0; i < 1000; i++) {
        EXPECT_TRUE(out.write(text{std::string(1000, 'w')}));
        written++;
      }
    });
    EXPECT_TRUE(until([&] { return service.ran == 1; }));
    limited_context other;
    for (int i = 0; i < 50; i++) ASSERT_TRUE(stub.unary(other, "/test.Text/Echo", "beside").ok());
    EXPECT_LT(written, 300);  // 64 KiB of window, 64 KiB of send buffer, what the sockets hold is neither's
    service.hold = false;
    writer.wait();
    const auto reply = out.finish();
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_EQ((*reply).bytes, "1000 1000000 ");
  });
}

TEST(client_call, messages_larger_than_the_window_come_through) {
  with_channel({.stream_window = 16 << 10}, {.stream_window = 16 << 10}, [](const text_stub& stub, text_service&) {
    limited_context ctx;
    const std::string big(1'000'000, 'b');
    const auto reply = stub.unary(ctx, "/test.Text/Echo", big);
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    EXPECT_EQ((*reply).bytes, big);
    auto io = stub.bidi(ctx, "/test.Text/Chat");
    text m;
    for (int i = 0; i < 3; i++) {
      ASSERT_TRUE(io.write(text{big}));
      ASSERT_TRUE(io.read(m));
      EXPECT_EQ(m.bytes, big);
    }
    EXPECT_TRUE(io.finish().ok());
  });
}

TEST(client_call, calls_above_the_servers_limit_wait_in_line) {
  with_channel({.max_concurrent_streams = 3}, {}, [](const text_stub& stub, text_service& service) {
    wait_group all;
    std::atomic<int> good{0};
    for (int i = 0; i < 10; i++) {
      all.go([&] {
        limited_context ctx;
        if (stub.unary(ctx, "/test.Text/Wait", "w").ok()) good++;
      });
    }
    EXPECT_TRUE(until([&] { return service.ran == 3; }));
    // One that gives up leaves the line.
    grpc::client_context impatient;
    impatient.timeout(milliseconds(30));
    EXPECT_EQ(stub.unary(impatient, "/test.Text/Echo", "").status().code(), status_code::deadline_exceeded);
    EXPECT_EQ(service.ran, 3);
    service.hold = false;
    all.wait();
    EXPECT_EQ(good, 10);
    EXPECT_EQ(stub.channel.counters().transparent_retries, 0u);
  });
}

}  // namespace
