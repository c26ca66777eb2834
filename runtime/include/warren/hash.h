// hash: what hash_map hashes with. Keyed with a random number drawn once per process, so that whoever chooses the keys (a client's headers)
// cannot choose their collisions, and nothing can depend on the order of hashes.
//
// hash<K> takes strings of all kinds by their bytes (SipHash-1-3), numbers, enumerations and pointers by value, and every other type by its
// std::hash. hash<string> is transparent: a table of strings is searched by string_view or literal without making a string.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <type_traits>

#include "warren/ptr.h"

namespace warren {

namespace detail {
uint64_t hash_bytes(const void* data, size_t n) noexcept;
// Two words of the process's key.
struct hash_secret {
  uint64_t add, multiply;
};
const hash_secret& the_hash_secret() noexcept;

// Both halves of a product with a secret odd number: every bit of the result depends on every bit of x, and on the secret.
inline uint64_t mix_hash(uint64_t x) noexcept {
  const hash_secret& s = the_hash_secret();
  const unsigned __int128 p = static_cast<unsigned __int128>(x ^ s.add) * s.multiply;
  const uint64_t folded = static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
  const unsigned __int128 q = static_cast<unsigned __int128>(folded ^ s.multiply) * (s.add | 1);
  return static_cast<uint64_t>(q) ^ static_cast<uint64_t>(q >> 64);
}

template <class K>
concept string_like = std::is_convertible_v<const K&, std::string_view> && !std::is_null_pointer_v<K>;
}  // namespace detail

template <class K>
struct hash {
  size_t operator()(const K& k) const noexcept(noexcept(std::hash<K>()(k))) { return detail::mix_hash(std::hash<K>()(k)); }
};
template <class K>
requires(std::is_integral_v<K> || std::is_enum_v<K> || std::is_pointer_v<K>) && (!detail::string_like<K>)struct hash<K> {
  size_t operator()(K k) const noexcept { return detail::mix_hash((uint64_t)k); }
};
template <class T>
struct hash<ptr<T>> {
  using is_transparent = void;
  size_t operator()(const ptr<T>& p) const noexcept { return (*this)(p.get()); }
  size_t operator()(const volatile void* p) const noexcept { return detail::mix_hash(reinterpret_cast<uintptr_t>(p)); }
};
template <detail::string_like K>
struct hash<K> {
  using is_transparent = void;
  size_t operator()(std::string_view s) const noexcept { return detail::hash_bytes(s.data(), s.size()); }
};

}  // namespace warren
