// grpc.channelz.v1.Channelz: a server's connections, for tools that know the protocol (grpcdebug HOST:PORT channelz servers).
//
//   warren::grpc::channelz_service channelz(server);
//   server.add(channelz);
//
// Whoever can call it learns the addresses and certificates of all clients: serve it where operators are.
#pragma once
#include <grpc/channelz/v1/channelz.warren.h>

#include <warren/grpc/server.h>

namespace warren::grpc {

// GetServers, GetServer, GetServerSockets and GetSocket about one server. Channels are a client's: GetTopChannels answers that there are
// none, GetChannel and GetSubchannel NOT_FOUND. Thread safety: any goroutine.
class channelz_service final : public ::grpc::channelz::v1::ChannelzService {
 public:
  // `of` must outlive the calls (it does, if they come in through it).
  explicit channelz_service(const server& of) : server_(of) {}

  result<::grpc::channelz::v1::GetTopChannelsResponse> GetTopChannels(server_context& ctx,
                                                                      const ::grpc::channelz::v1::GetTopChannelsRequest& request) override;
  result<::grpc::channelz::v1::GetServersResponse> GetServers(server_context& ctx,
                                                              const ::grpc::channelz::v1::GetServersRequest& request) override;
  result<::grpc::channelz::v1::GetServerResponse> GetServer(server_context& ctx,
                                                            const ::grpc::channelz::v1::GetServerRequest& request) override;
  result<::grpc::channelz::v1::GetServerSocketsResponse> GetServerSockets(
      server_context& ctx, const ::grpc::channelz::v1::GetServerSocketsRequest& request) override;
  result<::grpc::channelz::v1::GetChannelResponse> GetChannel(server_context& ctx,
                                                              const ::grpc::channelz::v1::GetChannelRequest& request) override;
  result<::grpc::channelz::v1::GetSubchannelResponse> GetSubchannel(server_context& ctx,
                                                                    const ::grpc::channelz::v1::GetSubchannelRequest& request) override;
  result<::grpc::channelz::v1::GetSocketResponse> GetSocket(server_context& ctx,
                                                            const ::grpc::channelz::v1::GetSocketRequest& request) override;

 private:
  const server& server_;
};

}  // namespace warren::grpc
