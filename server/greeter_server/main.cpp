// greeter_server: helloworld.Greeter, which every gRPC client in every language can call.
#include <helloworld.warren.h>

#include "server/host/host.h"

namespace {

class greeter final : public helloworld::GreeterService {
  // The name comes back as it is, so that what a benchmark or a test sent can be compared with what it got.
  warren::grpc::result<helloworld::HelloReply> SayHello(warren::grpc::server_context&, const helloworld::HelloRequest& request) override {
    helloworld::HelloReply reply;
    reply.set_message(request.name());
    return reply;
  }

  // The name, five times.
  warren::grpc::status SayHelloStreamReply(warren::grpc::server_context&, const helloworld::HelloRequest& request,
                                           warren::grpc::writer<helloworld::HelloReply>& out) override {
    helloworld::HelloReply reply;
    reply.set_message(request.name());
    for (int i = 0; i < 5; i++) {
      if (!out.write(reply)) return warren::grpc::cancelled("nobody reads any more");
    }
    return {};
  }
};

}  // namespace

int main(int argc, char** argv) {
  return warren::host::main_of({"greeter_server", "Serves helloworld.Greeter."}, argc, argv, [](warren::host::services& s) {
    static greeter g;
    s.add(g);
  });
}
