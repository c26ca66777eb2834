// service: a set of methods under one name. Generated code derives from it.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include <warren/grpc/status.h>

namespace warren::grpc {

class service;
class server_call;

enum class method_kind : uint8_t {
  unary,
  server_streaming,
  client_streaming,
  bidi_streaming,
};
// "unary", "server_stream", "client_stream", "bidi_stream": as grpc_type labels of metrics.
const char* to_string(method_kind kind) noexcept;

// Reads the request from the call, calls the service's method, writes what it returns. One per method, made by the templates of call.h.
using trampoline = status (*)(service& self, server_call& call);

struct method_descriptor {
  std::string_view name;  // "SayHello"; must live as long as the service
  method_kind kind;
  trampoline run;
};

// Thread safety: handlers of one service object run on many goroutines at once.
class service {
 public:
  virtual ~service() = default;
  // "helloworld.Greeter"; must live as long as the service.
  virtual std::string_view full_name() const = 0;
  virtual std::span<const method_descriptor> methods() const = 0;
};

}  // namespace warren::grpc
