// channelz: a server's connections as they are, by page and by id, and what is not there.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include <warren/channelz.h>
#include <warren/go.h>
#include <warren/health.h>

#include "tests/server/raw_client.h"

namespace {

using warren::testing::raw_client;
namespace grpc = warren::grpc;
namespace z = ::grpc::channelz::v1;

template <class Reply, class Request>
Reply ask(raw_client& c, const std::string& method, const Request& q, const std::string& status = "0") {
  const auto r = c.call("/grpc.channelz.v1.Channelz/" + method, q.SerializeAsString());
  EXPECT_EQ(r.grpc_status(), status) << method;
  Reply a;
  if (r.grpc_status() == "0") {
    EXPECT_TRUE(a.ParseFromString(r.messages().at(0))) << method;
  }
  return a;
}

template <class F>
void with_channelz(const std::string& listen, F body) {
  warren::run([&] {
    grpc::health_service health;
    grpc::server s({.listen = listen});
    grpc::channelz_service channelz(s);
    health.set_serving("", true);
    s.add(health);
    s.add(channelz);
    s.start();
    body(s);
    s.shutdown(std::chrono::nanoseconds(0));
  });
}

TEST(channelz, a_server_and_its_connections) {
  with_channelz("127.0.0.1:0", [](grpc::server& s) {
    raw_client c(s.address());
    EXPECT_EQ(c.call("/grpc.health.v1.Health/Check", "").grpc_status(), "0");
    EXPECT_EQ(c.call("/grpc.health.v1.Health/Check", "\x0a\x01x").grpc_status(), "5");
    const auto servers = ask<z::GetServersResponse>(c, "GetServers", z::GetServersRequest());
    ASSERT_EQ(servers.server_size(), 1);
    EXPECT_TRUE(servers.end());
    const z::Server& server = servers.server(0);
    EXPECT_EQ(server.ref().name(), s.address());
    EXPECT_EQ(server.data().calls_started(), 3);  // this one too
    EXPECT_EQ(server.data().calls_succeeded(), 1);
    EXPECT_EQ(server.data().calls_failed(), 1);
    EXPECT_GT(server.data().last_call_started_timestamp().seconds(), 1'700'000'000);
    z::GetServerRequest by_id;
    by_id.set_server_id(server.ref().server_id());
    EXPECT_EQ(ask<z::GetServerResponse>(c, "GetServer", by_id).server().ref().name(), s.address());

    z::GetServerSocketsRequest of;
    of.set_server_id(server.ref().server_id());
    const auto sockets = ask<z::GetServerSocketsResponse>(c, "GetServerSockets", of);
    ASSERT_EQ(sockets.socket_ref_size(), 1);
    EXPECT_TRUE(sockets.end());
    z::GetSocketRequest q;
    q.set_socket_id(sockets.socket_ref(0).socket_id());
    const auto socket = ask<z::GetSocketResponse>(c, "GetSocket", q).socket();
    EXPECT_EQ(socket.data().streams_started(), 6);
    EXPECT_EQ(socket.data().streams_succeeded(), 5);
    EXPECT_EQ(socket.data().streams_failed(), 0);
    EXPECT_EQ(socket.data().messages_received(), 5);
    EXPECT_EQ(socket.data().messages_sent(), 4);
    EXPECT_EQ(socket.remote().tcpip_address().ip_address(), std::string("\x7f\0\0\1", 4));
    EXPECT_NE(socket.remote().tcpip_address().port(), 0);
    EXPECT_EQ("127.0.0.1:" + std::to_string(socket.local().tcpip_address().port()), s.address());
    EXPECT_FALSE(socket.has_security());
    q.set_socket_id(server.listen_socket(0).socket_id());
    EXPECT_EQ(ask<z::GetSocketResponse>(c, "GetSocket", q).socket().ref().name(), s.address());
  });
}

TEST(channelz, pages) {
  with_channelz("127.0.0.1:0", [](grpc::server& s) {
    std::vector<std::unique_ptr<raw_client>> clients;
    for (int i = 0; i < 7; i++) {
      clients.push_back(std::make_unique<raw_client>(s.address()));
      ASSERT_EQ(clients.back()->call("/grpc.health.v1.Health/Check", "").grpc_status(), "0");
    }
    raw_client& c = *clients[0];
    z::GetServerSocketsRequest q;
    q.set_server_id(1);
    q.set_max_results(3);
    std::vector<int64_t> seen;
    for (bool end = false; !end && seen.size() < 100;) {
      const auto page = ask<z::GetServerSocketsResponse>(c, "GetServerSockets", q);
      for (const auto& ref : page.socket_ref()) seen.push_back(ref.socket_id());
      end = page.end();
      q.set_start_socket_id(seen.back() + 1);
    }
    EXPECT_EQ(seen, (std::vector<int64_t>{3, 4, 5, 6, 7, 8, 9}));
  });
}

TEST(channelz, unix_sockets) {
  const std::string path = std::filesystem::temp_directory_path() / ("warren_channelz_" + std::to_string(getpid()));
  with_channelz("unix:" + path, [&](grpc::server& s) {
    raw_client c(s.address());
    z::GetSocketRequest q;
    q.set_socket_id(3);
    EXPECT_EQ(ask<z::GetSocketResponse>(c, "GetSocket", q).socket().local().uds_address().filename(), path);
  });
}

TEST(channelz, what_is_not_there) {
  with_channelz("127.0.0.1:0", [](grpc::server& s) {
    raw_client c(s.address());
    const auto top = ask<z::GetTopChannelsResponse>(c, "GetTopChannels", z::GetTopChannelsRequest());
    EXPECT_EQ(top.channel_size(), 0);
    EXPECT_TRUE(top.end());
    z::GetServersRequest beyond;
    beyond.set_start_server_id(2);
    EXPECT_EQ(ask<z::GetServersResponse>(c, "GetServers", beyond).server_size(), 0);
    const std::string not_found = "5";
    for (const int64_t id : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{4}, INT64_MAX}) {
      z::GetSocketRequest q;
      q.set_socket_id(id);
      ask<z::GetSocketResponse>(c, "GetSocket", q, not_found);
    }
    for (const int64_t id : {int64_t{0}, int64_t{2}, INT64_MAX}) {
      z::GetServerRequest q;
      q.set_server_id(id);
      ask<z::GetServerResponse>(c, "GetServer", q, not_found);
      z::GetServerSocketsRequest of;
      of.set_server_id(id);
      ask<z::GetServerSocketsResponse>(c, "GetServerSockets", of, not_found);
    }
    z::GetServerSocketsRequest odd;
    odd.set_server_id(1);
    odd.set_start_socket_id(INT64_MIN);
    odd.set_max_results(INT64_MIN);
    EXPECT_EQ(ask<z::GetServerSocketsResponse>(c, "GetServerSockets", odd).socket_ref_size(), 1);
    ask<z::GetChannelResponse>(c, "GetChannel", z::GetChannelRequest(), not_found);
    ask<z::GetSubchannelResponse>(c, "GetSubchannel", z::GetSubchannelRequest(), not_found);
  });
}

}  // namespace
