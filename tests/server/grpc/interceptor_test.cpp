// Interceptors around handlers of all kinds; the bearer-token interceptor; what exceptions tell.
#include <gtest/gtest.h>

#include <mutex>

#include <warren/grpc/bearer_token.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::until;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";
const std::string kUnknown = "2";
const std::string kUnauthenticated = "16";

// A server with interceptors, the outermost first.
template <class F>
void with_interceptors(const std::vector<grpc::interceptor*>& chain, F body) {
  warren::run([&] {
    text_service service;
    grpc::server server({.listen = "127.0.0.1:0", .min_ping_interval = 0ms});
    server.add(service);
    for (grpc::interceptor* i : chain) server.intercept(*i);
    server.start();
    body(server, service);
    service.hold = false;
    server.shutdown(0ns);
  });
}

// Notes when it is entered and left, and with which status.
struct noting final : grpc::interceptor {
  noting(std::string n, strings& l, std::mutex& m) : name(std::move(n)), log(l), lock(m) {}
  grpc::status intercept(grpc::server_call& call, const next& proceed) override {
    note(name + " in " + std::string(call.context().method()) + " " + to_string(proceed.kind()));
    grpc::status s = proceed(call);
    note(name + " out " + to_string(s.code()));
    return s;
  }
  void note(std::string line) {
    std::lock_guard hold(lock);
    log.push_back(std::move(line));
  }
  std::string name;
  strings& log;
  std::mutex& lock;
};

TEST(interceptor, a_chain_is_entered_in_order_and_left_in_reverse_for_all_kinds) {
  strings log;
  std::mutex lock;
  noting outer("outer", log, lock), inner("inner", log, lock);
  with_interceptors({&outer, &inner}, [&](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const auto expect = [&](const std::string& path, const std::string& kind, const std::string& code) {
      ASSERT_TRUE(until([&] {
        std::lock_guard hold(lock);
        return log.size() == 4;
      }));
      std::lock_guard hold(lock);
      EXPECT_EQ(log, (strings{"outer in " + path + " " + kind, "inner in " + path + " " + kind, "inner out " + code, "outer out " + code}));
      log.clear();
    };
    EXPECT_EQ(c.call(kEcho, "x").messages(), strings{"x"});
    expect(kEcho, "unary", "OK");
    EXPECT_EQ(c.call("/test.Text/Stream", "2 1").messages(), (strings{"a", "b"}));
    expect("/test.Text/Stream", "server_stream", "OK");
    int32_t id = c.begin(raw_client::request_fields("/test.Text/Upload"));
    c.data(id, message("one"), true);
    EXPECT_EQ(c.wait(id).messages(), strings{"1 3 one"});
    expect("/test.Text/Upload", "client_stream", "OK");
    id = c.begin(raw_client::request_fields("/test.Text/Chat"));
    c.data(id, message("a") + message("bye"), true);
    EXPECT_EQ(c.wait(id).grpc_status(), "11");
    expect("/test.Text/Chat", "bidi_stream", "OutOfRange");
    // What the transport found wrong, and what was thrown, they see as the caller does.
    EXPECT_EQ(c.call(kEcho, "unparsable").grpc_status(), "13");
    expect(kEcho, "unary", "Internal");
    EXPECT_EQ(c.call("/test.Text/Throw", "").grpc_status(), kUnknown);
    expect("/test.Text/Throw", "unary", "Unknown");
    // What is no method of the server is not their business.
    EXPECT_EQ(c.call("/test.Text/Nope", "").grpc_status(), "12");
    EXPECT_EQ(log, strings{});
  });
}

// Refuses without the handler; changes a status; forgets the reply; throws.
struct wilful final : grpc::interceptor {
  grpc::status intercept(grpc::server_call& call, const next& proceed) override {
    const std::string what(call.context().find("x-what").value_or(""));
    if (what == "refuse") return grpc::permission_denied("not you");
    if (what == "ok") return {};
    if (what == "throw") throw std::runtime_error("a secret");
    if (what == "change") {
      grpc::status s = proceed(call);
      return s.ok() ? grpc::aborted("changed") : grpc::status();
    }
    return proceed(call);
  }
};

TEST(interceptor, may_answer_itself) {
  wilful w;
  with_interceptors({&w}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const auto with = [&](const char* what, const std::string& path = kEcho) { return c.call(path, "x", {{"x-what", what}}); };
    EXPECT_EQ(with("refuse").grpc_status(), "7");
    EXPECT_EQ(with("refuse").shape, "h");
    EXPECT_EQ(with("ok").grpc_status(), "13");  // no reply
    const reply thrown = with("throw");
    EXPECT_EQ(thrown.grpc_status(), kUnknown);
    EXPECT_EQ(thrown.trailer("grpc-message").find("secret"), std::string::npos);
    EXPECT_EQ(svc.ran, 0);
    EXPECT_EQ(with("change").grpc_status(), "10");
    EXPECT_EQ(with("change").messages(), strings{});
    EXPECT_EQ(svc.ran, 2);
    EXPECT_EQ(with("change", "/test.Text/Throw").grpc_status(), "13");
    EXPECT_EQ(with("").messages(), strings{"x"});
    EXPECT_THROW(s.intercept(*std::make_unique<wilful>()), std::logic_error);
  });
}

// Counts the bytes of messages both ways and writes every request backwards.
struct meddling final : grpc::interceptor {
  struct call final : grpc::forwarding_call {
    call(grpc::server_call& to, meddling& m) : forwarding_call(to), of(m) {}
    bool next_message(std::span<const char>& bytes) override {
      if (!to_.next_message(bytes)) return false;
      backwards.assign(bytes.rbegin(), bytes.rend());
      bytes = backwards;
      of.in += static_cast<int>(bytes.size());
      return true;
    }
    char* begin_message(size_t n) override {
      of.out += static_cast<int>(n);
      return to_.begin_message(n);
    }
    meddling& of;
    std::string backwards;
  };
  grpc::status intercept(grpc::server_call& c, const next& proceed) override {
    call mine(c, *this);
    return proceed(mine);
  }
  std::atomic<int> in{0}, out{0};
};

TEST(interceptor, may_stand_between_handler_and_messages) {
  meddling m;
  with_interceptors({&m}, [&](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "abc").messages(), strings{"cba"});
    const int32_t id = c.begin(raw_client::request_fields("/test.Text/Chat"));
    c.data(id, message("xy") + message("z"), true);
    EXPECT_EQ(c.wait(id).messages(), (strings{"yx", "z"}));
    EXPECT_EQ(m.in, 6);
    EXPECT_EQ(m.out, 6);
  });
}

TEST(exceptions, rule_39_of_streaming_handlers_are_unknown_and_silent) {
  // Throws after its first message.
  struct throwing final : grpc::interceptor {
    grpc::status intercept(grpc::server_call& call, const next& proceed) override {
      (void)proceed(call);
      throw std::runtime_error("a secret");
    }
  } t;
  with_interceptors({&t}, [](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = c.call("/test.Text/Stream", "1 1");
    EXPECT_EQ(r.messages(), strings{"a"});
    EXPECT_EQ(r.grpc_status(), kUnknown);
    EXPECT_EQ(r.trailer("grpc-message").find("secret"), std::string::npos);
  });
}

// --- bearer tokens -----------------------------------------------------------------------------------------------------------------------

using bearer = grpc::bearer_token_interceptor;

// Tells whose token the call came with in a trailer.
struct telling final : grpc::interceptor {
  grpc::status intercept(grpc::server_call& call, const next& proceed) override {
    const warren::context ctx = call.context();
    const std::string* who = bearer::subject(ctx);
    call.context().add_trailing_metadata("x-who", who == nullptr ? "nobody" : *who);
    return proceed(call);
  }
};

TEST(bearer_token, only_those_who_know_one_are_served) {
  bearer auth({{"s3cret", "alice"}, {"other", "bob"}}, {.exempt = {"/test.Text/Facts", "/test.Other/*"}});
  telling tell;
  with_interceptors({&auth, &tell}, [&](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const auto with = [&](const std::string& authorization) { return c.call(kEcho, "x", {{"authorization", authorization}}); };
    EXPECT_EQ(with("Bearer s3cret").trailer("x-who"), "alice");
    EXPECT_EQ(with("bearer other").trailer("x-who"), "bob");
    EXPECT_EQ(with("BEARER  other").trailer("x-who"), "bob");
    EXPECT_EQ(svc.ran, 3);
    for (const char* bad : {"Bearer s3cre", "Bearer s3crets", "Bearer S3CRET", "Bearer ", "Bearer", "Basic s3cret", "s3cret",
                            "Bearer\ts3cret", "Bearer s3cret other"}) {
      const reply r = with(bad);
      EXPECT_EQ(r.grpc_status(), kUnauthenticated) << bad;
      EXPECT_EQ(r.trailer("grpc-message").find("s3cre"), std::string::npos) << bad;
    }
    EXPECT_EQ(c.call(kEcho, "x").grpc_status(), kUnauthenticated);
    EXPECT_EQ(c.call(kEcho, "x", {{"authorization", "Bearer s3cret"}, {"authorization", "Bearer other"}}).grpc_status(), kUnauthenticated);
    EXPECT_EQ(auth.refused(), 11u);
    EXPECT_EQ(svc.ran, 3);
    EXPECT_EQ(c.call("/test.Text/Facts", "").trailer("x-who"), "nobody");
    auth.replace({{"fresh", "carol"}});
    EXPECT_EQ(with("Bearer s3cret").grpc_status(), kUnauthenticated);
    EXPECT_EQ(with("Bearer fresh").trailer("x-who"), "carol");
  });
}

TEST(bearer_token, empty_tokens_are_not_taken) {
  const std::vector<bearer::known_token> empty{{"", "everybody"}};
  EXPECT_THROW(bearer{empty}, std::invalid_argument);
  bearer nobody(std::vector<bearer::known_token>{});
  EXPECT_THROW(nobody.replace({{"x", "a"}, {"", "b"}}), std::invalid_argument);
}

}  // namespace
