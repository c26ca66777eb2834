// Every number of the HTTP/2 layer that is not a user's option, with its reason.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::http2 {

// --- buffers -------------------------------------------------------------------------------------------------------------------------
// One block serves one read or one write. A read of 100 small unary requests is about 8 KiB, so one read takes a whole batch of even a busy
// client. Only touched pages cost memory. Of requests of 10 KiB a read takes 25, and their answers leave in one write: with half of this a
// call takes some 10 % more of a processor (bench_grpc 10x100_10k, in turns).
inline constexpr size_t kBlockSize = (256 << 10) - 64;
// Of it a write packs so much, at least one DATA frame with what surrounds it: a peer that does not read makes its connection hold that.
inline constexpr size_t kPackedAtOnce = (128 << 10) - 64;
static_assert(kPackedAtOnce <= kBlockSize);
// A read takes no more unless the one before did: a flood is not known as one before its first read (kBite), and 64 KiB of it are enough.
inline constexpr size_t kFirstRead = 64 << 10;
// nghttp2 hands out one frame at a time, at most 16 KiB + 9 bytes. With less room than this left, the block is written first.
inline constexpr size_t kFrameRoom = (16 << 10) + 64;
// DATA of so many bytes and more is not copied into the block but written from where it lies (outgoing.h): about where a copy costs more
// than a piece more does in the kernel. So many bytes at once: a write that takes all of them is long enough, and what is packed cannot be
// taken back.
inline constexpr size_t kLeastLent = 4 << 10;
inline constexpr size_t kLentAtOnce = 256 << 10;
// Buffers for messages in a spare (spare.h): those of a batch of the usual client. Larger ones go back to malloc: one large call must not
// make every later one large. 16 KiB of message and its framing.
inline constexpr uint32_t kSpareBuffers = 128;
inline constexpr size_t kKeptBuffer = (16 << 10) + 64;
// Blocks kept for reuse by one server. More than Ps × 2 is never busy at once unless peers stop reading.
inline constexpr size_t kPooledBlocks = 16;
// Spares kept by one server (spare.h), and stream objects in each: one batch of the usual client (100 streams) needs no allocation, on as
// many connections as are busy at once.
inline constexpr size_t kSpares = 32;
inline constexpr uint32_t kPooledStreams = 128;

// --- windows -------------------------------------------------------------------------------------------------------------------------
// Receive windows unless the user chooses. A stream's: 1 MiB fills 100 Mbit/s at 80 ms, and 16 KiB more, so that a message of a whole MiB
// comes with its framing without waiting for a round trip. A connection's: four streams at full speed.
inline constexpr uint32_t kStreamWindow = (1 << 20) + (16 << 10);
inline constexpr uint32_t kConnectionWindow = 4 << 20;
// RFC 9113 §6.9.1.
inline constexpr uint32_t kLargestWindow = (1u << 31) - 1;

// --- sharing a batch -----------------------------------------------------------------------------------------------------------------
// A batch whose handlers are expected to take longer than this in all is shared with a second goroutine if a P is idle. Waking a P and
// giving it a goroutine costs some 10 µs on both sides together; small handlers (1 µs) never get here.
inline constexpr int64_t kShareNs = 100'000;

// --- protocol ------------------------------------------------------------------------------------------------------------------------
// Our HPACK decoder's table: the protocol's default. Larger tables help nobody who sends the same dozen headers.
inline constexpr uint32_t kHeaderTableSize = 4096;
// CONTINUATION frames per header block. Our header limit (16 KiB) fits into one HEADERS frame; 8 is nghttp2's own default.
inline constexpr size_t kMaxContinuations = 8;
// Acknowledgements (SETTINGS, PING) queued because the peer does not read. nghttp2's default is 1000; a well-behaved peer has a handful.
inline constexpr size_t kMaxQueuedAcks = 100;

// Streams that the peer has ended and that we remember, to know frames that come too late. Enough for a peer that is confused about its
// latest streams; every frame of a call is compared with them.
inline constexpr size_t kRememberedEnds = 8;

// --- floods --------------------------------------------------------------------------------------------------------------------------
// RST_STREAM from the peer (rapid reset, CVE-2023-44487): so many at once, so many a second from then on. The figures are nghttp2's own
// defaults. What a call costs that is given up is bounded besides: its handler counts against max_concurrent_streams until it returns.
inline constexpr int kPeerResetBurst = 1000;
inline constexpr int kPeerResetPerSecond = 33;
// So many times the header limit are still read for the one answer (431); a block that goes on costs the stream and a reset of ours.
inline constexpr size_t kHeaderBomb = 16;

// RST_STREAM that the peer provokes from us (MadeYouReset, CVE-2025-8671). Honest peers provoke next to none; 200 forgives a burst of
// refused streams by a client that opened them before it read our SETTINGS.
inline constexpr int kOwnResetBurst = 200;
inline constexpr int kOwnResetPerSecond = 20;
// Frames that carry no request (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA …) between two that do. A client that receives a large
// stream sends one WINDOW_UPDATE per half window, and a handler's own traffic resets the count too; 10 000 in a row with nothing
// between them is nobody's honest need.
inline constexpr int kMaxIdleFrames = 10'000;
// Tiny DATA frames: each frame under kSmallData bytes that ends neither its stream nor a message costs what it lacks, each byte above
// refunds. (A client that streams small messages sends each in a frame of its own, thousands within one read: those are requests, and
// the window bounds them.) The budget is one message of 100 bytes sent byte by byte; the figures are those of hyperium/h2.
inline constexpr int kSmallData = 256;
inline constexpr int kSmallDataBudget = 25'600;
// Frames waiting for the socket above which we stop reading: what the peer does not read must not grow without bound.
inline constexpr size_t kMaxOutboundQueue = 1000;

// A connection that looks like one of those is read in bites of so many bytes, and everybody else has a turn between two of them: a block
// of WINDOW_UPDATEs is 5000 frames, and its reader would read on for a whole time slice. Under bench_attacks window_updates, on a machine
// that was busy besides, the server used 245 ms of its processor between a call of the second connection and its answer (p99); with bites
// 11 ms.
inline constexpr size_t kBite = 4 << 10;
// It looks like one until its first call has begun, and above so many frames without a request in a row, resets that it provoked, or calls
// given up more than calls answered. Honest connections that get there lose a little speed.
inline constexpr int kOddFrames = 64;
inline constexpr int kOddResets = 16;

// --- time ----------------------------------------------------------------------------------------------------------------------------
// After our last byte we read on for so long, so that the kernel does not answer late bytes with a TCP reset that would take our
// GOAWAY out of the peer's hands.
inline constexpr int64_t kLingerNs = 1'000'000'000;
// A connection without a call for so long gives back the pages of its session: long beside the faults that bring them back (a microsecond),
// short beside what is called idle.
inline constexpr int64_t kTrimNs = 1'000'000'000;
// Between the two GOAWAYs of a graceful end, if the peer does not acknowledge the PING sent with the first: grpc-go's value.
inline constexpr int64_t kDrainPingNs = 5'000'000'000;
// The same on a connection without a call. If a request is on its way all the same, the second GOAWAY tells its client that it was not
// looked at: it is sent again elsewhere. So a silent peer need not hold up a shutdown for long.
inline constexpr int64_t kIdleDrainPingNs = 250'000'000;
// kLingerNs, for a peer that did not answer the drain's PING: there are hardly late bytes of one who says nothing.
inline constexpr int64_t kSilentLingerNs = 250'000'000;
// Ages are spread by this part either way, so that connections made together (after a deployment) do not end together: gRPC's A9.
inline constexpr int64_t kAgeJitter = 10;
// PINGs that came too soon before the connection is ended, and the interval while no call is open: grpc-go's values.
inline constexpr int kPingStrikes = 2;
inline constexpr int64_t kIdlePingNs = 7'200'000'000'000;

}  // namespace warren::http2
