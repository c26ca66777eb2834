// The codec of protobuf messages. Included by generated code; the only header of the gRPC layer that knows protobuf.
#pragma once
#include <google/protobuf/message_lite.h>

#include <climits>
#include <concepts>
#include <cstdint>
#include <span>

#include <warren/grpc/call.h>

namespace warren::grpc {

template <std::derived_from<google::protobuf::MessageLite> T>
struct codec<T> {
  static bool parse(T& into, std::span<const char> bytes) {
    return bytes.size() <= INT_MAX && into.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  static void clear(T& message) { message.Clear(); }
  static size_t size(const T& message) { return message.ByteSizeLong(); }
  // Uses the sizes that size() has cached in the message.
  static void write(const T& message, char* out) { message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out)); }
};

}  // namespace warren::grpc
