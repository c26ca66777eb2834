// Every number of the client that is not a user's option, with its reason. Reasons of the options' defaults (warren/grpc/channel.h):
//   max_receive_message 4 MiB      gRPC's own default in every language
//   max_header_list 16 KiB         as our server's: what a proxy in between is ready to carry
//   stream_window, connection_window, max_window   as the server's; what a call does not read is bounded by its own window
//   send_buffer 64 KiB             four DATA frames, one socket write
//   retry_buffer 256 KiB           gRPC A6's figure for a call
//   backoff 1 s × 1.6 up to 120 s ± 20 %, 20 s to connect   gRPC's connection backoff protocol
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::grpc::client {

// A writer or reader goes on when this part of its buffer or window is free again, so that it does not wake for every frame.
inline constexpr size_t kWakeDivisor = 2;
// Bytes of a call's output that were sent and will not be needed again are dropped when there are so many of them: moving the rest down
// costs no more than copying a block.
inline constexpr size_t kDropSent = 64 << 10;
// Attempts of one call that a policy may ask for (gRPC A6: larger numbers are treated as this one).
inline constexpr int kMostAttempts = 5;
// A server that answers GOAWAY too_many_pings makes us ping half as often (gRPC A8).
inline constexpr int kPingBackoff = 2;
// What the calls of a connection may make us hold, for windows that grow: half of it goes to them. The server's max_buffered_requests.
inline constexpr uint64_t kHeldBytes = 64 << 20;
// Names are resolved again no sooner than this after the last time, however often connections fail: gRPC's figure.
inline constexpr int64_t kResolutionIntervalNs = 30'000'000'000;
// So many bytes of an answer that is no gRPC are quoted in the status: enough to see a proxy's error page for what it is.
inline constexpr size_t kQuotedBody = 200;
// grpc-retry-pushback-ms is an int32 of milliseconds.
inline constexpr int64_t kMsNs = 1'000'000;

}  // namespace warren::grpc::client
