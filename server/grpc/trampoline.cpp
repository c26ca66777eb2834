// The statuses the trampolines answer by themselves.
#include <warren/grpc/call.h>

namespace warren::grpc::detail {

status request_unparsable(size_t bytes) {
  return internal("the request (" + std::to_string(bytes) + " bytes) is not a message of the method's type");
}

// Only seen if the call did not fail for a better reason.
status no_request() { return internal("there was no request message"); }

}  // namespace warren::grpc::detail
