// What gRPC C++'s twins share: the command line, credentials, the line that says they are ready, the end at SIGTERM.
#pragma once
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <string>

struct greeter_flags {
  std::string listen = "127.0.0.1:0";
  std::string certificate{};  // PEM files; none: no TLS
  std::string key{};
  int sleepers = 256;  // async only: calls of Load.Sleep at once; each keeps its object while it sleeps
  int threads = 0;     // completion queues, each with a thread of its own; 0: one per processor this process may use
};

// Exits with status 2 after one line when a flag is wrong.
inline greeter_flags parse_greeter_flags(int argc, char** argv) {
  greeter_flags flags;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 < argc && std::strcmp(argv[i], "--listen") == 0) {
      flags.listen = argv[i + 1];
    } else if (i + 1 < argc && std::strcmp(argv[i], "--threads") == 0) {
      flags.threads = std::atoi(argv[i + 1]);
    } else if (i + 1 < argc && std::strcmp(argv[i], "--sleepers") == 0) {
      flags.sleepers = std::atoi(argv[i + 1]);
    } else if (i + 1 < argc && std::strcmp(argv[i], "--tls-cert") == 0) {
      flags.certificate = argv[i + 1];
    } else if (i + 1 < argc && std::strcmp(argv[i], "--tls-key") == 0) {
      flags.key = argv[i + 1];
    } else {
      std::fprintf(
          stderr,
          "%s: flag %s is unknown or has no value; use --listen ADDR:PORT [--threads N] [--sleepers N] [--tls-cert FILE --tls-key FILE]\n",
          argv[0], argv[i]);
      std::exit(2);
    }
  }
  return flags;
}

inline std::string text_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

inline std::shared_ptr<grpc::ServerCredentials> credentials_of(const greeter_flags& flags) {
  if (flags.certificate.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({text_of(flags.key), text_of(flags.certificate)});
  return grpc::SslServerCredentials(options);
}

// Called before the first thread starts, so that every thread inherits the mask and only wait_for_end() sees the signals.
inline sigset_t block_end_signals() {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
  return end;
}

// Prints the ready line (`port` is what BuildAndStart bound: 0 means it could not) and returns at SIGTERM or SIGINT.
inline void wait_for_end(const std::string& listen, int port, const sigset_t& end) {
  if (port == 0) {
    std::fprintf(stderr, "listen %s: cannot be bound; choose another address\n", listen.c_str());
    std::exit(1);
  }
  std::printf("listening on %s:%d\n", listen.substr(0, listen.rfind(':')).c_str(), port);
  std::fflush(stdout);
  int signo;
  sigwait(&end, &signo);
}

// The whole of a server that needs nothing but its services: command line, start, ready line, end.
inline void serve_until_end(int argc, char** argv, std::initializer_list<grpc::Service*> services) {
  const greeter_flags flags = parse_greeter_flags(argc, argv);
  const sigset_t end = block_end_signals();
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(flags.listen, credentials_of(flags), &port);
  for (grpc::Service* const service : services) builder.RegisterService(service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  wait_for_end(flags.listen, port, end);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}
