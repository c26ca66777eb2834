// The heap's constants, each with its reason.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::rt {

// Go's page: small enough that a class of few objects wastes little, large enough that 16-byte objects come 512 at a time.
inline constexpr size_t kPageShift = 13;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;

// Pages whose bitmap is one leaf of the page allocator's tree: 4 MiB, also the step in which the heap grows (two huge pages of the system).
inline constexpr size_t kPagesPerChunk = 512;
inline constexpr size_t kChunkBytes = kPagesPerChunk * kPageSize;

// Largest object that shares a span with others.
inline constexpr size_t kMaxSmallSize = 32768;

// Objects below this without pointers share 16-byte blocks. 16 gives at most 2× waste when one byte of a block stays alive; 32 would
// combine more and waste up to 4×.
inline constexpr size_t kTinySize = 16;

// A P's page cache is one machine word of pages. Larger spans than a quarter of it would fragment it at once.
inline constexpr size_t kPageCachePages = 64;
inline constexpr size_t kMaxCachedSpanPages = kPageCachePages / 4;

// Bytes of a per-object bitmap that belong to one page: one bit for each 8 bytes, the smallest object.
inline constexpr size_t kBitmapBytesPerPage = kPageSize / 64;
inline constexpr size_t kBitmapWordsPerPage = kBitmapBytesPerPage / 8;

// How many spans a refill sweeps in search of a free slot before it asks for a new span: bounds the latency of one allocation.
inline constexpr int kSweepTriesPerRefill = 100;

// From where on the data and its tables lie in huge pages. Below, what the system rounds up would be seen in the memory of small programs:
// up to 4 MiB of data (a chunk), and 2 MiB for each of a dozen tables. Measured with bench_gc's mark_rate, 1 GB of nodes of 64 bytes linked
// at random: 2.2 s without, 1.7 s with huge pages for the data, 1.45 s for both.
inline constexpr size_t kHugeDataFrom = size_t{64} << 20;
inline constexpr size_t kHugeTablesFrom = size_t{512} << 20;

inline constexpr size_t kDefaultReserve = size_t{512} << 30;
inline constexpr size_t kSmallestReserve = size_t{1} << 30;

// The heap below which no collection starts on its own at GOGC=100 (scaled with GOGC).
inline constexpr uint64_t kMinTriggerBytes = 4 << 20;

}  // namespace warren::rt
