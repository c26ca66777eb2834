// What a streaming handler returns when it ends because nobody listens any more.
#pragma once
#include <warren/grpc/context.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

// The reason the context gives (so that metrics tell a deadline from a cancellation); UNAVAILABLE if only a write failed.
inline status caller_gone(const server_context& ctx) {
  const status_code cause = ctx.cause();
  return {cause == status_code::ok ? status_code::unavailable : cause, "nobody watches any more"};
}

}  // namespace warren::grpc
