// calls: those of a server that have not ended. So that the end of a server's grace can answer them, and the server wait for them.
#pragma once
#include <cstdint>
#include <memory>

#include <warren/grpc/status.h>

#include "netpoll/event.h"
#include "runtime/os/mutex.h"
#include "server/grpc/core.h"
#include "server/grpcpp/desk.h"

namespace warren::grpcpp {

struct calls {
  explicit calls(std::shared_ptr<grpc::core> of) : kept(std::move(of)), shared(*kept) {}

  const std::shared_ptr<grpc::core> kept;
  grpc::core& shared;
  desk news;

  // false: the server's grace is over already; the call is answered at once.
  bool add(call& c) noexcept;
  void remove(call& c) noexcept;  // any thread; the call's last reference has gone
  // Posts call::kKilled to each, and to those that come later.
  void kill();
  void wait_for_none();  // parks

 private:
  rt::mutex mutex_;  // guards the following, and the calls' links
  call* first_ = nullptr;
  bool killed_ = false;

  rt::event fewer_;
};

}  // namespace warren::grpcpp
