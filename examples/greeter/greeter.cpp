#include <iostream>

#include <warren/go.h>
#include <warren/grpc.h>
#include <warren/signal.h>

#include "helloworld.warren.h"

using namespace warren::grpc;

struct greeter final : helloworld::GreeterService {
  result<helloworld::HelloReply> SayHello(server_context&, const helloworld::HelloRequest& request) override {
    if (request.name().empty()) return invalid_argument("name is empty; set it");
    helloworld::HelloReply reply;
    reply.set_message("Hello, " + request.name());
    return reply;
  }
};

int main(int argc, char** argv) {
  warren::block_signals({SIGTERM, SIGINT});
  return warren::run([&] {
    greeter service;
    server s({.listen = argc > 1 ? argv[1] : "127.0.0.1:50051"});
    s.add(service);
    s.start();
    std::cout << "listening on " << s.address() << std::endl;
    warren::wait_signal({SIGTERM, SIGINT});
    s.shutdown(std::chrono::seconds(10));
  });
}
