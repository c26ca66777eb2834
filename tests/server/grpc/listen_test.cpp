// Where a server listens: unix sockets, shared ports; and descriptors that run out.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using warren::testing::raw_client;
using warren::testing::text_service;
using warren::testing::until;
using warren::testing::with_server;
namespace grpc = warren::grpc;

using strings = std::vector<std::string>;

const std::string kEcho = "/test.Text/Echo";

std::string socket_path(const char* name) {
  return std::filesystem::temp_directory_path() / ("warren_" + std::to_string(getpid()) + "_" + name + ".sock");
}

TEST(unix_socket, serves_and_knows_the_caller) {
  const std::string path = socket_path("serves");
  with_server({.listen = "unix:" + path}, [&](grpc::server& s, text_service&) {
    EXPECT_EQ(s.address(), "unix:" + path);
    raw_client c(s.address());
    EXPECT_EQ(c.call(kEcho, "near").messages(), strings{"near"});
    EXPECT_EQ(c.call("/test.Text/Who", "").messages(),
              strings{"plain uid=" + std::to_string(getuid()) + " pid=" + std::to_string(getpid())});
    EXPECT_EQ(c.call("/test.Text/Facts", "").messages(), strings{"/test.Text/Facts test unix: unlimited on"});
    EXPECT_EQ(c.call("/test.Text/Stream", "2 30000").messages().size(), 2u);
  });
  EXPECT_NE(access(path.c_str(), F_OK), 0);  // removed with the server
}

TEST(unix_socket, what_a_killed_server_left_behind_is_replaced_and_a_live_one_is_not) {
  const std::string path = socket_path("stale");
  with_server({.listen = "unix:" + path}, [&](grpc::server& s, text_service& svc) {
    grpc::server second({.listen = "unix:" + path});
    second.add(svc);
    EXPECT_THROW(second.start(), warren::net_error);
    EXPECT_EQ(raw_client(s.address()).call(kEcho, "mine").messages(), strings{"mine"});
  });
  warren::run([&] {
    auto left = warren::listen_unix(path);
    left.unlink_on_close(false);
    left.close();
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
  });
  with_server({.listen = "unix:" + path},
              [&](grpc::server& s, text_service&) { EXPECT_EQ(raw_client(s.address()).call(kEcho, "x").grpc_status(), "0"); });
}

TEST(unix_socket, abstract_names) {
  const std::string name = "unix:@warren_test_" + std::to_string(getpid());
  with_server({.listen = name}, [&](grpc::server& s, text_service&) {
    EXPECT_EQ(s.address(), name);
    EXPECT_EQ(raw_client(name).call(kEcho, "x").grpc_status(), "0");
  });
}

TEST(reuse_port, two_servers_share_a_port_and_one_that_does_not_say_so_cannot) {
  with_server({.reuse_port = true}, [&](grpc::server& s, text_service& svc) {
    grpc::server second({.listen = s.address(), .reuse_port = true});
    second.add(svc);
    second.start();
    EXPECT_EQ(second.address(), s.address());
    // The kernel spreads connections by a hash of their addresses: sooner or later each has one.
    std::vector<std::unique_ptr<raw_client>> clients;
    while (clients.size() < 1000 && (s.counters().connections_accepted == 0 || second.counters().connections_accepted == 0)) {
      clients.push_back(std::make_unique<raw_client>(s.address()));
      EXPECT_EQ(clients.back()->call(kEcho, "x").grpc_status(), "0");
    }
    EXPECT_GT(s.counters().connections_accepted, 0u);
    EXPECT_GT(second.counters().connections_accepted, 0u);
    grpc::server third({.listen = s.address()});
    EXPECT_THROW(third.start(), warren::net_error);
    second.shutdown(0ns);
  });
  warren::run([] {
    grpc::server s({.listen = "unix:/x", .reuse_port = true});
    EXPECT_THROW(s.start(), warren::net_error);
  });
}

// EMFILE: what is connected is served, the rest waits in the kernel's queue and is served when there are descriptors again.
TEST(accept, descriptors_run_out_and_come_back) {
  with_server([](grpc::server& s, text_service&) {
    raw_client before(s.address());
    EXPECT_EQ(before.call(kEcho, "x").grpc_status(), "0");
    warren::sleep(5ms);  // a moment for whoever opens a descriptor at his leisure
    rlimit old{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    // The client's own socket takes the last descriptor.
    const int next = dup(0);
    ASSERT_GE(next, 0);
    close(next);
    rlimit few = old;
    few.rlim_cur = static_cast<rlim_t>(next) + 1;
    std::vector<int> fill;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    raw_client waiting(s.address());
    for (int fd; (fd = dup(0)) >= 0;) fill.push_back(fd);
    EXPECT_TRUE(until([&] { return s.counters().accept_errors >= 1; }));
    EXPECT_EQ(before.call(kEcho, "still served").messages(), strings{"still served"});
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (const int fd : fill) close(fd);
    EXPECT_EQ(waiting.call(kEcho, "late").messages(), strings{"late"});
  });
}

}  // namespace
