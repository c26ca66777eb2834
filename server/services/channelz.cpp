#include <algorithm>
#include <chrono>
#include <string>

#include <warren/channelz.h>
#include <warren/net.h>

namespace warren::grpc {

namespace z = ::grpc::channelz::v1;

namespace {

// Ids are unique among all entities of a process: the server, the socket it listens on, and behind them the connections by their own ids.
constexpr int64_t kServer = 1;
constexpr int64_t kListener = 2;
constexpr int64_t kConnections = 2;  // added to connection_info::id, which begins at 1

// What others answer if they are not told how many, and the most they are told.
constexpr int64_t kMostResults = 100;

using time_point = std::chrono::system_clock::time_point;

template <class Timestamp>
void set(Timestamp* to, time_point t) {
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
  to->set_seconds(ns / 1'000'000'000);
  to->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

void set(z::Address& to, const std::string& text) {
  if (text.starts_with("unix:")) {
    to.mutable_uds_address()->set_filename(text.substr(5));
    return;
  }
  asio::error_code ec;
  const tcp_endpoint e = parse_endpoint(text, ec);
  if (ec) {
    to.mutable_other_address()->set_name(text);
    return;
  }
  auto& tcp = *to.mutable_tcpip_address();
  tcp.set_port(e.port());
  const auto put = [&](const auto& bytes) { tcp.set_ip_address(std::string(bytes.begin(), bytes.end())); };
  e.address().is_v4() ? put(e.address().to_v4().to_bytes()) : put(e.address().to_v6().to_bytes());
}

void set(z::SocketRef& to, const connection_info& c) {
  to.set_socket_id(static_cast<int64_t>(c.id) + kConnections);
  to.set_name(c.peer + " -> " + c.local);
}

void fill(z::Server& out, const server& s) {
  out.mutable_ref()->set_server_id(kServer);
  out.mutable_ref()->set_name(s.address());
  z::ServerData& data = *out.mutable_data();
  int64_t started = 0, good = 0, ended = 0;
  for (const method_counters& m : s.counters().methods) {
    started += static_cast<int64_t>(m.started);
    good += static_cast<int64_t>(m.handled[0]);
    for (const uint64_t n : m.handled) ended += static_cast<int64_t>(n);
  }
  data.set_calls_started(started);
  data.set_calls_succeeded(good);
  data.set_calls_failed(ended - good);
  time_point last{};
  for (const connection_info& c : s.connections()) last = std::max(last, c.last_stream);
  if (last != time_point{}) set(data.mutable_last_call_started_timestamp(), last);
  out.add_listen_socket()->set_socket_id(kListener);
  out.mutable_listen_socket(0)->set_name(s.address());
}

void fill(z::Socket& out, const connection_info& c) {
  set(*out.mutable_ref(), c);
  z::SocketData& data = *out.mutable_data();
  data.set_streams_started(static_cast<int64_t>(c.streams_started));
  data.set_streams_succeeded(static_cast<int64_t>(c.streams_succeeded));
  data.set_streams_failed(static_cast<int64_t>(c.streams_failed));
  data.set_messages_sent(static_cast<int64_t>(c.messages_sent));
  data.set_messages_received(static_cast<int64_t>(c.messages_received));
  data.set_keep_alives_sent(static_cast<int64_t>(c.keepalives_sent));
  if (c.last_stream != time_point{}) set(data.mutable_last_remote_stream_created_timestamp(), c.last_stream);
  set(*out.mutable_local(), c.local);
  set(*out.mutable_remote(), c.peer);
  if (c.tls == nullptr) return;
  auto& tls = *out.mutable_security()->mutable_tls();
  tls.set_other_name(c.tls->cipher);  // OpenSSL's name, which is the standard's in TLS 1.3 only
  tls.set_remote_certificate(c.tls->der);
  out.set_remote_name(c.tls->common_name);
}

int64_t results(int64_t asked) { return asked <= 0 ? kMostResults : std::min(asked, kMostResults); }

status no_server(int64_t id) { return not_found("there is no server " + std::to_string(id) + "; GetServers tells which there are"); }

}  // namespace

result<z::GetTopChannelsResponse> channelz_service::GetTopChannels(server_context&, const z::GetTopChannelsRequest&) {
  z::GetTopChannelsResponse reply;
  reply.set_end(true);
  return reply;
}

result<z::GetServersResponse> channelz_service::GetServers(server_context&, const z::GetServersRequest& request) {
  z::GetServersResponse reply;
  if (request.start_server_id() <= kServer) fill(*reply.add_server(), server_);
  reply.set_end(true);
  return reply;
}

result<z::GetServerResponse> channelz_service::GetServer(server_context&, const z::GetServerRequest& request) {
  if (request.server_id() != kServer) return no_server(request.server_id());
  z::GetServerResponse reply;
  fill(*reply.mutable_server(), server_);
  return reply;
}

result<z::GetServerSocketsResponse> channelz_service::GetServerSockets(server_context&, const z::GetServerSocketsRequest& request) {
  if (request.server_id() != kServer) return no_server(request.server_id());
  const auto most = static_cast<size_t>(results(request.max_results()));
  const int64_t first = std::max<int64_t>(request.start_socket_id(), kConnections) - kConnections;
  const auto found = server_.connections(static_cast<uint64_t>(first), most + 1);
  z::GetServerSocketsResponse reply;
  for (size_t i = 0; i < std::min(most, found.size()); i++) set(*reply.add_socket_ref(), found[i]);
  reply.set_end(found.size() <= most);
  return reply;
}

result<z::GetChannelResponse> channelz_service::GetChannel(server_context&, const z::GetChannelRequest& request) {
  return not_found("there is no channel " + std::to_string(request.channel_id()) + ": this is a server");
}

result<z::GetSubchannelResponse> channelz_service::GetSubchannel(server_context&, const z::GetSubchannelRequest& request) {
  return not_found("there is no subchannel " + std::to_string(request.subchannel_id()) + ": this is a server");
}

result<z::GetSocketResponse> channelz_service::GetSocket(server_context&, const z::GetSocketRequest& request) {
  z::GetSocketResponse reply;
  z::Socket& out = *reply.mutable_socket();
  if (request.socket_id() == kListener) {
    out.mutable_ref()->set_socket_id(kListener);
    out.mutable_ref()->set_name(server_.address());
    set(*out.mutable_local(), server_.address());
    return reply;
  }
  if (request.socket_id() > kConnections) {
    const auto id = static_cast<uint64_t>(request.socket_id() - kConnections);
    const auto found = server_.connections(id, 1);
    if (!found.empty() && found[0].id == id) {
      fill(out, found[0]);
      return reply;
    }
  }
  return not_found("there is no socket " + std::to_string(request.socket_id()) + ", or no more; GetServerSockets tells which there are");
}

}  // namespace warren::grpc
