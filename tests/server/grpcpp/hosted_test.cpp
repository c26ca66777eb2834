// What is particular to gRPC C++'s server as a transport: rules that are ours to keep there, and its own ways.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include <warren/grpcpp.h>
#include <warren/sync.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/grpcpp/text_calls.h"

namespace {

using namespace warren::testing;
using ::grpc::ByteBuffer;
using ::grpc::ClientContext;
using ::grpc::GenericStub;
using ::grpc::Status;
using ::grpc::StatusCode;
using namespace std::chrono_literals;
namespace grpcpp = warren::grpcpp;

template <class F>
void with_stub(warren::grpc::server_options options, F body) {
  transport_under_test = grpcpp::transport;
  with_server(options, [&](warren::grpc::server& s, text_service& service) {
    GenericStub stub = text_stub_of(s.address());
    body(stub, service, s);
  });
}

// Sends so many messages to the method, half-closes, and gives the status.
Status with_requests(GenericStub& stub, const std::string& method, int messages) {
  ClientContext c;
  auto io = grpcpp::call(warren::background(), stub, method, c);
  for (int i = 0; i < messages; i++) {
    if (!io.write(bytes("m"))) break;
  }
  return io.finish();
}

TEST(hosted, a_single_request_is_exactly_one) {
  with_stub({}, [](GenericStub& stub, text_service& service, warren::grpc::server&) {
    for (const char* method : {"/test.Text/Echo", "/test.Text/Hang"}) {
      EXPECT_EQ(with_requests(stub, method, 0).error_code(), StatusCode::UNIMPLEMENTED);
      EXPECT_EQ(with_requests(stub, method, 2).error_code(), StatusCode::UNIMPLEMENTED);
    }
    EXPECT_EQ(service.ran, 0);
    EXPECT_TRUE(with_requests(stub, "/test.Text/Echo", 1).ok());
  });
}

TEST(hosted, messages_over_the_limits_are_refused) {
  with_stub({.max_receive_message = 1000, .max_send_message = 2000}, [](GenericStub& stub, text_service& service, warren::grpc::server&) {
    const std::string large(1001, 'x');
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Echo", large).error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Big", "2001").error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(unary(warren::background(), stub, "/test.Text/Big", "2000").ok());
    EXPECT_EQ(service.ran, 0);  // Echo did not run
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, "/test.Text/Chat", c);
    io.write(bytes(large));
    EXPECT_EQ(io.finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(until([&] { return service.returned == 1; }));
  });
}

TEST(hosted, the_limit_holds_while_inflating) {
  with_stub({.max_receive_message = 10'000}, [](GenericStub& stub, text_service& service, warren::grpc::server&) {
    for (const bool fits : {true, false}) {
      ClientContext c;
      c.set_compression_algorithm(GRPC_COMPRESS_GZIP);
      ByteBuffer reply;
      const Status s =
          grpcpp::call(warren::background(), stub, "/test.Text/Echo", c, bytes(std::string(fits ? 10'000 : 1'000'000, 'x')), &reply);
      EXPECT_EQ(s.error_code(), fits ? StatusCode::OK : StatusCode::RESOURCE_EXHAUSTED) << s.error_message();
    }
    EXPECT_EQ(service.ran, 1);
  });
}

TEST(hosted, max_call_time_ends_calls_without_a_deadline) {
  with_stub({.max_call_time = 20ms}, [](GenericStub& stub, text_service& service, warren::grpc::server&) {
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/UntilDone", "").error_code(), StatusCode::DEADLINE_EXCEEDED);
    // A handler that does not look at its context: answered over its head.
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Wait", "").error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_EQ(service.returned, 1);
    service.hold = false;
    EXPECT_TRUE(until([&] { return service.returned == 2; }));
    // One that waits for a message, and one that waits for its caller to read.
    EXPECT_EQ(
        [&] {
          ClientContext c;
          auto io = grpcpp::call(warren::background(), stub, "/test.Text/Chat", c);
          ByteBuffer nothing;
          EXPECT_FALSE(io.read(&nothing));
          return io.finish().error_code();
        }(),
        StatusCode::DEADLINE_EXCEEDED);
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, "/test.Text/Stream", c);
    EXPECT_TRUE(io.write(bytes("100000 10000")));
    EXPECT_TRUE(io.writes_done());
    EXPECT_TRUE(until([&] { return service.returned == 4; }));
    EXPECT_EQ(service.cause, static_cast<int>(warren::grpc::status_code::deadline_exceeded));
    EXPECT_FALSE(io.finish().ok());
  });
}

TEST(hosted, a_request_that_does_not_come_is_given_up) {
  with_stub({.request_timeout = 20ms}, [](GenericStub& stub, text_service& service, warren::grpc::server& s) {
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, "/test.Text/Echo", c);
    EXPECT_TRUE(io.write(bytes("and nothing more")));
    ByteBuffer nothing;
    EXPECT_FALSE(io.read(&nothing));
    EXPECT_EQ(io.finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_EQ(s.counters().calls_slow, 1u);
    EXPECT_EQ(service.ran, 0);
  });
}

TEST(hosted, handlers_at_once_are_limited) {
  with_stub({.max_concurrent_calls = 1}, [](GenericStub& stub, text_service& service, warren::grpc::server& s) {
    warren::wait_group first;
    first.add(1);
    warren::go([&] {
      EXPECT_TRUE(unary(warren::background(), stub, "/test.Text/Wait", "").ok());
      first.done();
    });
    ASSERT_TRUE(until([&] { return service.ran == 1; }));
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Echo", "").error_code(), StatusCode::UNAVAILABLE);
    EXPECT_EQ(s.counters().calls_over_limit, 1u);
    service.hold = false;
    first.wait();
    EXPECT_TRUE(until([&] { return unary(warren::background(), stub, "/test.Text/Echo", "").ok(); }));
  });
}

TEST(hosted, shutdown_ends_readers_writers_and_those_that_do_not_look) {
  with_stub({}, [](GenericStub& stub, text_service& service, warren::grpc::server& s) {
    ClientContext a, b;
    auto reading = grpcpp::call(warren::background(), stub, "/test.Text/Chat", a);
    auto writing = grpcpp::call(warren::background(), stub, "/test.Text/Stream", b);
    ASSERT_TRUE(writing.write(bytes("100000 10000")));
    ASSERT_TRUE(writing.writes_done());
    std::atomic<int> deaf{-1};
    warren::go([&] { deaf = unary(warren::background(), stub, "/test.Text/Wait", "").error_code(); });
    ASSERT_TRUE(until([&] { return service.ran == 3 && service.writes > 3; }));
    std::atomic<bool> stopped{false};
    warren::go([&] {
      s.shutdown(10ms);
      stopped = true;
    });
    EXPECT_TRUE(until([&] { return deaf == StatusCode::UNAVAILABLE; }));
    EXPECT_EQ(reading.finish().error_code(), StatusCode::UNAVAILABLE);
    EXPECT_FALSE(writing.finish().ok());
    EXPECT_FALSE(stopped);  // a handler has not returned
    service.hold = false;
    EXPECT_TRUE(until([&] { return stopped.load(); }));
    EXPECT_EQ(service.returned, 3);
  });
}

// Half of an upload is never taken for the whole: a handler whose caller has gone knows it as soon as its reader ends.
TEST(hosted, a_reader_that_ends_knows_why) {
  with_stub({}, [](GenericStub& stub, text_service& service, warren::grpc::server&) {
    constexpr int kCalls = 500;
    for (int i = 0; i < kCalls; i++) {
      ClientContext c;
      auto io = grpcpp::call(warren::background(), stub, "/test.Text/Upload", c);
      ASSERT_TRUE(io.write(bytes("half")));
      ASSERT_TRUE(until([&] { return service.reads == i + 1; }));
      c.TryCancel();
      io.finish();
    }
    EXPECT_TRUE(until([&] { return service.returned == kCalls; }));
    EXPECT_EQ(service.cancelled, kCalls);
  });
}

TEST(hosted, calls_are_counted) {
  with_stub({}, [](GenericStub& stub, text_service&, warren::grpc::server& s) {
    for (int i = 0; i < 10; i++) unary(warren::background(), stub, "/test.Text/Echo", "");
    unary(warren::background(), stub, "/test.Text/Nowhere", "");
    unary(warren::background(), stub, "/test.Text/Fail", "5 not here");
    const auto now = s.counters();
    EXPECT_EQ(now.calls_unknown_method, 1u);
    for (const auto& m : now.methods) {
      if (m.method == "Echo") {
        EXPECT_EQ(m.started, 10u);
        EXPECT_EQ(m.handled[0], 10u);
        EXPECT_EQ(m.messages_received, 10u);
        EXPECT_EQ(m.messages_sent, 10u);
      }
      if (m.method == "Fail") {
        EXPECT_EQ(m.handled[5], 1u);
      }
    }
  });
}

TEST(hosted, what_it_cannot_keep_it_refuses_to_start_with) {
  warren::run([] {
    warren::grpc::server s({.listen = "127.0.0.1:0", .max_connections = 10, .transport = grpcpp::transport});
    EXPECT_THROW(s.start(), std::logic_error);
  });
}

TEST(hosted, servers_share_a_port_if_both_say_so) {
  transport_under_test = grpcpp::transport;
  with_server({.reuse_port = true}, [](warren::grpc::server& s, text_service& service) {
    warren::grpc::server second({.listen = s.address(), .reuse_port = true, .transport = grpcpp::transport});
    second.add(service);
    second.start();
    EXPECT_EQ(second.address(), s.address());
    warren::grpc::server third({.listen = s.address(), .transport = grpcpp::transport});
    EXPECT_THROW(third.start(), std::system_error);
  });
}

// Calls that are started and cancelled at any moment, while servers come and go.
TEST(hosted, starts_and_cancellations_leave_nothing_behind) {
  for (int round = 0; round < 3; round++) {
    with_stub({}, [](GenericStub& stub, text_service&, warren::grpc::server& s) {
      constexpr int kCalls = 600;
      warren::wait_group all;
      all.add(kCalls);
      for (int i = 0; i < kCalls; i++) {
        warren::go([&, i] {
          const auto c = warren::with_timeout(warren::background(), std::chrono::microseconds(100 * (i % 50)));
          static constexpr const char* kMethods[] = {"/test.Text/UntilDone", "/test.Text/Chat", "/test.Text/Hang", "/test.Text/Duplex"};
          ClientContext own;
          auto io = grpcpp::call(c.ctx, stub, kMethods[i % 4], own);
          ByteBuffer back;
          io.write(bytes("x"));
          if (i % 3 == 0) io.writes_done();
          if (i % 2 == 0) io.read(&back);
          if (i % 5 == 0) c.cancel();
          if (i % 7 != 0) io.finish();
          c.cancel();
          all.done();
        });
      }
      all.wait();
      s.shutdown(0ns);
      uint64_t started = 0, handled = 0;
      for (const auto& m : s.counters().methods) {
        started += m.started;
        for (const uint64_t n : m.handled) handled += n;
      }
      EXPECT_EQ(started, handled);
    });
  }
}

}  // namespace
