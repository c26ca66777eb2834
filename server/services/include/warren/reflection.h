// grpc.reflection: tools list a server's services and call them without .proto files (grpcurl -plaintext HOST:PORT list).
//
//   warren::grpc::reflection_service reflection(server);
//   server.add(reflection.v1());
//   server.add(reflection.v1alpha());   // the same under the name that older clients ask for
//
// It tells whoever can call it which methods and message types there are; it gives access to nothing.
#pragma once
#include <memory>

#include <warren/grpc/server.h>
#include <warren/grpc/service.h>

namespace warren::grpc {

// Thread safety: any goroutine.
class reflection_service {
 public:
  // Answers about what was added to `of`, which must outlive the calls (it does, if they come in through it), and about every message type
  // that is linked into the process: descriptors are those of protobuf's generated pool. A service of your own making, not generated from a
  // .proto file, is listed and has no descriptor.
  explicit reflection_service(const server& of);
  ~reflection_service();
  reflection_service(const reflection_service&) = delete;
  reflection_service& operator=(const reflection_service&) = delete;

  service& v1() noexcept;
  service& v1alpha() noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace warren::grpc
