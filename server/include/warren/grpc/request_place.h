// request_place: where the request message of a call lies. Of the trampolines, and of codecs whose messages can be kept.
//
// A call uses one message for all its requests of a type, one after the other, so that a message's memory is used again. A handler that
// keeps the request (server_context::keep) takes the message away, and the next call gets another.
#pragma once
#include <memory>
#include <span>
#include <utility>

namespace warren::grpc {

template <class T>
struct codec;

namespace detail {

class request_place {
 public:
  request_place() = default;
  request_place(const request_place&) = delete;
  request_place& operator=(const request_place&) = delete;
  virtual ~request_place() = default;
  // Is part in the message, or in what the message owns and the collector sees? Then the message lives on as long as somebody points into
  // it, and nobody writes to it any more. On the handler's goroutine, while the handler runs.
  virtual bool keep(const volatile void* part) = 0;
  // The handler that kept it has returned. keep() is not called again before there is another message.
  virtual void let_go() noexcept = 0;
  // With WARREN_GCPOISON: the handler has returned and has not kept it.
  virtual void spoil() noexcept {}

 private:
  friend class message_slot;
  const void* type_ = nullptr;  // &message_type<T>
};

// Of messages that cannot be kept: those of codecs that say nothing of a place.
template <class T>
class plain_request_place final : public request_place {
 public:
  // The message, as if it were new.
  T& renewed() {
    codec<T>::clear(message_);
    return message_;
  }
  // Into the message that renewed() returned last.
  bool parse(std::span<const char> bytes) { return codec<T>::parse(message_, bytes); }
  bool keep(const volatile void*) override { return false; }
  void let_go() noexcept override {}

 private:
  T message_{};
};

template <class T>
struct place_of {
  using type = plain_request_place<T>;
};
template <class T>
requires requires { typename codec<T>::request_place; }
struct place_of<T> {
  using type = typename codec<T>::request_place;
};
template <class T>
using request_place_of = typename place_of<T>::type;

template <class T>
inline constexpr char message_type = 0;

// WARREN_GCPOISON=1, which fills what the collector frees: a request that was not kept is filled too, when its handler returns.
extern const bool spoil_requests;

// A call's place, for messages of whatever type came last.
class message_slot {
 public:
  // The place for a T, made if there is none.
  template <class T>
  request_place_of<T>& place() {
    if (place_ == nullptr || place_->type_ != &message_type<T>) [[unlikely]] {
      place_.reset();
      place_ = std::make_unique<request_place_of<T>>();
      place_->type_ = &message_type<T>;
    }
    return static_cast<request_place_of<T>&>(*place_);
  }
  bool keep(const volatile void* part) {
    if (place_ == nullptr || !place_->keep(part)) return false;
    kept_ = true;
    return true;
  }
  // Before there is another message, and when the handler has returned.
  void end_use() noexcept {
    if (kept_ || spoil_requests) [[unlikely]]
      end_use_slow();
  }
  void drop() noexcept {
    place_.reset();
    kept_ = false;
  }
  // Takes p and gives away what it had. REQUIRES: nothing is in use.
  std::unique_ptr<request_place> exchange(std::unique_ptr<request_place> p) noexcept { return std::exchange(place_, std::move(p)); }

 private:
  void end_use_slow() noexcept;

  std::unique_ptr<request_place> place_;
  bool kept_ = false;
};

}  // namespace detail
}  // namespace warren::grpc
