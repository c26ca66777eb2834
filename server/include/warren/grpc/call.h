// server_call: one call as the trampolines see it, whatever the transport. writer: the message stream of a server-streaming handler.
// The trampolines themselves: what generated code puts into method_descriptor::run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <warren/grpc/context.h>
#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

// How messages of type T become bytes. <warren/grpc/protobuf.h> specialises it for protobuf messages; a type of your own does the same:
//   static bool parse(T& into, std::span<const char> bytes);      into is in its default state; false: the bytes are no such message
//   static void clear(T& message);                                back to the default state, keeping memory for reuse
//   static size_t size(const T& message);
//   static void write(const T& message, char* out);               exactly size(message) bytes; called right after size()
template <class T>
struct codec;

namespace detail {
// A kept request message: handlers get it by reference, so the call that owns it can use it again for the next call of that type.
struct message_slot {
  const void* type = nullptr;  // &message_type<T>
  void* message = nullptr;
  void (*destroy)(void*) = nullptr;
};
template <class T>
inline constexpr char message_type = 0;
}  // namespace detail

// Used by trampolines only, on the handler's goroutine.
class server_call {
 public:
  virtual server_context& context() noexcept = 0;

  // The bytes of the one request message.
  virtual std::span<const char> request() const noexcept = 0;

  // Place for a message of n bytes. nullptr: it is over the send limit (see too_large). Each begin is followed by one end.
  virtual char* begin_message(size_t n) = 0;
  // The unary reply is complete: it leaves with the status.
  virtual void end_reply() noexcept = 0;
  // A message of a stream is complete: it is on its way. Parks while more than the send buffer's bytes are unsent. false: the call is over.
  virtual bool end_stream_message() = 0;
  // True when the last begin_message refused.
  virtual bool too_large() const noexcept = 0;

  // A cleared T that lives until the call's end.
  template <class T>
  T& request_message() {
    detail::message_slot& s = request_slot_;
    if (s.type == &detail::message_type<T>) {
      codec<T>::clear(*static_cast<T*>(s.message));
    } else {
      drop_request_message();
      s.message = new T();
      s.type = &detail::message_type<T>;
      s.destroy = [](void* m) { delete static_cast<T*>(m); };
    }
    return *static_cast<T*>(s.message);
  }

 protected:
  server_call() = default;
  virtual ~server_call() { drop_request_message(); }
  server_call(const server_call&) = delete;
  server_call& operator=(const server_call&) = delete;

  void drop_request_message() noexcept {
    if (request_slot_.destroy != nullptr) request_slot_.destroy(request_slot_.message);
    request_slot_ = {};
  }

 private:
  detail::message_slot request_slot_;
};

// Sends the messages of a server-streaming call. Used by one goroutine at a time; must not outlive the handler.
template <class T>
class writer {
 public:
  explicit writer(server_call& call) noexcept : call_(call) {}
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  // Hands the message over; it leaves in order and without further calls. Parks while the caller's window or socket is full and the send
  // buffer with it. Returns false when nobody will see it: the call was cancelled, its deadline passed, its connection is gone, or the
  // message is over the server's send limit (the call then ends with RESOURCE_EXHAUSTED). A handler returns then.
  bool write(const T& message) {
    char* place = call_.begin_message(codec<T>::size(message));
    if (place == nullptr) return false;
    codec<T>::write(message, place);
    return call_.end_stream_message();
  }

 private:
  server_call& call_;
};

// Handlers that take a stream of requests. Their calls are not served yet: the methods answer UNIMPLEMENTED and say so.
template <class T>
class reader;
template <class Req, class Res>
class stream;

namespace detail {
template <class>
struct member_of;
template <class C, class F>
struct member_of<F C::*> {
  using type = C;
};
status request_unparsable(const server_call& call);
status reply_too_large(const server_call& call);
status kind_not_served();
}  // namespace detail

// result<Res> Service::M(server_context&, const Req&)
template <auto Method, class Req, class Res>
status unary(service& self, server_call& call) {
  using service_type = typename detail::member_of<decltype(Method)>::type;
  Req& request = call.request_message<Req>();
  if (!codec<Req>::parse(request, call.request())) return detail::request_unparsable(call);
  result<Res> r = (static_cast<service_type&>(self).*Method)(call.context(), std::as_const(request));
  if (!r.ok()) return r.status();
  char* place = call.begin_message(codec<Res>::size(*r));
  if (place == nullptr) return detail::reply_too_large(call);
  codec<Res>::write(*r, place);
  call.end_reply();
  return {};
}

// status Service::M(server_context&, const Req&, writer<Res>&)
template <auto Method, class Req, class Res>
status server_streaming(service& self, server_call& call) {
  using service_type = typename detail::member_of<decltype(Method)>::type;
  Req& request = call.request_message<Req>();
  if (!codec<Req>::parse(request, call.request())) return detail::request_unparsable(call);
  writer<Res> out(call);
  status st = (static_cast<service_type&>(self).*Method)(call.context(), std::as_const(request), out);
  if (call.too_large()) return detail::reply_too_large(call);
  return st;
}

// result<Res> Service::M(server_context&, reader<Req>&): not served yet.
template <auto Method, class Req, class Res>
status client_streaming(service&, server_call&) {
  return detail::kind_not_served();
}

// status Service::M(server_context&, stream<Req, Res>&): not served yet.
template <auto Method, class Req, class Res>
status bidi_streaming(service&, server_call&) {
  return detail::kind_not_served();
}

}  // namespace warren::grpc
