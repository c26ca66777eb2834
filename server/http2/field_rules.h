// field_rules: what RFC 9113 §8 asks of a request's fields, and of its length.
//
// nghttp2 knows these rules, but is asked not to apply them (nghttp2_option_set_no_http_messaging): it looks at every byte of every name
// and value in tables, and at each name once more to know which it is. That was an eighth of the instructions of a small unary call, of
// which the fields are the same each time. Here a name that gRPC's clients send is known by its length and a comparison, which makes it a
// legal one, and a value is looked through eight bytes at a time, for blanks, control characters and what is not ASCII. What has none of
// these is legal; for everything else nghttp2's own functions are asked, so what is legal is said in one place. That the rest agrees with
// nghttp2 as well is a test's business, which asks a session of nghttp2's that applies its rules (field_rules_test).
//
// A broken rule costs the stream (RST_STREAM with PROTOCOL_ERROR), with one exception: a value that HTTP forbids costs an ordinary field
// only. gRPC wants bad metadata to be no error, and we forward nothing, so nobody behind us can be fooled by it.
//
// What differs from nghttp2: a priority field (RFC 9218) is not looked at; PRIORITY_UPDATE frames are.
#pragma once
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace warren::http2 {

// Of one request. Not thread-safe.
class field_rules {
 public:
  enum class verdict : uint8_t {
    good,
    ignored,    // as if it had not come
    malformed,  // the request is
  };

  // A field of its headers, or, after complete(), of its trailers.
  verdict field(std::string_view name, std::string_view value, bool trailer) noexcept {
    const kind k = kind_of(name);
    if (k == kind::ordinary && printable(value)) {
      seen_ |= kOrdinary;
      return verdict::good;
    }
    if (k == kind::unknown && nghttp2_check_header_name(bytes(name), name.size()) == 0) return verdict::malformed;
    const bool pseudo = name.front() == ':';
    if (!legal(k, value)) {
      if (pseudo) return verdict::malformed;
      seen_ |= kOrdinary;
      return verdict::ignored;
    }
    if (pseudo && (trailer || (seen_ & kOrdinary) != 0)) return verdict::malformed;
    if (!pseudo) seen_ |= kOrdinary;
    return follows(k, pseudo, value) ? verdict::good : verdict::malformed;
  }

  // The headers are complete. Are they those of a request?
  bool complete() noexcept {
    if ((seen_ & kConnect) != 0) {
      length_ = kUnknown;
      return (seen_ & (kScheme | kPath)) == 0 && (seen_ & kAuthority) != 0;
    }
    constexpr uint32_t all = kMethod | kScheme | kPath;
    if ((seen_ & all) != all || (seen_ & (kAuthority | kHost)) == 0) return false;
    return (seen_ & kHttp) == 0 || (seen_ & kSlash) != 0 || (seen_ & (kOptions | kAsterisk)) == (kOptions | kAsterisk);
  }

  // n bytes of its body came. Are they within its content-length?
  bool data(size_t n) noexcept {
    received_ += static_cast<int64_t>(n);
    return length_ == kUnknown || received_ <= length_;
  }

  // The request has ended. As long as it said?
  bool end() const noexcept { return length_ == kUnknown || received_ == length_; }

 private:
  enum class kind : uint8_t { unknown, authority, method, path, scheme, host, content_length, te, of_connection, ordinary };
  enum : uint32_t {  // of seen_
    kAuthority = 1,
    kMethod = 2,
    kPath = 4,
    kScheme = 8,
    kHost = 16,
    kOrdinary = 32,  // any field that is no pseudo-header
    kConnect = 64,
    kOptions = 128,
    kSlash = 256,     // the path begins with one
    kAsterisk = 512,  // is one
    kHttp = 1024,     // or https
  };
  static constexpr int64_t kUnknown = -1;

  static const uint8_t* bytes(std::string_view s) noexcept { return reinterpret_cast<const uint8_t*>(s.data()); }

  static kind kind_of(std::string_view name) noexcept {
    switch (name.size()) {
      case 2: return name == "te" ? kind::te : kind::unknown;
      case 4: return name == "host" ? kind::host : kind::unknown;
      case 5: return name == ":path" ? kind::path : kind::unknown;
      case 7:
        if (name == ":method") return kind::method;
        if (name == ":scheme") return kind::scheme;
        return name == "upgrade" ? kind::of_connection : kind::unknown;
      case 10:
        if (name == ":authority") return kind::authority;
        if (name == "user-agent") return kind::ordinary;
        return name == "connection" || name == "keep-alive" ? kind::of_connection : kind::unknown;
      case 12: return name == "content-type" || name == "grpc-timeout" ? kind::ordinary : kind::unknown;
      case 13: return name == "grpc-encoding" ? kind::ordinary : kind::unknown;
      case 14: return name == "content-length" ? kind::content_length : kind::unknown;
      case 15: return name == "accept-encoding" ? kind::ordinary : kind::unknown;
      case 16: return name == "proxy-connection" ? kind::of_connection : kind::unknown;
      case 17: return name == "transfer-encoding" ? kind::of_connection : kind::unknown;
      case 20: return name == "grpc-accept-encoding" ? kind::ordinary : kind::unknown;
      default: return kind::unknown;
    }
  }

  // Are all bytes ASCII from least on, without DEL?
  template <char least>
  static bool ascii(std::string_view s) noexcept {
    constexpr uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    // The top bit of a byte: in w if it is no ASCII, in the sum if it is DEL (that of others cannot carry into it, unless they are no
    // ASCII), in the difference if it is below least (a borrow comes from such a byte only).
    const auto bad = [](uint64_t w) { return (w | (w + ones) | (w - static_cast<uint64_t>(least) * ones)) & tops; };
    const char* p = s.data();
    const size_t n = s.size();
    if (n >= 8) {
      uint64_t any = bad(word(p + n - 8));  // the last overlap with others
      for (size_t i = 0; i + 8 < n; i += 8) any |= bad(word(p + i));
      return any == 0;
    }
    return std::all_of(p, p + n, [](char c) { return c >= least && c < '\x7f'; });
  }
  // Blanks are legal within a value, not around it.
  static bool printable(std::string_view s) noexcept { return s.empty() || (s.front() != ' ' && s.back() != ' ' && ascii<' '>(s)); }
  static uint64_t word(const char* p) noexcept {
    uint64_t w;
    std::memcpy(&w, p, sizeof w);
    return w;
  }

  // May the value be one of such a field?
  static bool legal(kind k, std::string_view value) noexcept {
    const uint8_t* const p = bytes(value);
    switch (k) {
      case kind::authority:
      case kind::host: return nghttp2_check_authority(p, value.size()) != 0;
      case kind::method: return value == "POST" || nghttp2_check_method(p, value.size()) != 0;
      case kind::scheme: return value == "http" || value == "https" || legal_scheme(value);
      case kind::path: return ascii<'!'>(value) || nghttp2_check_path(p, value.size()) != 0;
      default: return printable(value) || nghttp2_check_header_value_rfc9113(p, value.size()) != 0;
    }
  }
  static bool legal_scheme(std::string_view value) noexcept {  // nghttp2 has it, but for itself
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    return !value.empty() && letter(value.front()) && std::all_of(value.begin(), value.end(), [&](char c) {
      return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    });
  }

  // Does a legal field follow the rules of its name?
  bool follows(kind k, bool pseudo, std::string_view value) noexcept {
    switch (k) {
      case kind::unknown: return !pseudo;
      case kind::authority: return first(kAuthority, value);
      case kind::host: return first(kHost, value);
      case kind::method:
        if (value == "CONNECT") seen_ |= kConnect;
        if (value == "OPTIONS") seen_ |= kOptions;
        return first(kMethod, value);
      case kind::path:
        if (value.starts_with('/')) seen_ |= kSlash;
        if (value == "*") seen_ |= kAsterisk;
        return first(kPath, value);
      case kind::scheme:
        if (same(value, "http") || same(value, "https")) seen_ |= kHttp;
        return first(kScheme, value);
      case kind::content_length: return length_ == kUnknown && (length_ = number(value)) != kUnknown;
      case kind::te: return same(value, "trailers");
      case kind::of_connection: return false;
      case kind::ordinary: return true;
    }
    return false;
  }
  // Once, and not empty.
  bool first(uint32_t which, std::string_view value) noexcept {
    if ((seen_ & which) != 0 || value.empty()) return false;
    seen_ |= which;
    return true;
  }
  static bool same(std::string_view value, std::string_view lower) noexcept {
    if (value == lower) return true;
    return std::equal(value.begin(), value.end(), lower.begin(), lower.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
  }
  static int64_t number(std::string_view digits) noexcept {
    if (digits.empty()) return kUnknown;
    int64_t n = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9' || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, c - '0', &n)) return kUnknown;
    }
    return n;
  }

  uint32_t seen_ = 0;
  int64_t length_ = kUnknown;  // as content-length says
  int64_t received_ = 0;
};

}  // namespace warren::http2
