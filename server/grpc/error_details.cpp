// google.rpc.Status and its usual details, written and read by hand: three fields of the protobuf wire format each. Generated code for them
// would be registered under names that a user's own copy of googleapis also has, and protobuf ends a process in which they meet.
#include <cstdint>

#include <warren/grpc/error_details.h>

namespace warren::grpc {

namespace {

// --- writing -----------------------------------------------------------------------------------------------------------------------------

void put_varint(std::string& out, uint64_t n) {
  while (n >= 0x80) {
    out += static_cast<char>(n | 0x80);
    n >>= 7;
  }
  out += static_cast<char>(n);
}

void put_number(std::string& out, uint32_t field, int64_t n) {
  if (n == 0) return;
  put_varint(out, field << 3);
  put_varint(out, static_cast<uint64_t>(n));  // negative ones as protobuf's int32 and int64: ten bytes
}

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_text(std::string& out, uint32_t field, std::string_view text) {
  if (!text.empty()) put_bytes(out, field, text);
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

struct field {
  uint64_t number = 0;
  std::string_view bytes;  // of length-delimited fields; empty for others
};

bool take_varint(std::string_view& in, uint64_t& n) {
  n = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (in.empty()) return false;
    const auto byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    n |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

// The next field. false: what is left is no protobuf message. REQUIRES: in is not empty.
bool take_field(std::string_view& in, field& f) {
  uint64_t tag;
  if (!take_varint(in, tag) || tag >> 3 == 0) return false;
  f = {tag >> 3, {}};
  uint64_t n = 0;
  switch (tag & 7) {
    case 0: return take_varint(in, n);
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
      if (!take_varint(in, n) || n > in.size()) return false;
      f.bytes = in.substr(0, n);
      break;
    default: return false;
  }
  if (n > in.size()) return false;
  in.remove_prefix(n);
  return true;
}

}  // namespace

status& status::add_detail(std::string_view type_url, std::string_view message) {
  if (ok()) return *this;
  if (details_.empty()) {
    put_number(details_, 1, static_cast<int32_t>(code_));
    put_text(details_, 2, message_);
  }
  std::string any;
  put_text(any, 1, type_url);
  put_text(any, 2, message);
  put_bytes(details_, 3, any);  // repeated: one more field is one more element
  return *this;
}

std::optional<std::vector<error_detail>> details_of(const status& s) {
  std::vector<error_detail> all;
  for (std::string_view in = s.details(); !in.empty();) {
    field f;
    if (!take_field(in, f)) return std::nullopt;
    if (f.number != 3) continue;
    error_detail& d = all.emplace_back();
    for (std::string_view any = f.bytes; !any.empty();) {
      field part;
      if (!take_field(any, part)) return std::nullopt;
      if (part.number == 1) d.type_url = part.bytes;
      if (part.number == 2) d.message = part.bytes;
    }
  }
  return all;
}

status with_detail(status s, const error_info& d) {
  std::string out;
  put_text(out, 1, d.reason);
  put_text(out, 2, d.domain);
  for (const auto& [key, value] : d.metadata) {
    std::string entry;
    put_bytes(entry, 1, key);
    put_bytes(entry, 2, value);
    put_bytes(out, 3, entry);
  }
  s.add_detail("type.googleapis.com/google.rpc.ErrorInfo", out);
  return s;
}

status with_detail(status s, const retry_info& d) {
  std::string duration, out;
  put_number(duration, 1, d.delay.count() / 1'000'000'000);
  put_number(duration, 2, d.delay.count() % 1'000'000'000);
  put_bytes(out, 1, duration);
  s.add_detail("type.googleapis.com/google.rpc.RetryInfo", out);
  return s;
}

status with_detail(status s, const bad_request& d) {
  std::string out;
  for (const auto& v : d.violations) {
    std::string one;
    put_text(one, 1, v.field);
    put_text(one, 2, v.description);
    put_bytes(out, 1, one);
  }
  s.add_detail("type.googleapis.com/google.rpc.BadRequest", out);
  return s;
}

}  // namespace warren::grpc
