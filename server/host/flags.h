// The command line that warren's servers share.
//
// Every flag can also come from the environment (--listen from WARREN_LISTEN) or from a file (--config); the command line wins over the
// environment, and that over the file. What is wrong is told in one line: what, which value, what to do.
#pragma once
#include <chrono>
#include <string>
#include <variant>

#include <warren/grpc/tls.h>

namespace warren::host {

enum class transport { native, grpcpp };

struct flags {
  std::string listen = "127.0.0.1:50051";
  std::string admin = "127.0.0.1:9464";  // empty: no admin port
  std::chrono::milliseconds grace{25'000};
  bool reuse_port = false;
  bool reflection = true;
  bool channelz = false;
  host::transport transport = host::transport::native;
  grpc::tls_options tls;
};

struct program {
  std::string name;   // "warrend"
  std::string about;  // one line for --help
};

// Exit statuses: 0 for --help and --version, 2 for a wrong flag or value (the line is on standard error by then).
struct exit_now {
  int status;
};

std::variant<flags, exit_now> parse_flags(const program& p, int argc, char** argv);

}  // namespace warren::host
