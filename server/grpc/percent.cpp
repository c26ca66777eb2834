#include "server/grpc/percent.h"

#include <cstddef>
#include <cstdint>

namespace warren::grpc {

namespace {

// Length of the UTF-8 sequence at the start of s, 0 if there is none: no overlong forms, no surrogates, nothing above U+10FFFF.
size_t utf8_length(std::string_view s) noexcept {
  const auto byte = [s](size_t i) { return static_cast<uint8_t>(s[i]); };
  const auto continues = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
    return i < s.size() && byte(i) >= low && byte(i) <= high;
  };
  const uint8_t b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b <= 0xDF) return continues(1) ? 2 : 0;
  if (b >= 0xE0 && b <= 0xEF) {
    const uint8_t low = b == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = b == 0xED ? 0x9F : 0xBF;
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (b >= 0xF0 && b <= 0xF4) {
    const uint8_t low = b == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = b == 0xF4 ? 0x8F : 0xBF;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_escaped(char c, std::string& out) {
  constexpr char hex[] = "0123456789ABCDEF";
  const auto b = static_cast<uint8_t>(c);
  out += '%';
  out += hex[b >> 4];
  out += hex[b & 15];
}

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

void percent_encode(std::string_view text, std::string& out) {
  // A space at either end of a header value is not part of it for HTTP, so one there is escaped too.
  const size_t first = text.find_first_not_of(' ');
  const char* const inner = first == text.npos ? text.data() + text.size() : text.data() + first;
  const char* const inner_end = first == text.npos ? inner : text.data() + text.find_last_not_of(' ') + 1;
  while (!text.empty()) {
    const char c = text.front();
    if (c == ' ' && (text.data() < inner || text.data() >= inner_end)) {
      out += "%20";
      text.remove_prefix(1);
      continue;
    }
    if (c >= 0x20 && c <= 0x7E && c != '%') {
      out += c;
      text.remove_prefix(1);
      continue;
    }
    const size_t n = utf8_length(text);
    if (n == 0) {
      out += "%EF%BF%BD";
      text.remove_prefix(1);
      continue;
    }
    for (const char b : text.substr(0, n)) append_escaped(b, out);
    text.remove_prefix(n);
  }
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace warren::grpc
