#include "server/grpc/call_context.h"

namespace warren::grpc {

warren::context call_context::context() {
  root<cell>* box = context_.load(std::memory_order_acquire);
  if (box == nullptr) {
    const std::optional<clock::time_point> limit = deadline();
    auto* const fresh = new root<cell>(make<cell>(limit ? with_deadline(background(), *limit) : with_cancel(background())));
    if (context_.compare_exchange_strong(box, fresh, std::memory_order_seq_cst)) {
      box = fresh;
      const status_code why = cause_.load(std::memory_order_seq_cst);
      if (why != status_code::ok && why != status_code::deadline_exceeded) cancel();
    } else {
      (*fresh)->cancel();
      delete fresh;
    }
  }
  return (*box)->ctx;
}

}  // namespace warren::grpc
