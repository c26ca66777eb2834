// helloworld.Greeter on gRPC C++'s callback API, the interface its documentation recommends.
// The library brings its own threads (CallbackAlternativeCQ: at least two), so there is nothing to tune here.
#include <grpcpp/grpcpp.h>

#include "greeter_main.h"
#include "helloworld.grpc.pb.h"

namespace {

class greeter final : public helloworld::Greeter::CallbackService {
  grpc::ServerUnaryReactor* SayHello(grpc::CallbackServerContext* context, const helloworld::HelloRequest* request,
                                     helloworld::HelloReply* reply) override {
    reply->set_message(request->name());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();  // lives in the call's own memory: no allocation
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const greeter_flags flags = parse_greeter_flags(argc, argv);
  const sigset_t end = block_end_signals();
  greeter service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(flags.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  wait_for_end(flags.listen, port, end);
  server->Shutdown();
}
