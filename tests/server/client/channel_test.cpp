// Connections behind a channel: states, backoff, waiting for one, several addresses, names, TLS; interceptors and credentials.
#include <gtest/gtest.h>
#include <netdb.h>
#include <unistd.h>

#include <asio/ssl/context.hpp>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <warren/sync.h>
#include <warren/tls.h>

#include "netpoll/resolver.h"
#include "tests/netpoll/certificate.h"
#include "tests/runtime/collect_until.h"
#include "tests/server/client/text_stub.h"
#include "tests/server/raw_server.h"

namespace {

using namespace warren;
using namespace warren::testing;
using grpc::connectivity_state;
using grpc::status_code;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct running_server {
  text_service service;
  grpc::server server;
  explicit running_server(const std::string& where = "127.0.0.1:0", grpc::server_options options = {}) : server(at(where, options)) {
    server.add(service);
    server.start();
  }
  ~running_server() {
    service.hold = false;
    server.shutdown(std::chrono::nanoseconds(0));
  }
  static grpc::server_options at(const std::string& where, grpc::server_options options) {
    options.listen = where;
    return options;
  }
};

// A port where nobody listens: it was ours a moment ago.
std::string closed_port() { return listen("127.0.0.1:0").address(); }

grpc::status call(grpc::channel& channel, std::string* reply = nullptr, bool wait_for_ready = false) {
  limited_context ctx;
  ctx.wait_for_ready(wait_for_ready);
  const auto r = text_stub{channel}.unary(ctx, "/test.Text/Echo", "x");
  if (r.ok() && reply != nullptr) *reply = (*r).bytes;
  return r.status();
}

// --- states ------------------------------------------------------------------------------------------------------------------------------

TEST(client_channel, connects_at_the_first_call_and_not_before) {
  warren::run([] {
    running_server s;
    grpc::channel channel(s.server.address());
    EXPECT_EQ(channel.state(), connectivity_state::idle);
    EXPECT_EQ(channel.counters().connections, 0u);
    EXPECT_TRUE(call(channel).ok());
    EXPECT_EQ(channel.state(), connectivity_state::ready);
    channel.close();
    EXPECT_EQ(channel.state(), connectivity_state::shutdown);
    channel.close();
  });
}

TEST(client_channel, wait_ready_connects_without_a_call_and_gives_up_with_its_context) {
  warren::run([] {
    running_server s;
    grpc::channel channel(s.server.address());
    EXPECT_TRUE(channel.wait_ready());
    grpc::channel nowhere(closed_port());
    const auto limit = with_timeout(background(), milliseconds(30));
    EXPECT_FALSE(nowhere.wait_ready(limit.ctx));
    EXPECT_TRUE(until([&] { return nowhere.state() == connectivity_state::transient_failure; }));
  });
  // What waited with a context left a function with it, which a collection frees. On a new stack, where nothing points to it; or it would
  // be a leak to AddressSanitizer.
  warren::run([] { collect_until([left = 5]() mutable { return --left == 0; }); });
}

TEST(client_channel, a_call_fails_at_once_while_nobody_listens) {
  warren::run([] {
    const std::string where = closed_port();
    grpc::channel channel(where);
    const grpc::status s = call(channel);
    EXPECT_EQ(s.code(), status_code::unavailable);
    EXPECT_NE(s.message().find(where), std::string::npos) << s.message();
    EXPECT_GE(channel.counters().connect_failures, 1u);
  });
}

TEST(client_channel, wait_for_ready_waits_until_somebody_listens_or_the_deadline) {
  warren::run([] {
    const std::string where = closed_port();
    grpc::channel channel(where, {.initial_backoff = milliseconds(5), .max_backoff = milliseconds(20)});
    grpc::client_context late;
    late.timeout(milliseconds(40));
    late.wait_for_ready(true);
    const auto r = text_stub{channel}.unary(late, "/test.Text/Echo", "");
    EXPECT_EQ(r.status().code(), status_code::deadline_exceeded);
    EXPECT_NE(r.status().message().find("waited for a connection"), std::string::npos) << r.status().message();
    std::unique_ptr<running_server> s;
    wait_group starter;
    starter.go([&] {
      EXPECT_TRUE(until([&] { return channel.counters().connect_failures >= 2; }));
      s = std::make_unique<running_server>(where);
    });
    EXPECT_TRUE(call(channel, nullptr, true).ok());
    starter.wait();
  });
}

TEST(client_channel, cancelling_ends_the_wait_for_a_connection) {
  warren::run([] {
    grpc::channel channel(closed_port());
    limited_context ctx;
    ctx.wait_for_ready(true);
    wait_group canceller;
    canceller.go([&] {
      EXPECT_TRUE(until([&] { return channel.counters().connect_failures >= 1; }));
      ctx.cancel();
    });
    EXPECT_EQ(text_stub{channel}.unary(ctx, "/test.Text/Echo", "").status().code(), status_code::cancelled);
    canceller.wait();
  });
}

TEST(client_channel, a_restarted_server_is_found_again) {
  warren::run([] {
    auto s = std::make_unique<running_server>();
    const std::string where = s->server.address();
    grpc::channel channel(where, {.initial_backoff = milliseconds(5), .max_backoff = milliseconds(20)});
    for (int i = 0; i < 3; i++) {
      EXPECT_TRUE(call(channel, nullptr, true).ok());
      s.reset();
      EXPECT_TRUE(until([&] { return channel.state() != connectivity_state::ready; }));
      s = std::make_unique<running_server>(where);
    }
    EXPECT_TRUE(call(channel, nullptr, true).ok());
    EXPECT_EQ(channel.counters().connections, 4u);
  });
}

TEST(client_channel, a_draining_server_loses_no_call) {
  warren::run([] {
    auto first = std::make_unique<running_server>();
    const std::string where = first->server.address();
    grpc::channel channel(where, {.initial_backoff = milliseconds(5), .max_backoff = milliseconds(20)});
    std::atomic<bool> stop{false};
    std::atomic<int> good{0};
    std::mutex mutex;
    std::string bad;
    wait_group callers;
    for (int i = 0; i < 8; i++) {
      callers.go([&] {
        while (!stop) {
          const grpc::status s = call(channel, nullptr, true);
          if (s.ok()) {
            good++;
          } else {
            std::lock_guard hold(mutex);
            bad += s.message() + "; ";
          }
        }
      });
    }
    for (int round = 0; round < 3; round++) {
      const int before = good;
      EXPECT_TRUE(until([&] { return good > before + 50; }));
      first->server.shutdown(seconds(20));
      first = std::make_unique<running_server>(where);
    }
    stop = true;
    callers.wait();
    EXPECT_EQ(bad, "");
  });
}

TEST(client_channel, closing_does_not_wait_for_a_pause_a_dial_or_a_handshake) {
  warren::run([] {
    {
      grpc::channel pausing(closed_port(), {.initial_backoff = seconds(1000)});
      EXPECT_EQ(call(pausing).code(), status_code::unavailable);
    }
    tcp_listener silent = listen("127.0.0.1:0");
    {
      grpc::channel greeting(silent.address());
      greeting.connect();
      tcp_conn c = silent.accept();
      greeting.close();
    }
    {
      grpc::channel shaking(silent.address(), {.tls = grpc::client_tls_options{}});
      shaking.connect();
      tcp_conn c = silent.accept();
      char b[1];
      c.read_some(asio::buffer(b));
      shaking.close();
    }
  });
}

TEST(client_channel, calls_may_outlive_the_channel) {
  warren::run([] {
    running_server s;
    auto channel = std::make_unique<grpc::channel>(s.server.address());
    limited_context ctx;
    auto in = text_stub{*channel}.server_stream(ctx, "/test.Text/Hang", "");
    text m;
    EXPECT_TRUE(in.read(m));
    channel.reset();
    EXPECT_FALSE(in.read(m));
    EXPECT_EQ(in.finish().code(), status_code::cancelled);
  });
}

TEST(client_channel, too_many_pings_makes_the_next_connection_ping_less_often) {
  warren::run([] {
    raw_server server;
    grpc::channel channel(server.address(), {.keepalive_time = milliseconds(10), .keepalive_timeout = seconds(20)});
    wait_group peer;
    peer.go([&] {
      const auto c = server.accept();
      raw_server::next_request(*c);
      while (c->pings_received == 0) c->read_frame();
      c->send_frame(NGHTTP2_GOAWAY, 0, 0, be32(1) + be32(NGHTTP2_ENHANCE_YOUR_CALM) + "too_many_pings");
      raw_server::answer(*c, 1, "calm");
      c->wait_closed();
    });
    EXPECT_TRUE(call(channel).ok());
    peer.wait();
  });
}

// --- addresses ---------------------------------------------------------------------------------------------------------------------------

TEST(client_channel, unix_sockets_by_path_and_by_abstract_name) {
  warren::run([] {
    const std::string name = "warren-client-test-" + std::to_string(::getpid());
    const std::string path = ::testing::TempDir() + name;
    for (const auto& [listen_at, target] :
         {std::pair("unix:@" + name, "unix-abstract:" + name), std::pair("unix:" + path, "unix:" + path)}) {
      running_server s(listen_at);
      grpc::channel channel(target);
      limited_context ctx;
      const auto r = text_stub{channel}.unary(ctx, "/test.Text/Facts", "");
      ASSERT_TRUE(r.ok()) << r.status().message();
      EXPECT_NE((*r).bytes.find(" localhost "), std::string::npos) << (*r).bytes;
    }
  });
}

TEST(client_channel, pick_first_takes_the_first_address_that_answers) {
  warren::run([] {
    running_server s;
    grpc::channel channel("ipv4:" + closed_port() + "," + s.server.address());
    for (int i = 0; i < 5; i++) EXPECT_TRUE(call(channel).ok());
    EXPECT_EQ(channel.counters().connections, 1u);
  });
}

TEST(client_channel, pick_first_goes_on_after_an_address_that_does_not_speak_http2) {
  warren::run([] {
    running_server s;
    tcp_listener odd = listen("127.0.0.1:0");
    wait_group peer;
    peer.go([&] { odd.accept().close(); });
    grpc::channel channel("ipv4:" + odd.address() + "," + s.server.address());
    EXPECT_TRUE(call(channel).ok());
    peer.wait();
  });
}

TEST(client_channel, round_robin_shares_calls_equally_and_passes_over_what_is_down) {
  warren::run([] {
    auto a = std::make_unique<running_server>();
    running_server b;
    running_server c;
    grpc::channel channel("ipv4:" + a->server.address() + "," + b.server.address() + "," + c.server.address(),
                          {.load_balancing = "round_robin", .initial_backoff = seconds(100)});
    EXPECT_TRUE(channel.wait_ready());
    EXPECT_TRUE(until([&] {
      return a->server.counters().connections_open + b.server.counters().connections_open + c.server.counters().connections_open == 3;
    }));
    // All three are READY once each has served.
    EXPECT_TRUE(until([&] {
      EXPECT_TRUE(call(channel).ok());
      return a->service.ran > 0 && b.service.ran > 0 && c.service.ran > 0;
    }));
    const int a0 = a->service.ran, b0 = b.service.ran, c0 = c.service.ran;
    for (int i = 0; i < 30; i++) EXPECT_TRUE(call(channel).ok());
    EXPECT_EQ(a->service.ran - a0, 10);
    EXPECT_EQ(b.service.ran - b0, 10);
    EXPECT_EQ(c.service.ran - c0, 10);
    a.reset();
    for (int i = 0; i < 20; i++) EXPECT_TRUE(call(channel, nullptr, true).ok());
  });
}

// Names of a test: what the resolver answers next.
std::mutex names_mutex;
std::vector<std::string> names_answer;
std::atomic<int> names_asked{0};
rt::sys::lookup_result answer_names(const std::string&, uint16_t, bool) {
  names_asked++;
  rt::sys::lookup_result r;
  std::lock_guard hold(names_mutex);
  asio::error_code ec;
  for (const std::string& a : names_answer) {
    const tcp_endpoint e = parse_endpoint(a, ec);
    rt::sys::socket_address to;
    std::memcpy(&to.storage, e.data(), e.size());
    to.size = static_cast<socklen_t>(e.size());
    r.addresses.push_back(to);
  }
  if (names_answer.empty()) r.error = EAI_NONAME;
  return r;
}
void set_names(std::vector<std::string> answer) {
  std::lock_guard hold(names_mutex);
  names_answer = std::move(answer);
}

TEST(client_channel, a_name_is_resolved_and_again_when_its_server_is_gone) {
  rt::lookup_test_hook = &answer_names;
  warren::run([] {
    for (const char* policy : {"pick_first", "round_robin"}) {
      names_asked = 0;
      auto a = std::make_unique<running_server>();
      running_server b;
      set_names({a->server.address()});
      grpc::channel channel("dns:///shop.test:50051", {.load_balancing = policy,
                                                       .initial_backoff = milliseconds(5),
                                                       .max_backoff = milliseconds(20),
                                                       .resolution_interval = milliseconds(1)});
      limited_context ctx;
      const auto r = text_stub{channel}.unary(ctx, "/test.Text/Facts", "");
      ASSERT_TRUE(r.ok()) << r.status().message();
      EXPECT_NE((*r).bytes.find(" shop.test:50051 "), std::string::npos) << (*r).bytes;
      EXPECT_EQ(names_asked, 1);
      set_names({b.server.address()});
      a.reset();
      EXPECT_TRUE(call(channel, nullptr, true).ok()) << policy;
      EXPECT_EQ(b.service.ran, 1);
      EXPECT_GE(names_asked, 2);
    }
  });
  rt::lookup_test_hook = nullptr;
}

TEST(client_channel, a_name_that_cannot_be_resolved_says_so_and_is_tried_again) {
  rt::lookup_test_hook = &answer_names;
  warren::run([] {
    set_names({});
    running_server s;
    grpc::channel channel("shop.test:50051", {.initial_backoff = milliseconds(5), .resolution_interval = milliseconds(1)});
    const grpc::status bad = call(channel);
    EXPECT_EQ(bad.code(), status_code::unavailable);
    EXPECT_NE(bad.message().find("shop.test cannot be resolved"), std::string::npos) << bad.message();
    set_names({s.server.address()});
    EXPECT_TRUE(call(channel, nullptr, true).ok());
  });
  rt::lookup_test_hook = nullptr;
}

// --- TLS ---------------------------------------------------------------------------------------------------------------------------------

// Ends TLS and passes the bytes on to a plain server.
class tls_front {
 public:
  tls_front(const std::string& behind, const net_test::certificate& mine, const std::string& client_root = "", bool h2 = true)
      : behind_(behind), context_(asio::ssl::context::tls_server) {
    context_.use_certificate_chain(asio::buffer(mine.pem));
    context_.use_private_key(asio::buffer(mine.key_pem), asio::ssl::context::pem);
    if (!client_root.empty()) {
      context_.add_certificate_authority(asio::buffer(client_root));
      context_.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
    }
    if (h2) alpn_server(context_, {"h2"});
    tasks_.go([this] {
      asio::error_code ec;
      for (;;) {
        tcp_conn c = listener_.accept(ec);
        if (ec) return;
        tasks_.go([this, c = std::move(c)]() mutable { serve(std::move(c)); });
      }
    });
  }
  ~tls_front() {
    listener_.close();
    tasks_.wait();
  }
  std::string address() const { return listener_.address(); }

 private:
  void serve(tcp_conn socket) {
    tls_conn in(std::move(socket), context_);
    asio::error_code ec;
    in.deadline(seconds(20));
    in.handshake(tls_conn::server, ec);
    if (ec) return;
    tcp_conn out = dial(behind_, ec);
    wait_group both;
    const auto copy = [](stream& from, stream& to) {
      char b[4096];
      asio::error_code e;
      while (const size_t n = from.read_some(asio::buffer(b), e)) to.write(asio::buffer(b, n), e);
      to.shutdown(asio::socket_base::shutdown_both, e);
    };
    both.go([&] { copy(in, out); });
    copy(out, in);
    both.wait();
  }

  const std::string behind_;
  asio::ssl::context context_;
  tcp_listener listener_ = listen("127.0.0.1:0");
  wait_group tasks_;
};

TEST(client_tls, calls_go_through_with_the_right_certificate_and_name) {
  warren::run([] {
    running_server s;
    const auto mine = net_test::make_certificate("shop.test");
    tls_front front(s.server.address(), mine);
    grpc::client_tls_options tls{.root_certificates = mine.pem, .server_name = "shop.test"};
    {
      grpc::channel channel(front.address(), {.tls = tls});
      std::string reply;
      EXPECT_TRUE(call(channel, &reply).ok()) << call(channel).message();
      EXPECT_EQ(reply, "x");
      limited_context ctx;
      const auto large = text_stub{channel}.unary(ctx, "/test.Text/Echo", std::string(1'000'000, 't'));
      EXPECT_TRUE(large.ok()) << large.status().message();
    }
    tls.server_name = "other.test";
    {
      grpc::channel channel(front.address(), {.tls = tls});
      const grpc::status wrong = call(channel);
      EXPECT_EQ(wrong.code(), status_code::unavailable);
      EXPECT_NE(wrong.message().find("TLS"), std::string::npos) << wrong.message();
    }
    grpc::channel untrusting(front.address(), {.tls = grpc::client_tls_options{.server_name = "shop.test"}});
    EXPECT_EQ(call(untrusting).code(), status_code::unavailable);
  });
}

TEST(client_tls, a_client_certificate_is_shown_to_a_server_that_wants_one) {
  warren::run([] {
    running_server s;
    const auto mine = net_test::make_certificate("shop.test");
    const auto theirs = net_test::make_certificate("client.test");
    tls_front front(s.server.address(), mine, theirs.pem);
    {
      grpc::channel channel(
          front.address(),
          {.tls = grpc::client_tls_options{
               .root_certificates = mine.pem, .certificate_chain = theirs.pem, .private_key = theirs.key_pem, .server_name = "shop.test"}});
      EXPECT_TRUE(call(channel).ok());
    }
    grpc::channel without(front.address(), {.tls = grpc::client_tls_options{.root_certificates = mine.pem, .server_name = "shop.test"}});
    EXPECT_EQ(call(without).code(), status_code::unavailable);
  });
}

TEST(client_tls, a_server_that_does_not_choose_h2_is_refused) {
  warren::run([] {
    running_server s;
    const auto mine = net_test::make_certificate("shop.test");
    tls_front front(s.server.address(), mine, "", false);
    grpc::channel channel(front.address(), {.tls = grpc::client_tls_options{.root_certificates = mine.pem, .server_name = "shop.test"}});
    const grpc::status r = call(channel);
    EXPECT_EQ(r.code(), status_code::unavailable);
    EXPECT_NE(r.message().find("ALPN"), std::string::npos) << r.message();
  });
}

TEST(client_tls, bad_certificates_are_refused_by_the_constructor) {
  EXPECT_THROW(grpc::channel("localhost:1", {.tls = grpc::client_tls_options{.root_certificates = "no pem"}}), std::invalid_argument);
  EXPECT_THROW(grpc::channel("localhost:1", {.tls = grpc::client_tls_options{.certificate_chain = "half"}}), std::invalid_argument);
}

// --- interceptors and credentials
// ----------------------------------------------------------------------------------------------------------

struct noting final : grpc::client_interceptor {
  explicit noting(std::string name) : name(std::move(name)) {}
  std::string name;
  std::atomic<int> messages{0};
  struct call final : grpc::client_call_wrapper {
    call(grpc::call_ptr inner, noting& n) : client_call_wrapper(std::move(inner)), of(n) {}
    bool next_message(std::span<const char>& bytes) override {
      const bool got = client_call_wrapper::next_message(bytes);
      if (got) of.messages++;
      return got;
    }
    noting& of;
  };
  grpc::call_ptr intercept(grpc::client_context& ctx, const grpc::method_info& method, const next& go_on) override {
    if (method.path == "/test.Text/Forbidden") return grpc::failed_call(grpc::permission_denied("not by " + name));
    ctx.add_metadata("x-echo-initial", name);
    return grpc::call_ptr(new call(go_on(ctx, method), *this));
  }
};

TEST(client_interceptor, sees_calls_in_order_and_may_change_wrap_or_refuse_them) {
  warren::run([] {
    running_server s;
    const auto first = std::make_shared<noting>("first");
    const auto second = std::make_shared<noting>("second");
    grpc::channel channel(s.server.address(), {.interceptors = {first, second}});
    limited_context ctx;
    ASSERT_TRUE(text_stub{channel}.unary(ctx, "/test.Text/Metadata", "").ok());
    EXPECT_EQ(ctx.initial_metadata().find_all("x-echo-initial"), (std::vector<std::string_view>{"first", "second"}));
    limited_context streaming;
    auto in = text_stub{channel}.server_stream(streaming, "/test.Text/Stream", "5 5");
    text m;
    while (in.read(m)) {
    }
    EXPECT_TRUE(in.finish().ok());
    EXPECT_EQ(first->messages, 6);
    EXPECT_EQ(second->messages, 6);
    limited_context refused;
    const auto r = text_stub{channel}.unary(refused, "/test.Text/Forbidden", "");
    EXPECT_EQ(r.status(), grpc::permission_denied("not by first"));
  });
}

struct url_credentials final : grpc::call_credentials {
  grpc::status add(const context&, std::string_view url, std::string_view path, grpc::metadata& out) override {
    if (path == "/test.Text/Fail") return grpc::unauthenticated("no token for that");
    out.add("x-echo-initial", url);
    return {};
  }
  bool plain_text_allowed() const override { return true; }
};

TEST(client_credentials, are_added_to_each_call_and_may_refuse_it) {
  warren::run([] {
    running_server s;
    grpc::channel channel(s.server.address(), {.authority = "shop.test", .credentials = std::make_shared<url_credentials>()});
    limited_context ctx;
    ASSERT_TRUE(text_stub{channel}.unary(ctx, "/test.Text/Metadata", "").ok());
    EXPECT_EQ(ctx.initial_metadata().find("x-echo-initial"), "https://shop.test/test.Text");
    EXPECT_EQ(text_stub{channel}.unary(ctx, "/test.Text/Fail", "5 x").status(), grpc::unauthenticated("no token for that"));
    limited_context own;
    own.credentials(grpc::bearer_token("t0ken", true));
    const auto r = text_stub{channel}.unary(own, "/test.Text/Metadata", "");
    ASSERT_TRUE(r.ok());
    EXPECT_NE((*r).bytes.find("authorization=Bearer t0ken|"), std::string::npos);
  });
}

TEST(client_credentials, do_not_travel_in_plain_text) {
  warren::run([] {
    running_server s;
    grpc::channel channel(s.server.address(), {.credentials = grpc::bearer_token("secret")});
    EXPECT_EQ(call(channel).code(), status_code::unauthenticated);
    EXPECT_EQ(channel.counters().attempts, 0u);
  });
}

}  // namespace
