#include <warren/grpc/client_call.h>
#include <warren/grpc/client_context.h>

#include "server/client/context_access.h"

namespace warren::grpc {

namespace {
const metadata kNone;
}

client_context::~client_context() {
  if (call_ != nullptr) call_->unref();
}

void client_context::credentials(std::shared_ptr<call_credentials> c) noexcept { credentials_ = std::move(c); }

void client_context::cancel() {
  lock_guard hold(mutex_);
  cancelled_ = true;
  if (call_ != nullptr) call_->cancel_call();
}

const metadata& client_context::initial_metadata() const { return call_ == nullptr ? kNone : call_->received_initial(); }
const metadata& client_context::trailing_metadata() const { return call_ == nullptr ? kNone : call_->received_trailing(); }
std::string client_context::peer() const { return call_ == nullptr ? std::string() : call_->peer_of(); }
int client_context::attempts() const { return call_ == nullptr ? 0 : call_->attempts_of(); }

namespace detail {

void client_context_access::use(client_context& ctx, call_facts& call) {
  call_facts* before;
  bool cancelled;
  {
    lock_guard hold(ctx.mutex_);
    call.ref();
    before = std::exchange(ctx.call_, &call);
    cancelled = ctx.cancelled_;
  }
  if (before != nullptr) before->unref();
  if (cancelled) call.cancel_call();
}

warren::context client_context_access::parent(const client_context& ctx) { return ctx.has_parent_ ? ctx.parent_.get() : background(); }
client_context::clock::time_point client_context_access::deadline(const client_context& ctx) noexcept { return ctx.deadline_; }
std::optional<bool> client_context_access::wait_for_ready(const client_context& ctx) noexcept { return ctx.wait_for_ready_; }
encoding client_context_access::compression(const client_context& ctx) noexcept { return ctx.encoding_; }
const std::shared_ptr<call_credentials>& client_context_access::credentials(const client_context& ctx) noexcept { return ctx.credentials_; }

}  // namespace detail

}  // namespace warren::grpc
