#include "server/grpc/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace warren::grpc {

namespace {
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> kValues = [] {
  std::array<int8_t, 256> v{};
  v.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); i++) v[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
  return v;
}();
}  // namespace

void base64_encode(std::string_view bytes, std::string& out) {
  const auto byte = [bytes](size_t i) -> uint32_t { return static_cast<uint8_t>(bytes[i]); };
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t v = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += kAlphabet[v >> 18];
    out += kAlphabet[v >> 12 & 63];
    out += kAlphabet[v >> 6 & 63];
    out += kAlphabet[v & 63];
  }
  if (bytes.size() - i == 1) {
    out += kAlphabet[byte(i) >> 2];
    out += kAlphabet[(byte(i) & 3) << 4];
  } else if (bytes.size() - i == 2) {
    const uint32_t v = byte(i) << 8 | byte(i + 1);
    out += kAlphabet[v >> 10];
    out += kAlphabet[v >> 4 & 63];
    out += kAlphabet[(v & 15) << 2];
  }
}

bool base64_decode(std::string_view text, std::string& out) {
  const size_t before = out.size();
  if (text.ends_with('=')) {
    // Padding is only right when it fills the last group of four.
    if (text.size() % 4 != 0) return false;
    text.remove_suffix(text.ends_with("==") ? 2 : 1);
  }
  if (text.size() % 4 == 1) return false;
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const int v = kValues[static_cast<uint8_t>(c)];
    if (v < 0) {
      out.resize(before);
      return false;
    }
    bits = bits << 6 | static_cast<uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xFF);
    }
  }
  return true;
}

}  // namespace warren::grpc
