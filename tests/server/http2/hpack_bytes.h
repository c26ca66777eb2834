// HPACK (RFC 7541) written byte by byte, right and wrong, for tests that need what an encoder would not produce.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace warren::testing::hpack {

// §5.1: an integer in the low bits of a first byte, whose high bits are given.
inline std::string integer(uint8_t high_bits, int prefix, size_t n) {
  const size_t most = (1u << prefix) - 1;
  if (n < most) return {static_cast<char>(high_bits | n)};
  std::string out{static_cast<char>(high_bits | most)};
  for (n -= most; n >= 128; n >>= 7) out += static_cast<char>(0x80 | (n & 0x7f));
  out += static_cast<char>(n);
  return out;
}

// §5.2.
inline std::string plain(std::string_view s) { return integer(0, 7, s.size()) + std::string(s); }

// Bits, as Huffman strings are made of them.
class bits {
 public:
  bits& put(uint32_t value, int n) {
    for (int i = n - 1; i >= 0; i--) {
      if (used_ == 0) bytes_ += '\0';
      if ((value >> i & 1) != 0) bytes_.back() = static_cast<char>(bytes_.back() | 0x80 >> used_);
      used_ = (used_ + 1) % 8;
    }
    return *this;
  }
  // Appendix B, for the letters that tests use.
  bits& text(std::string_view s) {
    for (const char c : s) {
      switch (c) {
        case '-': put(0x16, 6); break;
        case 'e': put(0x05, 5); break;
        case 's': put(0x08, 5); break;
        case 't': put(0x09, 5); break;
        case 'x': put(0x79, 7); break;
        default: std::abort();  // add it
      }
    }
    return *this;
  }
  bits& end_of_string() { return put(0x3fffffff, 30); }
  // Fills the last byte.
  bits& pad(bool with_ones) {
    while (used_ != 0) put(with_ones ? 1 : 0, 1);
    return *this;
  }
  std::string literal() const { return integer(0x80, 7, bytes_.size()) + bytes_; }

 private:
  std::string bytes_;
  int used_ = 0;  // bits of the last byte
};
inline std::string huffman(std::string_view s) { return bits().text(s).pad(true).literal(); }

constexpr size_t kUserAgent = 58;  // in the static table

// §6: how a field is represented. The names of the three kinds are those of the first bits.
struct kind {
  uint8_t bits;
  int prefix;
};
constexpr kind kIndexing{0x40, 6};
constexpr kind kNotIndexing{0x00, 4};
constexpr kind kNeverIndexed{0x10, 4};

inline std::string indexed(size_t index) { return integer(0x80, 7, index); }
inline std::string with_index(kind k, size_t name, const std::string& value) { return integer(k.bits, k.prefix, name) + value; }
inline std::string with_name(kind k, const std::string& name, const std::string& value) {
  return integer(k.bits, k.prefix, 0) + name + value;
}
inline std::string table_size(size_t n) { return integer(0x20, 5, n); }

}  // namespace warren::testing::hpack
