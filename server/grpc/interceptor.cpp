#include <warren/grpc/interceptor.h>

namespace warren::grpc {

// Each step turns what was thrown behind it into a status, so that an interceptor that logs or counts sees the status the caller gets, and
// what it does after proceed() is done whatever happened. The exception's own text stays here: it may hold what the caller must not see.
status interceptor::next::operator()(server_call& call) const {
  if (!rest_.empty()) {
    try {
      return rest_.front()->intercept(call, next(rest_.subspan(1), run_, self_, kind_));
    } catch (...) {
      return {status_code::unknown, "an interceptor threw an exception"};
    }
  }
  try {
    status ended = run_(self_, call);
    if (status failed = call.failure(); !failed.ok()) return failed;
    return ended;
  } catch (...) {
    if (status failed = call.failure(); !failed.ok()) return failed;
    return {status_code::unknown, "the handler threw an exception"};
  }
}

status intercepted::run(std::span<interceptor* const> chain, trampoline handler, service& self, method_kind kind, server_call& call) {
  return interceptor::next(chain, handler, self, kind)(call);
}

}  // namespace warren::grpc
