// server_call: one call as the trampolines see it, whatever the transport. reader, writer, stream: the messages of streaming handlers.
// The trampolines themselves: what generated code puts into method_descriptor::run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>

#include <warren/grpc/context.h>
#include <warren/grpc/request_place.h>
#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

// How messages of type T become bytes. <warren/grpc/protobuf.h> specialises it for protobuf messages; a type of your own does the same:
//   static bool parse(T& into, std::span<const char> bytes);      whatever into held is replaced; false: the bytes are no such message
//   static void clear(T& message);                                back to the default state, keeping memory for reuse
//   static size_t size(const T& message);
//   static void write(const T& message, char* out);               exactly size(message) bytes; called right after size()
// Requests of such a type cannot be kept (server_context::keep).
template <class T>
struct codec;

struct write_options {
  bool compress = true;  // false: this message travels uncompressed although server_context::compress was called
};

// Used by trampolines, reader and writer only. Reading and writing may happen on two goroutines, each of them on one at a time.
class server_call {
 public:
  virtual server_context& context() noexcept = 0;

  // The bytes of the next request message, uncompressed; valid until the next call. Of a unary or server-streaming call there is exactly
  // one, and it is there. Otherwise parks until there is one. false: there is none, because the caller has sent its last one, the call is
  // over, or something is wrong with the message (the call fails then: see failure).
  virtual bool next_message(std::span<const char>& bytes) = 0;
  // The bytes of the last next_message are not looked at any more. Said after each message, so that its memory can go early.
  virtual void end_message() noexcept {}

  // Place for a message of n bytes. nullptr: it is over the send limit; the call fails. Each begin is followed by one end.
  virtual char* begin_message(size_t n) = 0;
  // The one reply is complete: it leaves with the status.
  virtual void end_reply() = 0;
  // A message of a stream is complete: it is on its way. Parks while more than the send buffer's bytes are unsent. false: the call is over.
  virtual bool end_stream_message(write_options options) = 0;

  // The call ends with this status, whatever the handler returns. The first one counts.
  virtual void fail(status why) = 0;
  // That status; OK if there is none.
  virtual status failure() const = 0;

  // Where the call keeps its request message for the next call.
  virtual detail::message_slot& request_slot() noexcept { return request_slot_; }

 protected:
  server_call() = default;
  virtual ~server_call() = default;
  server_call(const server_call&) = delete;
  server_call& operator=(const server_call&) = delete;

  void drop_request_message() noexcept { request_slot_.drop(); }
  detail::message_slot& own_request_slot() noexcept { return request_slot_; }

 private:
  detail::message_slot request_slot_;
};

namespace detail {
status request_unparsable(size_t bytes);
status no_request();

template <class Parse>
bool next_request(server_call& call, Parse&& parse) {
  std::span<const char> bytes;
  if (!call.next_message(bytes)) return false;
  const bool good = parse(bytes);
  call.end_message();
  if (good) return true;
  call.fail(request_unparsable(bytes.size()));
  return false;
}

// A handler's use of the call's request message: one after the other.
template <class T>
class request_use {
 public:
  explicit request_use(server_call& call) noexcept : call_(call), slot_(call.request_slot()) {}
  ~request_use() { slot_.end_use(); }
  request_use(const request_use&) = delete;
  request_use& operator=(const request_use&) = delete;
  // The next; nullptr: there is none, or it is no message of the type.
  T* next() {
    slot_.end_use();
    request_place_of<T>& place = slot_.template place<T>();
    T& message = place.renewed();
    return next_request(call_, [&place](std::span<const char> bytes) { return place.parse(bytes); }) ? &message : nullptr;
  }

 private:
  server_call& call_;
  message_slot& slot_;
};

template <class T>
status send_reply(server_call& call, const T& reply) {
  char* place = call.begin_message(codec<T>::size(reply));
  if (place != nullptr) {
    codec<T>::write(reply, place);
    call.end_reply();
  }
  return call.failure();
}
}  // namespace detail

// The requests of a client-streaming or bidirectional call, in order.
//
//   result<Summary> Upload(server_context& ctx, reader<Chunk>& in) override {
//     Summary sum;
//     for (const Chunk& chunk : in) sum.set_bytes(sum.bytes() + chunk.data().size());
//     if (ctx.cancelled()) return cancelled("the upload was given up");
//     return sum;
//   }
//
// What a handler does not read stays with the client: its window opens again as messages are taken, so a handler that is slow or does not
// read at all stops its own caller and nobody else. Used by one goroutine at a time; must not outlive the handler.
template <class T>
class reader {
 public:
  explicit reader(server_call& call) noexcept : call_(call), use_(call) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  // Replaces message by the next one; parks until there is one. false: no more will come, message is in an unspecified state. Either the
  // caller has sent its last, or the call is over (context: cancelled()), or what came was no message of that type or over a limit (the
  // call then ends with the status that says so, whatever the handler returns).
  bool read(T& message) {
    return detail::next_request(call_, [&message](std::span<const char> bytes) { return codec<T>::parse(message, bytes); });
  }

  // One pass over what is left. Every step overwrites the message before, or, if that was kept (server_context::keep), takes another.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    T& operator*() const noexcept { return *message_; }
    T* operator->() const noexcept { return message_; }
    iterator& operator++() {
      message_ = of_->use_.next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.message_ == nullptr; }

   private:
    friend class reader;
    explicit iterator(reader* of) : of_(of) { ++*this; }
    reader* of_;
    T* message_ = nullptr;
  };
  iterator begin() { return iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  server_call& call_;
  detail::request_use<T> use_;
};

// Sends the replies of a server-streaming or bidirectional call. Used by one goroutine at a time; must not outlive the handler.
template <class T>
class writer {
 public:
  explicit writer(server_call& call) noexcept : call_(call) {}
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  // Hands the message over; it leaves in order and without further calls. Parks while the caller's window or socket is full and the send
  // buffer with it. Returns false when nobody will see it: the call was cancelled, its deadline passed, its connection is gone, a
  // request was bad (see reader::read), or the message is over the server's send limit (the call then ends with RESOURCE_EXHAUSTED). A
  // handler returns then.
  bool write(const T& message, write_options options = {}) {
    char* place = call_.begin_message(codec<T>::size(message));
    if (place == nullptr) return false;
    codec<T>::write(message, place);
    return call_.end_stream_message(options);
  }

 private:
  server_call& call_;
};

// Both directions of a bidirectional call: read() and write() as above, in any order the two sides agree on. One goroutine may read while
// another writes; the handler must wait for both before it returns.
template <class Req, class Res>
class stream : public reader<Req>, public writer<Res> {
 public:
  explicit stream(server_call& call) noexcept : reader<Req>(call), writer<Res>(call) {}
};

namespace detail {
template <class>
struct member_of;
template <class C, class F>
struct member_of<F C::*> {
  using type = C;
};
template <auto Method>
auto& self_of(service& s) {
  return static_cast<typename member_of<decltype(Method)>::type&>(s);
}
}  // namespace detail

// result<Res> Service::M(server_context&, const Req&)
template <auto Method, class Req, class Res>
status unary(service& self, server_call& call) {
  detail::request_use<Req> use(call);
  const Req* const request = use.next();
  if (request == nullptr) return detail::no_request();
  result<Res> r = (detail::self_of<Method>(self).*Method)(call.context(), *request);
  return r.ok() ? detail::send_reply(call, *r) : r.status();
}

// status Service::M(server_context&, const Req&, writer<Res>&)
template <auto Method, class Req, class Res>
status server_streaming(service& self, server_call& call) {
  detail::request_use<Req> use(call);
  const Req* const request = use.next();
  if (request == nullptr) return detail::no_request();
  writer<Res> out(call);
  return (detail::self_of<Method>(self).*Method)(call.context(), *request, out);
}

// result<Res> Service::M(server_context&, reader<Req>&)
template <auto Method, class Req, class Res>
status client_streaming(service& self, server_call& call) {
  reader<Req> in(call);
  result<Res> r = (detail::self_of<Method>(self).*Method)(call.context(), in);
  return r.ok() ? detail::send_reply(call, *r) : r.status();
}

// status Service::M(server_context&, stream<Req, Res>&)
template <auto Method, class Req, class Res>
status bidi_streaming(service& self, server_call& call) {
  stream<Req, Res> io(call);
  return (detail::self_of<Method>(self).*Method)(call.context(), io);
}

}  // namespace warren::grpc
