#include "server/host/flags.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>

namespace warren::host {
namespace {

exit_now wrong(const program& p, const std::string& line) {
  std::fprintf(stderr, "%s: %s\n", p.name.c_str(), line.c_str());
  return {2};
}

// CLI11 puts several remarks on lines of their own.
std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, "; ");
  return text;
}

}  // namespace

std::variant<flags, exit_now> parse_flags(const program& p, int argc, char** argv) {
  flags f;
  std::string transport_name = "native";
  std::string client = "required";
  double grace = 25;
  bool version = false;

  CLI::App app(p.about, p.name);
  app.add_option("--listen", f.listen, "Serve gRPC on ADDR:PORT, where port 0 takes a free one, or on unix:PATH")
      ->envname("WARREN_LISTEN")
      ->capture_default_str()
      ->type_name("ADDR:PORT");
  app.add_flag("--reuse-port", f.reuse_port, "Share the port with other processes that say so too (SO_REUSEPORT)")
      ->envname("WARREN_REUSE_PORT");
  app.add_option("--admin", f.admin, "Serve /metrics and /healthz over HTTP on ADDR:PORT; 'off' for none")
      ->envname("WARREN_ADMIN")
      ->capture_default_str()
      ->type_name("ADDR:PORT|off");
  app.add_option("--transport", transport_name, "Who speaks HTTP/2: warren itself (native), or gRPC C++'s server (grpcpp)")
      ->envname("WARREN_TRANSPORT")
      ->capture_default_str()
      ->type_name("NAME");
  app.add_option("--tls-cert", f.tls.certificate, "Serve TLS with this certificate chain, PEM; read again when it changes, and on SIGHUP")
      ->envname("WARREN_TLS_CERT")
      ->type_name("FILE");
  app.add_option("--tls-key", f.tls.key, "Its private key, PEM")->envname("WARREN_TLS_KEY")->type_name("FILE");
  app.add_option("--tls-ca", f.tls.client_ca, "Ask clients for certificates, which these have signed, PEM")
      ->envname("WARREN_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-client", client, "With --tls-ca: a client without a certificate is refused (required) or served (optional)")
      ->envname("WARREN_TLS_CLIENT")
      ->capture_default_str()
      ->type_name("required|optional");
  app.add_flag("--reflection,!--no-reflection", f.reflection, "Tell tools which services and messages there are (on unless switched off)")
      ->envname("WARREN_REFLECTION");
  app.add_flag("--channelz", f.channelz, "Tell callers about connections: their addresses and certificates, for operators")
      ->envname("WARREN_CHANNELZ");
  app.add_option("--grace", grace, "After SIGTERM, let calls run for so many seconds before they are cancelled")
      ->envname("WARREN_GRACE")
      ->capture_default_str()
      ->type_name("SECONDS");
  app.set_config("--config", "", "Read flags from an INI or TOML file");
  app.allow_config_extras(false);
  app.add_flag("--version", version, "Print the version");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return exit_now{0};
  } catch (const CLI::ParseError& e) {
    return wrong(p, one_line(e.what()) + "; see " + p.name + " --help");
  }
  if (version) {
    std::printf("%s %s\n", p.name.c_str(), WARREN_VERSION);
    return exit_now{0};
  }
  if (transport_name == "grpcpp") {
    f.transport = transport::grpcpp;
  } else if (transport_name != "native") {
    return wrong(p, "--transport " + transport_name + ": there is no such transport; use native or grpcpp");
  }
#ifndef WARREN_WITH_GRPCPP
  if (f.transport == transport::grpcpp) {
    return wrong(p, "--transport grpcpp: this program was built without gRPC C++; install libgrpc++-dev and build again, or use native");
  }
#endif
  if (f.tls.certificate.empty() != f.tls.key.empty()) {
    return wrong(p, f.tls.key.empty() ? "--tls-cert without --tls-key: name the certificate's private key too"
                                      : "--tls-key without --tls-cert: name the key's certificate too");
  }
  if (f.tls.certificate.empty() && !f.tls.client_ca.empty()) {
    return wrong(p, "--tls-ca " + f.tls.client_ca + ": there is no TLS without --tls-cert and --tls-key; name them too");
  }
  if (client != "required" && client != "optional") return wrong(p, "--tls-client " + client + ": must be required or optional");
  f.tls.require_client_certificate = client == "required";
  if (!(grace >= 0 && grace <= 86'400)) return wrong(p, "--grace: must be 0 to 86400 seconds");
  f.grace = std::chrono::milliseconds(std::llround(grace * 1000));
  if (f.admin == "off") f.admin.clear();
  return f;
}

}  // namespace warren::host
