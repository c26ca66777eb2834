// What the channel reads in a client_context, and tells it.
#pragma once
#include <memory>
#include <optional>

#include <warren/grpc/client_context.h>

namespace warren::grpc::detail {

struct client_context_access {
  // ctx is the context of this call from now on; a call whose context was cancelled already is cancelled.
  static void use(client_context& ctx, call_facts& call);
  static warren::context parent(const client_context& ctx);
  static client_context::clock::time_point deadline(const client_context& ctx) noexcept;
  static std::optional<bool> wait_for_ready(const client_context& ctx) noexcept;
  static encoding compression(const client_context& ctx) noexcept;
  static const std::shared_ptr<call_credentials>& credentials(const client_context& ctx) noexcept;
};

}  // namespace warren::grpc::detail
