// What a goroutine waits for in a call that gRPC C++'s client library makes.
//
// The callback runs on a thread of gRPC's, or in the very call that starts the operation; it stores and sets an event, which may be set
// before anybody waits. The goroutine waits with the event counted as something outside of the runtime, so that a program whose goroutines
// all wait for a server is not taken for a deadlock.
//
// The tie to a context is a function that the context starts on a goroutine when it ends. It calls TryCancel and nothing else; the callback
// is waited for all the same, since until then gRPC uses the messages. Who takes the tie off and finds that the function was started waits
// for it: it uses the ClientContext, which is about to go. A context that ends by its deadline cancels nothing: gRPC has the same deadline,
// and ends the call with DEADLINE_EXCEEDED instead of CANCELLED.
//
// Stack. gRPC runs on the goroutine's: up to 14 KiB were seen, with the channel made there, names resolved, TLS, retries and large
// messages. The usual 64 KiB are enough; callers need no larger ones.
#include <utility>

#include <warren/grpcpp.h>

#include "netpoll/event.h"

namespace warren::grpcpp::detail {

struct waiting::state {
  explicit state(::grpc::ClientContext& c) : call(c) {}
  ::grpc::ClientContext& call;
  rt::event events[3];
  rt::event tie_ended;
  root<context_hook> tie;
  bool late = false;  // the context's deadline had passed before the call began
};

waiting::waiting(const context& ctx, ::grpc::ClientContext& c) : state_(std::make_unique<state>(c)) {
  if (ctx == background()) return;
  if (const auto limit = ctx.deadline()) {
    using std::chrono::system_clock;
    const auto left = std::chrono::duration_cast<system_clock::duration>(*limit - context::clock::now());
    const auto now = system_clock::now();
    if (c.deadline() > now && left < c.deadline() - now) c.set_deadline(now + left);
  }
  if (const std::error_code over = ctx.err()) {
    // gRPC looks at a deadline in the past only by and by, and such a call may even succeed.
    state_->late = over == context_errc::deadline_exceeded;
    c.TryCancel();
    return;
  }
  state* const s = state_.get();
  s->tie = root<context_hook>(make<context_hook>());  // first: nothing can fail once the function is with the context
  *s->tie = after_func(ctx, [s, ctx] {
    if (ctx.err() != context_errc::deadline_exceeded) s->call.TryCancel();
    s->tie_ended.set();
  });
}

waiting::~waiting() {
  if (state_->tie && !state_->tie->stop()) state_->tie_ended.wait(0);
}

::grpc::Status waiting::outcome(::grpc::Status s) const {
  if (!state_->late || s.error_code() != ::grpc::StatusCode::CANCELLED) return s;
  return {::grpc::StatusCode::DEADLINE_EXCEEDED, "the context's deadline had passed before the call began"};
}

void waiting::happened(what w) noexcept { state_->events[w].set(); }

void waiting::wait(what w) {
  while (!state_->events[w].wait(0, true)) {
  }
}

}  // namespace warren::grpcpp::detail
