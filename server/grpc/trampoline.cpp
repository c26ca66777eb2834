// The statuses the trampolines answer by themselves.
#include <warren/grpc/call.h>

namespace warren::grpc::detail {

status request_unparsable(const server_call& call) {
  return internal("the request (" + std::to_string(call.request().size()) + " bytes) is not a message of the method's type");
}

status reply_too_large(const server_call&) {
  return resource_exhausted("the reply is larger than the server may send; send less, or raise max_send_message");
}

status kind_not_served() { return unimplemented("client-streaming and bidirectional methods are not served by this version"); }

}  // namespace warren::grpc::detail
