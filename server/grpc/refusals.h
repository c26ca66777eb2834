// What a caller is told of its messages, the same on every transport.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace warren::grpc {

inline constexpr std::string_view kNoRequest = "no request message; the method takes exactly one";
inline constexpr std::string_view kSecondRequest = "more than one request message; the method takes exactly one";
inline constexpr std::string_view kNoReply = "the method returned without a reply";
inline constexpr std::string_view kReplyTooLarge = "the reply is larger than the server may send; send less, or raise max_send_message";
inline constexpr std::string_view kDeadlinePassed = "the deadline passed";
inline constexpr std::string_view kTooLateToRun = "the deadline passed before the handler could run";
inline constexpr std::string_view kNotCompressed = "a message is marked compressed, but grpc-encoding is identity";
inline constexpr std::string_view kHandlerThrew = "the handler threw an exception";

inline std::string no_such_method(std::string_view path) { return "no such method: " + std::string(path); }

inline std::string request_too_large(size_t n, size_t limit) {
  return "the request message (" + std::to_string(n) + " bytes) is over the server's limit of " + std::to_string(limit) +
         "; send less, or raise max_receive_message";
}

inline std::string inflates_too_large(size_t limit) {
  return "the request message is over the server's limit of " + std::to_string(limit) +
         " bytes when it is inflated; send less, or raise max_receive_message";
}

inline std::string not_that_encoding(const char* encoding) {
  return std::string("a request message is not in the format that grpc-encoding names, ") + encoding;
}

}  // namespace warren::grpc
