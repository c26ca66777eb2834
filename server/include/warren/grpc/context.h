// server_context: what a handler knows of its call besides the message.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <warren/context.h>
#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>
#include <warren/grpc/tls.h>
#include <warren/ptr.h>

namespace warren {
struct peer_credentials;  // <warren/unix.h>
}

namespace warren::grpc {

class server_call;

namespace detail {
template <class T>
inline constexpr bool is_view_of_text = false;
template <class C, class R>
inline constexpr bool is_view_of_text<std::basic_string_view<C, R>> = true;
template <class T>
concept has_default_instance = requires {
  static_cast<const T&>(T::default_instance());
};
[[noreturn]] void part_is_elsewhere(const volatile void* part) noexcept;
const std::string& empty_text() noexcept;
}  // namespace detail

// Lives as long as the handler runs; a goroutine that outlives the handler must not keep it (take as_context() along instead).
// cancelled(), done(), as_context(), cause(), deadline(), method(), peer(), tls() and process() may be called by any goroutine, the rest by
// the handler's only.
class server_context {
 public:
  using clock = std::chrono::steady_clock;

  virtual ~server_context() = default;
  server_context(const server_context&) = delete;
  server_context& operator=(const server_context&) = delete;

  // When the caller stops waiting; nothing if it set no limit.
  virtual std::optional<clock::time_point> deadline() const noexcept = 0;

  // True once the call is over for the caller: it cancelled, its deadline passed, its connection is gone, or the server
  // shuts down for good. Whatever the handler does after that is for nothing. Never parks.
  virtual bool cancelled() const noexcept = 0;

  // The call as a context (warren/context.h): over when cancelled() becomes true, and at the latest when the handler returns; with the
  // call's deadline. Children of it carry both to whatever the handler starts: with_timeout(ctx, 200ms), sleep(ctx, 1s). It may be kept
  // longer than the handler runs. The first call makes it; calls that nobody asks cost nothing.
  virtual warren::context as_context() = 0;
  operator warren::context() { return as_context(); }
  // as_context().done(): warren::select(recv(ctx.done(), …), …).
  chan<unit> done() { return as_context().done(); }

  // Why it was cancelled: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, or RESOURCE_EXHAUSTED if its connection made the server hold more
  // than it may; OK while it was not.
  virtual status_code cause() const noexcept = 0;

  // What the caller sent. Reserved keys (grpc-…, content-type, te, pseudo headers) are not in it, except
  // grpc-previous-rpc-attempts and grpc-retry-pushback-ms.
  virtual const detail::metadata_type& metadata() const noexcept = 0;
  std::optional<std::string_view> find(std::string_view key) const noexcept { return metadata().find(key); }

  // Keeps the request beyond the handler: all of it, as long as anybody holds the ptr that is returned or a copy. part: the request, or
  // anything in it: a sub-message, a repeated field, an element of one, a std::string.
  //
  //   result<Ack> Put(server_context& ctx, const Item& item) override {
  //     store_.insert_or_assign(item.key(), ctx.keep(item));     // hash_map<string, ptr<const Item>>
  //     go([name = ctx.keep(item.owner().name())] { greet(*name); });
  //     return Ack();
  //   }
  //
  // It is not copied: the ptr points to what part refers to, which nobody changes any more. A plain reference does not keep it, nor does a
  // string_view or iterator. What is not set (a default instance, an empty string) may be passed too. What is not in this call's
  // request ends the process: there is nothing to keep it by. While the handler runs, on its goroutine. Throws std::bad_alloc.
  template <class T>
  [[nodiscard]] ptr<const T> keep(const T& part) {
    static_assert(!detail::is_view_of_text<T>,
                  "warren: server_context::keep of a string_view, whose text is not the collector's: pass the std::string field, or make a "
                  "warren::string");
    static_assert(!std::is_pointer_v<T>, "warren: server_context::keep takes the part itself, not a pointer to it");
    if (keep_part(&part)) return ptr<const T>(&part);
    if constexpr (detail::has_default_instance<T>) {
      if (&part == &T::default_instance()) return ptr<const T>(&part);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (part.empty()) return ptr<const T>(&detail::empty_text());
    }
    detail::part_is_elsewhere(&part);
  }
  // A value that a function returned is not in the request.
  template <class T>
  void keep(const T&& part) = delete;
  // What keep() is made of, for contexts that stand before another one. false: that is not in the request.
  virtual bool keep_part(const volatile void* /*part*/) { return false; }

  // Pairs to send before the first message. Return false if the pair is refused (see metadata::add) or the headers have left already.
  virtual bool add_initial_metadata(std::string_view key, std::string_view value) = 0;
  // Sends them now instead of with the first message. false: the headers have left already, or nobody would see them.
  virtual bool send_initial_metadata() = 0;
  // Pairs to send with the status.
  virtual bool add_trailing_metadata(std::string_view key, std::string_view value) = 0;

  // Compresses the messages written from now on. false, and nothing is compressed, if the caller does not say that it takes this
  // encoding, or the headers, which name it, have left already.
  virtual bool compress(encoding how) = 0;
  // Whether the message read last came compressed (of a unary call: the request).
  virtual bool request_compressed() const noexcept = 0;

  // "127.0.0.1:40000", "unix:"
  virtual std::string_view peer() const noexcept = 0;
  // What TLS says of the caller, the certificate it proved to be its own among it; nullptr if the connection is not encrypted.
  virtual const tls_info* tls() const noexcept { return nullptr; }
  // Of a unix socket: the caller's process and user, as the kernel says; else nullptr.
  virtual const peer_credentials* process() const noexcept { return nullptr; }
  // "/helloworld.Greeter/SayHello"
  virtual std::string_view method() const noexcept = 0;
  // What the caller called the server: :authority, else host.
  virtual std::string_view authority() const noexcept = 0;

 protected:
  server_context() = default;
};

}  // namespace warren::grpc
