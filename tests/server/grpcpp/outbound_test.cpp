// warren::grpcpp::call: stubs that gRPC's plugin generates, and generic ones, called from goroutines.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include <warren/grpcpp.h>
#include <warren/sync.h>

#include "grpc/testing/test.grpc.pb.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/grpcpp/text_calls.h"

namespace {

using namespace warren::testing;
using ::grpc::ByteBuffer;
using ::grpc::ClientContext;
using ::grpc::GenericStub;
using ::grpc::Status;
using ::grpc::StatusCode;
using namespace ::grpc::testing;
using namespace std::chrono_literals;
using async = class TestService::Stub::async;
namespace grpcpp = warren::grpcpp;

// --- generated stubs against gRPC C++'s own server ---------------------------------------------------------------------------------------

class test_server final : public TestService::Service {
 public:
  test_server() {
    int port = 0;
    ::grpc::ServerBuilder b;
    b.AddListeningPort("127.0.0.1:0", ::grpc::InsecureServerCredentials(), &port);
    b.RegisterService(this);
    server_ = b.BuildAndStart();
    stub = TestService::NewStub(::grpc::CreateChannel("127.0.0.1:" + std::to_string(port), ::grpc::InsecureChannelCredentials()));
  }
  ~test_server() override { server_->Shutdown(); }
  std::unique_ptr<TestService::Stub> stub;

 private:
  Status UnaryCall(::grpc::ServerContext* c, const SimpleRequest* request, SimpleResponse* reply) override {
    if (request->has_response_status()) {
      return {static_cast<StatusCode>(request->response_status().code()), request->response_status().message()};
    }
    c->AddTrailingMetadata("x-limited", c->deadline() < std::chrono::system_clock::now() + 1h ? "yes" : "no");
    *reply->mutable_payload() = request->payload();
    return Status::OK;
  }
  Status StreamingOutputCall(::grpc::ServerContext*, const StreamingOutputCallRequest* request,
                             ::grpc::ServerWriter<StreamingOutputCallResponse>* out) override {
    for (const auto& p : request->response_parameters()) {
      StreamingOutputCallResponse r;
      r.mutable_payload()->set_body(std::string(static_cast<size_t>(p.size()), 'x'));
      if (!out->Write(r)) return Status::CANCELLED;
    }
    if (request->has_response_status()) {
      return {static_cast<StatusCode>(request->response_status().code()), request->response_status().message()};
    }
    return Status::OK;
  }
  Status StreamingInputCall(::grpc::ServerContext*, ::grpc::ServerReader<StreamingInputCallRequest>* in,
                            StreamingInputCallResponse* reply) override {
    size_t n = 0;
    for (StreamingInputCallRequest m; in->Read(&m);) n += m.payload().body().size();
    if (n == 0) return {StatusCode::INVALID_ARGUMENT, "nothing"};
    reply->set_aggregated_payload_size(static_cast<int32_t>(n));
    return Status::OK;
  }
  Status FullDuplexCall(::grpc::ServerContext*,
                        ::grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>* io) override {
    for (StreamingOutputCallRequest m; io->Read(&m);) {
      StreamingOutputCallResponse r;
      *r.mutable_payload() = m.payload();
      io->Write(r);
    }
    return Status::OK;
  }
  std::unique_ptr<::grpc::Server> server_;
};

template <class F>
void with_stub(F body) {
  warren::run([&] {
    std::unique_ptr<test_server> server;
    // It starts and stops threads, and waits for them.
    warren::blocking([&] { server = std::make_unique<test_server>(); });
    body(*server->stub->async());
    warren::blocking([&] { server.reset(); });
  });
}

TEST(stub, unary_replies_and_fails) {
  with_stub([](async& stub) {
    SimpleRequest request;
    SimpleResponse reply;
    request.mutable_payload()->set_body("hello");
    {
      ClientContext c;
      EXPECT_TRUE(grpcpp::call(warren::background(), stub, &async::UnaryCall, c, request, &reply).ok());
      EXPECT_EQ(reply.payload().body(), "hello");
      EXPECT_EQ(c.GetServerTrailingMetadata().find("x-limited")->second, "no");
    }
    request.mutable_response_status()->set_code(5);
    request.mutable_response_status()->set_message("no such thing");
    ClientContext c;
    const Status s = grpcpp::call(warren::background(), stub, &async::UnaryCall, c, request, &reply);
    EXPECT_EQ(s.error_code(), StatusCode::NOT_FOUND);
    EXPECT_EQ(s.error_message(), "no such thing");
  });
}

TEST(stub, a_stream_of_replies) {
  with_stub([](async& stub) {
    StreamingOutputCallRequest request;
    for (int i = 0; i < 100; i++) request.add_response_parameters()->set_size(i);
    ClientContext c;
    auto in = grpcpp::call(warren::background(), stub, &async::StreamingOutputCall, c, request);
    int n = 0;
    for (StreamingOutputCallResponse r; in.read(&r); n++) EXPECT_EQ(r.payload().body().size(), static_cast<size_t>(n));
    EXPECT_EQ(n, 100);
    EXPECT_TRUE(in.finish().ok());
    EXPECT_TRUE(in.finish().ok());  // the same each time

    request.mutable_response_status()->set_code(9);
    ClientContext failing;
    auto unread = grpcpp::call(warren::background(), stub, &async::StreamingOutputCall, failing, request);
    EXPECT_EQ(unread.finish().error_code(), StatusCode::FAILED_PRECONDITION);  // passes over what was not read
  });
}

TEST(stub, a_stream_of_requests) {
  with_stub([](async& stub) {
    StreamingInputCallResponse reply;
    ClientContext c;
    auto out = grpcpp::call(warren::background(), stub, &async::StreamingInputCall, c, &reply);
    StreamingInputCallRequest m;
    m.mutable_payload()->set_body(std::string(1000, 'x'));
    for (int i = 0; i < 100; i++) EXPECT_TRUE(out.write(m));
    EXPECT_TRUE(out.finish().ok());
    EXPECT_FALSE(out.write(m));
    EXPECT_EQ(reply.aggregated_payload_size(), 100'000);

    ClientContext empty;
    EXPECT_EQ(grpcpp::call(warren::background(), stub, &async::StreamingInputCall, empty, &reply).finish().error_code(),
              StatusCode::INVALID_ARGUMENT);
  });
}

TEST(stub, both_directions_by_one_goroutine_and_by_two) {
  with_stub([](async& stub) {
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, &async::FullDuplexCall, c);
    StreamingOutputCallRequest m;
    StreamingOutputCallResponse r;
    for (int i = 0; i < 50; i++) {
      m.mutable_payload()->set_body(std::to_string(i));
      ASSERT_TRUE(io.write(m));
      ASSERT_TRUE(io.read(&r));
      EXPECT_EQ(r.payload().body(), std::to_string(i));
    }
    warren::wait_group writer;
    writer.add(1);
    warren::go([&] {
      StreamingOutputCallRequest more;
      for (int i = 0; i < 500; i++) {
        more.mutable_payload()->set_body(std::to_string(i));
        EXPECT_TRUE(io.write(more));
      }
      EXPECT_TRUE(io.writes_done());
      writer.done();
    });
    int n = 0;
    for (; io.read(&r); n++) EXPECT_EQ(r.payload().body(), std::to_string(n));
    EXPECT_EQ(n, 500);
    writer.wait();
    EXPECT_TRUE(io.finish().ok());
  });
}

// --- generic stubs against our own server, over either transport
// --------------------------------------------------------------------------

struct outbound : testing::TestWithParam<warren::grpc::transport_maker> {
  template <class F>
  void with_text(F body) {
    transport_under_test = GetParam();
    with_server([&](warren::grpc::server& s, text_service& service) {
      GenericStub stub = text_stub_of(s.address());
      body(stub, service, s);
    });
  }
};

TEST_P(outbound, unary_and_bidi) {
  with_text([](GenericStub& stub, text_service&, warren::grpc::server&) {
    std::string reply;
    EXPECT_TRUE(unary(warren::background(), stub, "/test.Text/Echo", "hello", &reply).ok());
    EXPECT_EQ(reply, "hello");
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Nowhere", "").error_code(), StatusCode::UNIMPLEMENTED);
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, "/test.Text/Chat", c);
    for (int i = 0; i < 100; i++) {
      ByteBuffer back;
      ASSERT_TRUE(io.write(bytes(std::to_string(i))));
      ASSERT_TRUE(io.read(&back));
      EXPECT_EQ(text_of(back), std::to_string(i));
    }
    ASSERT_TRUE(io.write(bytes("bye")));
    EXPECT_EQ(io.finish().error_code(), StatusCode::OUT_OF_RANGE);
  });
}

TEST_P(outbound, inherits_the_deadline) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server&) {
    const auto soon = warren::with_timeout(warren::background(), 20ms);
    EXPECT_EQ(unary(soon.ctx, stub, "/test.Text/UntilDone", "").error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));  // by its own deadline or by the caller's, whichever comes first
    // Over already.
    EXPECT_EQ(unary(soon.ctx, stub, "/test.Text/Echo", "").error_code(), StatusCode::DEADLINE_EXCEEDED);
    // The nearer one counts, whosever it is.
    ClientContext own;
    own.set_deadline(std::chrono::system_clock::now() + 20ms);
    const auto far = warren::with_timeout(warren::background(), 1h);
    ByteBuffer reply;
    EXPECT_EQ(grpcpp::call(far.ctx, stub, "/test.Text/UntilDone", own, bytes(""), &reply).error_code(), StatusCode::DEADLINE_EXCEEDED);
    far.cancel();
    soon.cancel();
  });
}

TEST_P(outbound, is_cancelled_by_the_context) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server&) {
    const auto c = warren::with_cancel(warren::background());
    warren::go([&, cancel = c.cancel] {
      until([&] { return service.ran == 1; });
      cancel();
    });
    EXPECT_EQ(unary(c.ctx, stub, "/test.Text/UntilDone", "").error_code(), StatusCode::CANCELLED);
    EXPECT_TRUE(until([&] { return service.cancelled == 1; }));
    EXPECT_EQ(unary(c.ctx, stub, "/test.Text/Echo", "").error_code(), StatusCode::CANCELLED);  // before it began

    // A reader is woken, and so is a writer.
    const auto d = warren::with_cancel(warren::background());
    ClientContext stream;
    auto io = grpcpp::call(d.ctx, stub, "/test.Text/Chat", stream);
    warren::go([cancel = d.cancel] { cancel(); });
    ByteBuffer nothing;
    EXPECT_FALSE(io.read(&nothing));
    EXPECT_EQ(io.finish().error_code(), StatusCode::CANCELLED);
  });
}

TEST_P(outbound, destroying_a_stream_cancels_its_call) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server&) {
    {
      ClientContext c;
      auto io = grpcpp::call(warren::background(), stub, "/test.Text/Duplex", c);
      ByteBuffer tick;
      ASSERT_TRUE(io.read(&tick));
    }
    EXPECT_TRUE(until([&] { return service.returned == 1; }));
  });
}

TEST_P(outbound, a_server_that_is_gone_is_unavailable) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server& s) {
    ClientContext c;
    auto io = grpcpp::call(warren::background(), stub, "/test.Text/Chat", c);
    ASSERT_TRUE(io.write(bytes("one")));
    ByteBuffer back;
    ASSERT_TRUE(io.read(&back));
    s.shutdown(0ns);
    EXPECT_FALSE(io.read(&back));
    EXPECT_EQ(io.finish().error_code(), StatusCode::UNAVAILABLE);
    EXPECT_EQ(unary(warren::background(), stub, "/test.Text/Echo", "").error_code(), StatusCode::UNAVAILABLE);
    EXPECT_EQ(service.returned, 1);
  });
}

TEST_P(outbound, thousands_at_once) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server&) {
    constexpr int kCalls = 3000;
    std::atomic<int> good{0};
    warren::wait_group all;
    all.add(kCalls);
    for (int i = 0; i < kCalls; i++) {
      warren::go([&, i] {
        std::string reply;
        if (unary(warren::background(), stub, "/test.Text/Wait", std::to_string(i), &reply).ok() && reply == std::to_string(i)) good++;
        all.done();
      });
    }
    // All that one connection may have run at the same time; the rest wait in line.
    EXPECT_TRUE(until([&] { return service.ran >= 1000; }));
    service.hold = false;
    all.wait();
    EXPECT_EQ(good, kCalls);
  });
}

// A cancellation that may come before the call begins, while it runs, with its answer, and after it; deadlines likewise.
//
// gRPC C++ 1.51, told to cancel a call whose headers it has not sent yet, sends RST_STREAM for a stream that does not exist. Its own server
// lets that pass; to RFC 9113 §6.4 it is a connection error, so the native server ends the connection, and what was open on it is
// UNAVAILABLE.
TEST_P(outbound, cancellation_races_completion) {
  with_text([](GenericStub& stub, text_service&, warren::grpc::server&) {
    constexpr int kCalls = 900;  // fewer than the resets that the native server takes for a flood
    std::atomic<int> wrong{0};
    warren::wait_group all;
    all.add(kCalls);
    std::mt19937 random(7);
    for (int i = 0; i < kCalls; i++) {
      const unsigned kind = random() % 3;
      const unsigned spin = random() % 2000;
      const auto c = kind == 2 ? warren::with_timeout(warren::background(), std::chrono::microseconds(spin))
                               : warren::with_cancel(warren::background());
      warren::go([&, spin, ctx = c.ctx] {
        Status s;
        if (spin % 2 == 0) {
          s = unary(ctx, stub, "/test.Text/Echo", "x");
        } else {
          ClientContext own;
          auto io = grpcpp::call(ctx, stub, "/test.Text/Chat", own);
          ByteBuffer back;
          if (io.write(bytes("x"))) io.read(&back);
          if (spin % 4 == 1) s = io.finish();
        }
        if (!s.ok() && s.error_code() != StatusCode::CANCELLED && s.error_code() != StatusCode::DEADLINE_EXCEEDED &&
            (s.error_code() != StatusCode::UNAVAILABLE || GetParam() != nullptr)) {
          wrong++;
          ADD_FAILURE() << s.error_code() << " " << s.error_message();
        }
        all.done();
      });
      if (kind != 2) {
        warren::go([cancel = c.cancel, spin] {
          for (unsigned k = 0; k < spin / 100; k++) warren::yield();
          cancel();
        });
      }
      if (i % 50 == 0) warren::yield();
    }
    all.wait();
    EXPECT_EQ(wrong, 0);
    EXPECT_TRUE(until([&] { return unary(warren::background(), stub, "/test.Text/Echo", "after").ok(); }));
  });
}

// Calls another server with its own context, as handlers do.
struct relay final : warren::grpc::service {
  GenericStub* next = nullptr;

  warren::grpc::result<text> Relay(warren::grpc::server_context& ctx, const text& method) {
    std::string reply;
    const Status s = unary(ctx, *next, method.bytes, "", &reply);
    if (!s.ok()) return warren::grpc::status(static_cast<warren::grpc::status_code>(s.error_code()), s.error_message());
    return text{reply};
  }
  std::string_view full_name() const override { return "test.Relay"; }
  std::span<const warren::grpc::method_descriptor> methods() const override {
    static constexpr warren::grpc::method_descriptor table[] = {
        {"Relay", warren::grpc::method_kind::unary, &warren::grpc::unary<&relay::Relay, text, text>}};
    return table;
  }
};

TEST_P(outbound, a_handler_hands_its_deadline_and_its_cancellation_on) {
  with_text([](GenericStub& stub, text_service& service, warren::grpc::server&) {
    relay middle;
    middle.next = &stub;
    warren::grpc::server_options options;
    options.listen = "127.0.0.1:0";
    options.transport = GetParam();
    warren::grpc::server front(options);
    front.add(middle);
    front.start();
    GenericStub to_front = text_stub_of(front.address());
    const auto c = warren::with_cancel(warren::background());
    warren::go([&, cancel = c.cancel] {
      until([&] { return service.ran == 1; });
      cancel();
    });
    EXPECT_EQ(unary(c.ctx, to_front, "/test.Relay/Relay", "/test.Text/UntilDone").error_code(), StatusCode::CANCELLED);
    EXPECT_TRUE(until([&] { return service.returned == 1; }));
    EXPECT_EQ(service.cause, static_cast<int>(warren::grpc::status_code::cancelled));
    const auto d = warren::with_timeout(warren::background(), 20ms);
    EXPECT_EQ(unary(d.ctx, to_front, "/test.Relay/Relay", "/test.Text/UntilDone").error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_TRUE(until([&] { return service.cancelled == 2; }));
    d.cancel();
  });
}

INSTANTIATE_TEST_SUITE_P(native, outbound, testing::Values(nullptr));
INSTANTIATE_TEST_SUITE_P(grpcpp, outbound, testing::Values(&grpcpp::transport));

}  // namespace
