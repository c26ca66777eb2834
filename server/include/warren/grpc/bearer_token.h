// bearer_token_interceptor: serves only callers that send a token the server knows (authorization: Bearer …), as machine clients do.
//
//   warren::grpc::bearer_token_interceptor auth({{.token = secret, .subject = "billing"}}, {.exempt = {"/grpc.health.v1.Health/*"}});
//   server.intercept(auth);
//   … in a handler: const std::string* who = warren::grpc::bearer_token_interceptor::subject(ctx);
//
// A token is a password: use TLS (or a unix socket) where anybody could listen on the way.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <warren/context.h>
#include <warren/grpc/interceptor.h>
#include <warren/sync.h>

namespace warren::grpc {

// Thread safety: any goroutine. Never parks, but for the moment that replace() changes a pointer.
class bearer_token_interceptor final : public interceptor {
 public:
  struct known_token {
    std::string token;    // what clients send; empty ones are not taken (std::invalid_argument)
    std::string subject;  // who it stands for: what subject() says
  };
  struct options {
    // Methods that need no token: "/package.Service/Method", or "/package.Service/*".
    std::vector<std::string> exempt{};
  };

  explicit bearer_token_interceptor(const std::vector<known_token>& tokens) : bearer_token_interceptor(tokens, options()) {}
  bearer_token_interceptor(const std::vector<known_token>& tokens, options o);
  ~bearer_token_interceptor() override;

  // Knows these from now on, and no others: calls that have begun go on. Throws as the constructor.
  void replace(const std::vector<known_token>& tokens);

  // UNAUTHENTICATED without exactly one "authorization" of the form "Bearer TOKEN", or with a token that is not known. How long that takes
  // does not depend on how much of a token was right, nor on which token it was: digests of all are compared, in constant time.
  status intercept(server_call& call, const next& proceed) override;

  // Whose token the call came with; nullptr if the method is exempt. ctx: the handler's context, or one made of it; the text lives as long.
  static const std::string* subject(const context& ctx) noexcept;

  uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }

 private:
  struct table;
  bool exempt(std::string_view method) const noexcept;

  const options options_;
  mutable mutex mutex_;
  std::shared_ptr<const table> table_ WARREN_GUARDED_BY(mutex_);
  std::atomic<uint64_t> refused_{0};
};

}  // namespace warren::grpc
