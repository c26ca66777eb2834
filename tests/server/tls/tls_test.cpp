// TLS and mTLS: who is served and who is told why not, what handlers learn of their callers, certificates that change, and strangers who
// connect to waste a server's time.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include <warren/tls.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"
#include "tests/server/tls/authority.h"

namespace {

using namespace std::chrono_literals;
using warren::tls_conn;
using warren::testing::authority;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";
const std::string kWho = "/test.Text/Who";

// A directory that goes with the test.
struct folder {
  folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "warren_tls_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path = pattern;
  }
  ~folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return path / name; }
  // As deployments do it: never half a file under the name.
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(file(name + ".new")) << text;
    std::filesystem::rename(file(name + ".new"), file(name));
  }
  std::filesystem::path path;
};

// A server's files, its authority and its clients'.
struct shop {
  shop() { serve(servers.issue("localhost", "DNS:localhost")); }
  void serve(const authority::pair& p) const {
    where.put("cert.pem", p.certificate);
    where.put("key.pem", p.key);
  }
  grpc::tls_options options() const { return {.certificate = where.file("cert.pem"), .key = where.file("key.pem")}; }
  grpc::tls_options mutual() {
    where.put("ca.pem", clients.pem());
    grpc::tls_options o = options();
    o.client_ca = where.file("ca.pem");
    return o;
  }

  folder where;
  authority servers{"server authority"};
  authority clients{"client authority"};
};

struct client_setup {
  strings alpn{"h2"};
  authority::pair identity{};               // empty: no certificate
  std::function<void(SSL_CTX*)> more = {};  // whatever else
  SSL_SESSION* session = nullptr;           // to resume
};

// Dials and shakes hands; ec says how that ended.
std::unique_ptr<tls_conn> dial(const shop& s, const std::string& address, const client_setup& setup, asio::error_code& ec) {
  asio::ssl::context ctx(asio::ssl::context::tls_client);
  ctx.add_certificate_authority(asio::buffer(s.servers.pem()));
  ctx.set_verify_mode(asio::ssl::verify_peer);
  if (!setup.alpn.empty()) warren::alpn_client(ctx, setup.alpn);
  if (!setup.identity.certificate.empty()) {
    ctx.use_certificate_chain(asio::buffer(setup.identity.certificate));
    ctx.use_private_key(asio::buffer(setup.identity.key), asio::ssl::context::pem);
  }
  if (setup.more) setup.more(ctx.native_handle());
  auto c = std::make_unique<tls_conn>(warren::dial_stream(address), ctx);
  if (setup.session != nullptr) SSL_set_session(static_cast<SSL*>(c->native_handle()), setup.session);
  c->host_name("localhost");
  c->deadline(raw_client::kPatience);
  c->handshake(tls_conn::client, ec);
  return c;
}
std::unique_ptr<raw_client> connect(const shop& s, const std::string& address, const client_setup& setup = {}) {
  asio::error_code ec;
  auto c = dial(s, address, setup, ec);
  EXPECT_FALSE(ec) << ec.message();
  return std::make_unique<raw_client>(std::move(c));
}

// What a client that is refused finds when it goes on as if it had not been: the error of its handshake or of its first read (in TLS 1.3
// the client is through with the handshake before the server has seen its certificate).
std::string refusal(const shop& s, const std::string& address, const client_setup& setup) {
  asio::error_code ec;
  auto c = dial(s, address, setup, ec);
  char b[1];
  while (!ec) c->read_some(asio::buffer(b), ec);
  return ec.message();
}

TEST(tls, calls_of_all_kinds) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    auto c = connect(files, s.address());
    EXPECT_EQ(c->call(kEcho, "secret").messages(), strings{"secret"});
    EXPECT_EQ(c->call("/test.Text/Stream", "3 2").messages(), (strings{"aa", "bb", "cc"}));
    const int32_t up = c->begin(raw_client::request_fields("/test.Text/Upload"));
    c->data(up, message("one") + message("two"), true);
    EXPECT_EQ(c->wait(up).messages(), strings{"2 6 two"});
    EXPECT_TRUE(c->call(kWho, "").messages()[0].starts_with("TLSv1.3 TLS_AES_256_GCM_SHA384 none subject= cn= issuer= serial="));
    EXPECT_EQ(s.counters().tls_handshakes, 1u);
    EXPECT_GT(s.counters().tls_certificate_expires, time(nullptr));
  });
}

// More than the sockets hold, both ways, on several streams: the flusher and the reader work on one TLS connection at the same time.
TEST(tls, large_messages_both_ways_at_once) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    auto c = connect(files, s.address());
    ASSERT_TRUE(c->ping());  // the server's settings, and with them its windows, are in force
    c->window_update(0, 1 << 30);
    const std::string big(300'000, 'x');
    std::vector<int32_t> ids;
    for (int i = 0; i < 8; i++) {
      ids.push_back(c->begin(raw_client::request_fields("/test.Text/Chat")));
      c->window_update(ids.back(), 1 << 30);
    }
    for (int round = 0; round < 3; round++) {
      for (const int32_t id : ids) {
        std::string_view left;
        const std::string framed = message(big);
        left = framed;
        while (!left.empty()) {
          c->data(id, left.substr(0, 16384), false);
          left.remove_prefix(std::min<size_t>(left.size(), 16384));
        }
        while (c->replies[id].data.size() < (static_cast<size_t>(round) + 1) * framed.size() && !c->closed) ASSERT_TRUE(c->read_frame());
      }
    }
    for (const int32_t id : ids) c->data(id, "", true);
    for (const int32_t id : ids) EXPECT_EQ(c->wait(id).messages(), (strings{big, big, big}));
  });
}

// --- ALPN --------------------------------------------------------------------------------------------------------------------------------

TEST(alpn, rule_53_other_protocols_are_refused_with_an_alert) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    EXPECT_NE(refusal(files, s.address(), {.alpn = {"http/1.1"}}).find("no application protocol"), std::string::npos);
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_not_h2 == 1; }));
    EXPECT_EQ(connect(files, s.address(), {.alpn = {"http/1.1", "h2"}})->call(kEcho, "x").grpc_status(), "0");
  });
}

TEST(alpn, rule_53_none_at_all_is_told_why) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    auto c = connect(files, s.address(), {.alpn = {}});
    c->wait_closed();
    EXPECT_FALSE(c->timed_out);
    ASSERT_EQ(c->goaway.size(), 1u);
    EXPECT_EQ(c->goaway[0], std::pair(int32_t{0}, uint32_t{NGHTTP2_INADEQUATE_SECURITY}));
    EXPECT_NE(c->goaway_debug[0].find("ALPN"), std::string::npos);
    EXPECT_EQ(s.counters().tls_handshakes_not_h2, 1u);
    EXPECT_EQ(s.counters().tls_handshakes, 0u);
  });
}

// Suites that RFC 9113 forbids, and versions before 1.2.
TEST(tls, weak_clients_are_refused) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    EXPECT_NE(refusal(files, s.address(),
                      {.more =
                           [](SSL_CTX* c) {
                             SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION);
                             SSL_CTX_set_cipher_list(c, "ECDHE-ECDSA-AES128-SHA256");
                           }}),
              "");
    EXPECT_NE(refusal(files, s.address(),
                      {.more =
                           [](SSL_CTX* c) {
                             SSL_CTX_set_cipher_list(c, "ALL:@SECLEVEL=0");
                             SSL_CTX_set_max_proto_version(c, TLS1_1_VERSION);
                           }}),
              "");
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_failed == 2; }));
    auto c = connect(files, s.address(), {.more = [](SSL_CTX* x) { SSL_CTX_set_max_proto_version(x, TLS1_2_VERSION); }});
    EXPECT_TRUE(c->call(kWho, "").messages()[0].starts_with("TLSv1.2 ECDHE-ECDSA-"));
  });
}

// --- mTLS --------------------------------------------------------------------------------------------------------------------------------

TEST(mtls, the_handler_learns_who_calls) {
  shop files;
  with_server({.tls = files.mutual()}, [&](grpc::server& s, text_service&) {
    const auto alice = files.clients.issue("alice",
                                           "DNS:a.example,DNS:b.example,URI:spiffe://example/alice,IP:10.0.0.1,IP:2001:db8::1,"
                                           "email:alice@example.org");
    const std::string who = connect(files, s.address(), {.identity = alice})->call(kWho, "").messages()[0];
    EXPECT_NE(who.find(" shown subject=CN=alice,O=Example cn=alice issuer=CN=client authority,O=Example dns=a.example dns=b.example "
                       "uri=spiffe://example/alice email=alice@example.org ip=10.0.0.1 ip=2001:db8::1 serial=A"),
              std::string::npos)
        << who;
    EXPECT_NE(who.find("fingerprint=64 der=yes"), std::string::npos) << who;
    // Text in a certificate can hold what separates the parts of a name: it is escaped where it could be mistaken.
    const auto sly = files.clients.issue("mallory,CN=alice", "");
    const std::string escaped = connect(files, s.address(), {.identity = sly})->call(kWho, "").messages()[0];
    EXPECT_NE(escaped.find("subject=CN=mallory\\,CN=alice,O=Example cn=mallory,CN=alice "), std::string::npos) << escaped;
  });
}

TEST(mtls, strangers_are_refused_and_told) {
  shop files;
  with_server({.tls = files.mutual()}, [&](grpc::server& s, text_service& svc) {
    const auto wrong_ca = files.servers.issue("eve", "");
    const auto expired = files.clients.issue("late", "", -60);
    EXPECT_NE(refusal(files, s.address(), {}).find("certificate required"), std::string::npos);
    EXPECT_NE(refusal(files, s.address(), {.identity = wrong_ca}).find("unknown ca"), std::string::npos);
    EXPECT_NE(refusal(files, s.address(), {.identity = expired}).find("certificate expired"), std::string::npos);
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_failed == 3; }));
    EXPECT_EQ(svc.ran, 0);
  });
}

TEST(mtls, optional_certificates_must_still_be_good) {
  shop files;
  grpc::tls_options o = files.mutual();
  o.require_client_certificate = false;
  with_server({.tls = o}, [&](grpc::server& s, text_service&) {
    EXPECT_NE(connect(files, s.address())->call(kWho, "").messages()[0].find(" none subject= "), std::string::npos);
    const auto alice = files.clients.issue("alice", "");
    EXPECT_NE(connect(files, s.address(), {.identity = alice})->call(kWho, "").messages()[0].find("cn=alice"), std::string::npos);
    EXPECT_NE(refusal(files, s.address(), {.identity = files.servers.issue("eve", "")}).find("unknown ca"), std::string::npos);
  });
}

// A resumed session has no certificate in its handshake; who the client is comes from the ticket. When the authorities change, tickets made
// before are worth nothing.
TEST(mtls, resumption_keeps_the_identity_until_the_authorities_change) {
  shop files;
  with_server({.tls = files.mutual()}, [&](grpc::server& s, text_service&) {
    const client_setup as_alice{.identity = files.clients.issue("alice", ""),
                                .more = [](SSL_CTX* c) { SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION); }};
    asio::error_code ec;
    auto first = dial(files, s.address(), as_alice, ec);
    ASSERT_FALSE(ec) << ec.message();
    client_setup again = as_alice;
    again.session = SSL_get1_session(static_cast<SSL*>(first->native_handle()));
    auto second = dial(files, s.address(), again, ec);
    ASSERT_FALSE(ec) << ec.message();
    EXPECT_EQ(SSL_session_reused(static_cast<SSL*>(second->native_handle())), 1);
    EXPECT_NE(raw_client(std::move(second)).call(kWho, "").messages()[0].find("cn=alice"), std::string::npos);
    authority others("other authority");
    files.where.put("ca.pem", others.pem());
    s.reload_tls();
    EXPECT_NE(refusal(files, s.address(), again).find("unknown ca"), std::string::npos);
    SSL_SESSION_free(again.session);
  });
}

// --- files -------------------------------------------------------------------------------------------------------------------------------

std::string shown_serial(tls_conn& c) {
  X509* const x = SSL_get0_peer_certificate(static_cast<SSL*>(c.native_handle()));
  return std::to_string(ASN1_INTEGER_get(X509_get0_serialNumber(x)));
}

TEST(tls_files, reload_changes_new_connections_only) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    asio::error_code ec;
    auto before = dial(files, s.address(), {}, ec);
    const std::string old = shown_serial(*before);
    raw_client goes_on(std::move(before));
    files.serve(files.servers.issue("localhost", "DNS:localhost"));
    s.reload_tls();
    EXPECT_NE(shown_serial(*dial(files, s.address(), {}, ec)), old);
    EXPECT_EQ(goes_on.call(kEcho, "still").messages(), strings{"still"});
    EXPECT_EQ(s.counters().tls_reloads, 1u);
  });
}

TEST(tls_files, a_bad_file_changes_nothing) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    asio::error_code ec;
    const std::string old = shown_serial(*dial(files, s.address(), {}, ec));
    files.where.put("cert.pem", files.servers.issue("localhost", "DNS:localhost").certificate);  // the key has not come yet
    try {
      s.reload_tls();
      ADD_FAILURE() << "a certificate without its key was taken";
    } catch (const grpc::tls_error& e) {
      EXPECT_NE(std::string(e.what()).find("it is not the key of"), std::string::npos) << e.what();
    }
    EXPECT_EQ(shown_serial(*dial(files, s.address(), {}, ec)), old);
    EXPECT_EQ(s.counters().tls_reload_failures, 1u);
  });
}

TEST(tls_files, are_read_again_when_they_change) {
  shop files;
  grpc::tls_options o = files.options();
  o.reload_interval = 1ms;
  with_server({.tls = o}, [&](grpc::server& s, text_service&) {
    asio::error_code ec;
    const std::string old = shown_serial(*dial(files, s.address(), {}, ec));
    files.where.put("key.pem", "-----BEGIN NONSENSE-----\n");
    EXPECT_TRUE(until([&] { return s.counters().tls_reload_failures >= 1; }));
    files.serve(files.servers.issue("localhost", "DNS:localhost"));
    EXPECT_TRUE(until([&] { return shown_serial(*dial(files, s.address(), {}, ec)) != old; }));
  });
}

// Cause, value and remedy, in one line.
TEST(tls_files, that_cannot_be_used) {
  shop files;
  const auto good = files.servers.issue("localhost", "DNS:localhost");
  files.where.put("empty.pem", "");
  files.where.put("text.pem", "not a certificate\n");
  files.where.put("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  files.where.put("locked.pem", files.servers.issue("localhost", "", 3600, "a passphrase").key);
  files.where.put("other_key.pem", files.servers.issue("localhost", "").key);
  files.where.put("half_ca.pem", files.clients.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const grpc::tls_options right = files.options();
  const auto with = [&](auto member, const std::string& value) {
    grpc::tls_options o = right;
    o.*member = value;
    return o;
  };
  const auto in = [&](const char* name) { return files.where.file(name); };
  const struct {
    grpc::tls_options options;
    std::string says;
  } cases[] = {
      {with(&grpc::tls_options::certificate, ""), "there is no certificate; a server needs both"},
      {with(&grpc::tls_options::key, ""), "there is no key; a server needs both"},
      {with(&grpc::tls_options::certificate, in("gone.pem")), "gone.pem: No such file or directory; give a PEM file"},
      {with(&grpc::tls_options::certificate, files.where.path), "Is a directory"},
      {with(&grpc::tls_options::certificate, in("empty.pem")), "empty.pem: there is no PEM block in it"},
      {with(&grpc::tls_options::certificate, in("text.pem")), "text.pem: there is no PEM block in it"},
      {with(&grpc::tls_options::certificate, in("broken.pem")), "certificate " + in("broken.pem")},
      {with(&grpc::tls_options::certificate, in("key.pem")), "certificate " + in("key.pem")},
      {with(&grpc::tls_options::key, in("cert.pem")), "give a private key in PEM form without a passphrase"},
      {with(&grpc::tls_options::key, in("locked.pem")), "without a passphrase"},
      {with(&grpc::tls_options::key, in("other_key.pem")), "it is not the key of " + in("cert.pem")},
      {with(&grpc::tls_options::client_ca, in("text.pem")), "client CA " + in("text.pem")},
      {with(&grpc::tls_options::client_ca, in("key.pem")), "client CA " + in("key.pem")},
      {with(&grpc::tls_options::client_ca, in("half_ca.pem")), "client CA " + in("half_ca.pem")},
  };
  warren::run([&] {
    for (const auto& c : cases) {
      grpc::server s({.listen = "127.0.0.1:0", .tls = c.options});
      try {
        s.start();
        ADD_FAILURE() << c.says;
      } catch (const grpc::tls_error& e) {
        EXPECT_NE(std::string(e.what()).find(c.says), std::string::npos) << e.what();
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
      }
    }
    grpc::server plain({.listen = "127.0.0.1:0"});
    EXPECT_THROW(plain.reload_tls(), std::logic_error);
  });
}

// --- those who mean harm -----------------------------------------------------------------------------------------------------------------

TEST(tls_attack, silent_and_trickling_handshakes_time_out) {
  shop files;
  grpc::tls_options o = files.options();
  o.handshake_timeout = 50ms;
  with_server({.tls = o}, [&](grpc::server& s, text_service&) {
    auto silent = warren::dial_stream(s.address());
    auto trickling = warren::dial_stream(s.address());
    // The first bytes of a handshake record that is never finished, one at a time for as long as anybody listens.
    asio::error_code ec;
    const std::string hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
    for (size_t i = 0; !ec; i++) {
      trickling->write(asio::buffer(i < hello.size() ? &hello[i] : "x", 1), ec);
      warren::sleep(1ms);
    }
    char b[1];
    silent->read_deadline(raw_client::kPatience);
    silent->read_some(asio::buffer(b), ec);
    EXPECT_NE(ec, asio::error::timed_out);
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_timed_out == 2 && s.counters().tls_handshakes_open == 0; }));
  });
}

TEST(tls_attack, many_silent_handshakes_do_not_keep_others_out) {
  shop files;
  grpc::tls_options o = files.options();
  o.max_handshakes = 8;
  o.handshake_timeout = 600s;
  with_server({.tls = o}, [&](grpc::server& s, text_service&) {
    std::vector<std::unique_ptr<warren::stream>> silent;
    for (int i = 0; i < 40; i++) {
      silent.push_back(warren::dial_stream(s.address()));
      ASSERT_TRUE(until([&] { return s.counters().connections_accepted == silent.size(); }));
    }
    EXPECT_EQ(connect(files, s.address())->call(kEcho, "in").messages(), strings{"in"});
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_evicted == 33 && s.counters().tls_handshakes_open == 7; }));
  });
}

TEST(tls_attack, what_is_no_tls_ends_itself_only) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service&) {
    auto good = connect(files, s.address());
    std::string noise(4096, '\0');
    for (size_t i = 0; i < noise.size(); i++) noise[i] = static_cast<char>(i * 31 + 7);
    const std::string inputs[] = {"GET / HTTP/1.1\r\n\r\n", std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN), noise,
                                  std::string("\x16\x03\x01\xff\xff\x01", 6) + noise + noise + noise + noise};
    for (const std::string& in : inputs) {
      auto c = warren::dial_stream(s.address());
      asio::error_code ec;
      c->deadline(raw_client::kPatience);
      c->write(asio::buffer(in), ec);
      char b[256];
      ec.clear();
      while (!ec) c->read_some(asio::buffer(b), ec);
      EXPECT_NE(ec, asio::error::timed_out);
    }
    {
      auto vanishes = warren::dial_stream(s.address());
      vanishes->write(asio::buffer("\x16\x03\x01", 3));
    }
    EXPECT_TRUE(until([&] { return s.counters().tls_handshakes_failed == 5 && s.counters().tls_handshakes_open == 0; }));
    EXPECT_EQ(good->call(kEcho, "alive").messages(), strings{"alive"});
  });
}

TEST(tls_attack, a_peer_that_does_not_read_does_not_hold_up_the_end) {
  shop files;
  with_server({.tls = files.options()}, [&](grpc::server& s, text_service& svc) {
    auto c = connect(files, s.address());
    c->send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\x7f\xff\xff\xff", 6));
    c->window_update(0, 0x7f000000);
    c->start("/test.Text/Stream", "100000 10000");
    ASSERT_TRUE(until([&] { return svc.writes > 100; }));
    s.shutdown(0ns);
    EXPECT_EQ(s.counters().connections_open, 0u);
    EXPECT_EQ(svc.returned, 1);
  });
}

TEST(tls_attack, a_handshake_under_way_does_not_hold_up_the_end) {
  shop files;
  grpc::tls_options o = files.options();
  o.handshake_timeout = 600s;
  with_server({.tls = o}, [&](grpc::server& s, text_service&) {
    auto silent = warren::dial_stream(s.address());
    ASSERT_TRUE(until([&] { return s.counters().tls_handshakes_open == 1; }));
    s.shutdown(600s);
    EXPECT_EQ(s.counters().tls_handshakes_open, 0u);
  });
}

TEST(tls_limits, handshakes_count_as_connections) {
  shop files;
  with_server({.max_connections = 1, .tls = files.options()}, [&](grpc::server& s, text_service&) {
    auto silent = warren::dial_stream(s.address());
    ASSERT_TRUE(until([&] { return s.counters().tls_handshakes_open == 1; }));
    asio::error_code ec;
    dial(files, s.address(), {}, ec);
    EXPECT_TRUE(ec);
    EXPECT_EQ(s.counters().connections_refused, 1u);
    silent.reset();
    ASSERT_TRUE(until([&] { return s.counters().tls_handshakes_open == 0; }));
    EXPECT_EQ(connect(files, s.address())->call(kEcho, "in").messages(), strings{"in"});
  });
}

}  // namespace
