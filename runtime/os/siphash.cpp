#include "runtime/os/siphash.h"

#include <string.h>
#include <sys/random.h>

#include "runtime/os/clock.h"

namespace warren::rt {

namespace {
constexpr uint64_t rotate(uint64_t x, int by) noexcept { return x << by | x >> (64 - by); }

struct sip_state {
  uint64_t a, b, c, d;
  void round() noexcept {
    a += b;
    c += d;
    b = rotate(b, 13) ^ a;
    d = rotate(d, 16) ^ c;
    a = rotate(a, 32);
    c += b;
    a += d;
    b = rotate(b, 17) ^ c;
    d = rotate(d, 21) ^ a;
    c = rotate(c, 32);
  }
};
}  // namespace

uint64_t siphash(const void* data, size_t n, const siphash_key& key, int c, int d) noexcept {
  // "somepseudorandomlygeneratedbytes", as the paper has it.
  sip_state s{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261, key.k1 ^ 0x7465646279746573};
  auto absorb = [&](uint64_t word) {
    s.d ^= word;
    for (int i = 0; i < c; ++i) s.round();
    s.a ^= word;
  };
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t word = 0;
  for (size_t left = n; left >= 8; left -= 8, p += 8) {
    memcpy(&word, p, 8);  // little-endian machines only, like the rest of the runtime
    absorb(word);
  }
  word = 0;
  memcpy(&word, p, n % 8);
  absorb(word | uint64_t{n} << 56);
  s.c ^= 0xff;
  for (int i = 0; i < d; ++i) s.round();
  return s.a ^ s.b ^ s.c ^ s.d;
}

const siphash_key& process_hash_key() noexcept {
  static const siphash_key key = [] {
    siphash_key k;
    if (getrandom(&k, sizeof k, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof k)) {
      // Early in the boot, or forbidden: what differs from run to run must do.
      k.k0 ^= static_cast<uint64_t>(walltime()) * 0x9e3779b97f4a7c15;
      k.k1 ^= reinterpret_cast<uintptr_t>(&k) * 0xbf58476d1ce4e5b9 ^ static_cast<uint64_t>(nanotime());
    }
    if (k.k0 == 0 && k.k1 == 0) k.k0 = 1;
    return k;
  }();
  return key;
}

}  // namespace warren::rt
