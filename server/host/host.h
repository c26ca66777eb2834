// A server process from main to exit: flags, gRPC port, health, runtime service, admin port, signals, drain.
//
//   int main(int argc, char** argv) {
//     return warren::host::main_of({"greeter_server", "Serves helloworld.Greeter."}, argc, argv, [](warren::host::services& s) {
//       static greeter g;
//       s.add(g);
//     });
//   }
//
// When it is ready it prints two lines on standard output, and nothing else there:
//   listening on 127.0.0.1:50051
//   admin on 127.0.0.1:9464
// Its log goes to standard error.
//
// On SIGTERM or SIGINT: health says NOT_SERVING, /healthz answers 503, the gRPC port is closed, calls that run get --grace seconds
// to finish and are cancelled then, the admin port closes last. Exit status 0. A second signal ends the process at once, with status 1.
// On SIGHUP: the files of --tls-cert, --tls-key and --tls-ca are read again, for connections made from then on.
// Exit status 1 if a port cannot be had, 2 for a wrong flag or value; each with one line that says why.
#pragma once
#include <functional>

#include <warren/grpc.h>

#include "server/host/flags.h"

namespace warren::host {

// Where main_of's caller registers what it serves.
class services {
 public:
  virtual void add(grpc::service& s) = 0;  // s must live as long as the process

 protected:
  ~services() = default;
};

// Runs the whole life of the process, on a runtime of its own. `setup` is called on the main goroutine before the ports open.
int main_of(const program& p, int argc, char** argv, const std::function<void(services&)>& setup);

}  // namespace warren::host
