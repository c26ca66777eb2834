// once_value: a value that is computed when it is first asked for.
#pragma once
#include <optional>
#include <type_traits>
#include <utility>

#include "warren/sync.h"

namespace warren {

// Calls f once, whoever asks first, and answers everybody with what it returned. (Go's sync.OnceValue.) If f throws, the one who called it
// gets the exception, and the next one to ask tries again, as with once.
//
//   warren::once_value config([] { return load_config(); });
//   … config().timeout …
//
// The value lies inside: if it holds a ptr, the once_value belongs where a ptr does. Neither moves nor is copied. On a goroutine.
template <class F>
class once_value {
 public:
  using value_type = std::invoke_result_t<F&>;
  static_assert(std::is_object_v<value_type>, "warren: once_value(f): f must return a value");

  constexpr explicit once_value(F f) : f_(std::move(f)) {}
  once_value(const once_value&) = delete;
  once_value& operator=(const once_value&) = delete;

  // Parks while another goroutine computes it.
  const value_type& operator()() {
    once_.call([this] { value_.emplace(f_()); });
    return *value_;
  }

 private:
  once once_;
  F f_;
  std::optional<value_type> value_;
};

}  // namespace warren
