// Every number of the gRPC layer that is not a user's option, with its reason. Reasons of the options' defaults (warren/grpc/server.h):
//   max_receive_message 4 MiB      gRPC's own default in every language: what clients expect to be told RESOURCE_EXHAUSTED for
//   max_send_message 64 MiB        others have none; one is needed because a reply is held in memory whole
//   max_concurrent_streams 1000    above any real client's default, far below what hurts: a call and its request cost 2.3 KiB
//   max_header_list 16 KiB         twice what gRPC proxies allow for metadata; a JWT and tracing fit
//   send_buffer 64 KiB             grpc-go's write quota: four DATA frames, one socket write
//   connection_send_buffer 4 MiB   64 streams with full buffers; more than a connection carries in the time a writer takes to wake up
//   stream_window, connection_window   where they begin: server/http2/limits.h; how they grow: server/http2/windows.h
//   max_window 16 MiB              grpc-go's: 1 Gbit/s at 130 ms
//   keepalive 2 h / 20 s, min_ping_interval 5 min   gRPC's own (A8, A9)
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace warren::grpc {

// Memory a call keeps for its successor on the same connection. Larger buffers and messages go back: one large call must not make
// every pooled call large.
inline constexpr size_t kKeptBytes = 16 << 10;
// A writer that waited for room goes on when so much of the send buffer is free: half, so that it does not wake for every frame.
inline constexpr size_t kWakeDivisor = 2;
// Text of grpc-message beyond this is cut: it must fit the peer's header list limit, which is often 8 KiB.
inline constexpr size_t kMaxMessageText = 4096;
// Copies of a method's counters, so that connections on different Ps seldom add to the same cache line.
inline constexpr unsigned kCounterShards = 8;
// After so many connections nobody is accepted for a moment. Who connects and leaves without end fills the kernel's line of connections
// that wait to be accepted, and to make and end one takes longer than to accept it: all of the line in a row would lie in the way of every
// call that comes on a connection which is there already (bench_attacks connections: p99 of 130 to 260 ms when the accepting goroutine only
// yielded in between). While it sleeps the poller is asked, which has the calls beside what was accepted last. Bounds what is
// accepted to 16 000 a second.
inline constexpr unsigned kAcceptsAtOnce = 16;
inline constexpr std::chrono::milliseconds kAcceptPause{1};

}  // namespace warren::grpc
