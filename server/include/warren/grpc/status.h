// status: how a call ended. result<T>: a value or a status.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace warren::grpc {

// The codes of the gRPC specification, with its numbers. A peer may send others; status carries any number.
enum class status_code : uint32_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};
inline constexpr int kStatusCodes = 17;

// The name as metrics use it: "OK", "Canceled", "DeadlineExceeded" …; "Unknown" for numbers outside the specification.
const char* to_string(status_code code) noexcept;

// A value type. Not thread-safe.
class [[nodiscard]] status {
 public:
  status() noexcept = default;  // OK
  status(status_code code, std::string message) : code_(code), message_(std::move(message)) {}
  // details: a serialised google.rpc.Status; it travels as grpc-status-details-bin.
  status(status_code code, std::string message, std::string details)
      : code_(code), message_(std::move(message)), details_(std::move(details)) {}

  bool ok() const noexcept { return code_ == status_code::ok; }
  explicit operator bool() const noexcept { return ok(); }
  status_code code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& details() const noexcept { return details_; }

  // Adds one message to the details, serialised, with its type's URL: "type.googleapis.com/google.rpc.RetryInfo". For protobuf messages and
  // the usual kinds see <warren/grpc/error_details.h>. The first one fixes code and message in the details as they are now. Nothing for an
  // OK status, which has no details.
  status& add_detail(std::string_view type_url, std::string_view message);

  friend bool operator==(const status&, const status&) = default;

 private:
  status_code code_ = status_code::ok;
  std::string message_;
  std::string details_;
};

// A handler may say `return invalid_argument("name is empty; set it");`.
inline status cancelled(std::string why) { return {status_code::cancelled, std::move(why)}; }
inline status invalid_argument(std::string why) { return {status_code::invalid_argument, std::move(why)}; }
inline status deadline_exceeded(std::string why) { return {status_code::deadline_exceeded, std::move(why)}; }
inline status not_found(std::string why) { return {status_code::not_found, std::move(why)}; }
inline status already_exists(std::string why) { return {status_code::already_exists, std::move(why)}; }
inline status permission_denied(std::string why) { return {status_code::permission_denied, std::move(why)}; }
inline status resource_exhausted(std::string why) { return {status_code::resource_exhausted, std::move(why)}; }
inline status failed_precondition(std::string why) { return {status_code::failed_precondition, std::move(why)}; }
inline status aborted(std::string why) { return {status_code::aborted, std::move(why)}; }
inline status out_of_range(std::string why) { return {status_code::out_of_range, std::move(why)}; }
inline status internal(std::string why) { return {status_code::internal, std::move(why)}; }
inline status unavailable(std::string why) { return {status_code::unavailable, std::move(why)}; }
inline status data_loss(std::string why) { return {status_code::data_loss, std::move(why)}; }
inline status unauthenticated(std::string why) { return {status_code::unauthenticated, std::move(why)}; }
// What generated methods answer until they are overridden.
inline status unimplemented(std::string why = "the service does not implement this method") {
  return {status_code::unimplemented, std::move(why)};
}

namespace detail {
using status_type = status;  // result has a member of that name
}

// What a unary handler returns: `return reply;` or `return status(code, "why");`.
// A status that is OK is not a value: it becomes UNKNOWN, since there would be no message to send.
template <class T>
class [[nodiscard]] result {
  static_assert(!std::is_same_v<T, detail::status_type>, "a handler without a reply message still returns result<SomeMessage>");

 public:
  result(T value) : value_(std::move(value)) {}
  result(detail::status_type st) : status_(std::move(st)) {
    if (status_.ok()) status_ = {status_code::unknown, "the handler returned OK without a message; return the message instead"};
  }

  bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  // REQUIRES: ok().
  T& operator*() & noexcept { return *value_; }
  const T& operator*() const& noexcept { return *value_; }
  T&& operator*() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }
  const T* operator->() const noexcept { return &*value_; }
  // OK when there is a value.
  const detail::status_type& status() const noexcept { return status_; }

 private:
  std::optional<T> value_;
  detail::status_type status_;
};

}  // namespace warren::grpc
