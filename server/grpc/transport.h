// transport: who carries the calls of one server between its clients and its handlers. server.cpp is above it; native.cpp (HTTP/2 of
// warren's own) and server/grpcpp/ (gRPC C++'s server) are below.
//
// A transport makes a server_call for each call that comes, asks for admission (admission.h), runs the method's trampoline, or the chain of
// interceptors before it, on a goroutine, and answers with the status that comes of it. What is the same on every transport (methods,
// interceptors, limits, counters of methods) is core's; what a transport knows of its connections it tells through list() and count().
//
// The seam is above the bytes and not below: a call of the native transport is one object with its HTTP/2 stream, and a unary call crosses
// no virtual function for it beyond those of server_call, which the trampolines need anyway.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <warren/grpc/counters.h>
#include <warren/grpc/server.h>

namespace warren::grpc {

class transport {
 public:
  virtual ~transport() = default;
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;

  // As server's functions of these names. start() is called once; shutdown() once, and only after start() has returned.
  virtual void start() = 0;
  virtual std::string where() const = 0;  // server::address()
  virtual void reload_tls() = 0;
  virtual void shutdown(std::chrono::nanoseconds grace) = 0;
  virtual std::vector<connection_info> list(uint64_t first_id, size_t most) const = 0;  // server::connections()
  // Fills in what is not counted in core.
  virtual void count(server_counters& into) const = 0;

 protected:
  transport() = default;
};

// warren's own.
std::shared_ptr<transport> make_native(std::shared_ptr<core> of);

}  // namespace warren::grpc
