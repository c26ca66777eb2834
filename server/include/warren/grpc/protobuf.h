// The codec of protobuf messages, and such messages as details of errors. Included by generated code; the only header of the gRPC layer,
// with <warren/grpc/request_arena.h>, that knows protobuf.
#pragma once
#include <google/protobuf/message_lite.h>

#include <climits>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <warren/grpc/call.h>
#include <warren/grpc/error_details.h>
#include <warren/grpc/request_arena.h>

namespace warren::grpc {

template <std::derived_from<google::protobuf::MessageLite> T>
struct codec<T> {
  using request_place = detail::arena_request_place<T>;
  static bool parse(T& into, std::span<const char> bytes) {
    return bytes.size() <= INT_MAX && into.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  static void clear(T& message) { message.Clear(); }
  static size_t size(const T& message) { return message.ByteSizeLong(); }
  // Uses the sizes that size() has cached in the message.
  static void write(const T& message, char* out) { message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out)); }
};

// Rich errors, see <warren/grpc/error_details.h>: a message of any type among the details of a status.
template <std::derived_from<google::protobuf::MessageLite> M>
status with_detail(status s, const M& d) {
  s.add_detail("type.googleapis.com/" + d.GetTypeName(), d.SerializeAsString());
  return s;
}

// The first detail of the message's type. false: there is none, or it cannot be parsed; into is unspecified then.
template <std::derived_from<google::protobuf::MessageLite> M>
bool find_detail(const status& s, M& into) {
  const auto all = details_of(s);
  if (!all) return false;
  const std::string end = "/" + into.GetTypeName();
  for (const error_detail& d : *all) {
    if (std::string_view(d.type_url).ends_with(end)) return into.ParseFromString(d.message);
  }
  return false;
}

}  // namespace warren::grpc
