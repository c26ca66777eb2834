// SipHash-1-3: a keyed hash of bytes, for tables whose keys an enemy may choose.
//
// Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); one compression and three finalization rounds, as Rust's and Python's
// hash tables use it: without the key nobody finds colliding keys faster than by chance. Rejected: faster keyed mixers (wyhash and its
// like) for which colliding keys that hold under every key have been published.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::rt {

struct siphash_key {
  uint64_t k0 = 0, k1 = 0;
};
// c compression rounds, d finalization rounds. 2 and 4 are the published test vectors' parameters.
uint64_t siphash(const void* data, size_t n, const siphash_key& key, int c = 1, int d = 3) noexcept;

// The process's own, drawn from the system at the first call. Never 0, 0.
const siphash_key& process_hash_key() noexcept;

}  // namespace warren::rt
