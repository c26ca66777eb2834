// TLS of a server: what it is configured by (tls_options), and what a handler learns of its caller (tls_info).
//
//   warren::grpc::server s({.listen = ":50051", .tls = {.certificate = "server.pem", .key = "server.key", .client_ca = "clients.pem"}});
//
// TLS 1.2 and 1.3; of TLS 1.2 only the suites that HTTP/2 allows (ECDHE with AES-GCM or ChaCha20-Poly1305). Clients must choose "h2" by
// ALPN, as every gRPC client does. Files are read as they change: certificates are renewed without a restart.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace warren::grpc {

struct tls_options {
  // Files, PEM. Both or neither; neither: no TLS.
  std::string certificate{};  // the server's, then those between it and the root that clients know
  std::string key{};          // its private key, without a passphrase
  // File, PEM: the authorities that sign clients' certificates (mTLS). Empty: clients are not asked for one.
  std::string client_ca{};
  // With client_ca: a client without a certificate is refused. false: it is served, and server_context::tls() shows no certificate. A
  // certificate that is shown must be good in both cases.
  bool require_client_certificate = true;

  // How often the files are looked at; when one has changed, all are read anew. Zero: only when server::reload_tls() is called.
  std::chrono::milliseconds reload_interval{10'000};
  // Told of each of these readings: an empty line if the files are in use now, else tls_error's line. On a goroutine of the server's; for
  // logs.
  std::function<void(const std::string& wrong)> on_reload{};
  std::chrono::milliseconds handshake_timeout{10'000};  // from accept to the end of the handshake, however slowly bytes trickle in
  // Handshakes at once. One more ends the oldest, so that strangers who connect and say nothing cannot keep others out.
  uint32_t max_handshakes = 256;

  bool enabled() const noexcept { return !certificate.empty() || !key.empty() || !client_ca.empty(); }
};

// A file that cannot be used: what() is one line that names it, says what is wrong and what to do.
class tls_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One TLS connection. The certificate's part is empty unless the client showed one; if it did, it was signed by one of
// tls_options::client_ca, and the client proved that it holds the key. All text is the certificate's own, which its authority has vouched
// for; texts that contain a NUL byte (an old trick) are left out.
struct tls_info {
  std::string protocol;  // "TLSv1.3"
  std::string cipher;    // "TLS_AES_256_GCM_SHA384"

  bool has_certificate = false;
  std::string subject;                 // RFC 2253: "CN=alice,O=Example"
  std::string common_name;             // "alice"
  std::vector<std::string> dns_names;  // subject alternative names, by kind
  std::vector<std::string> uris;       // SPIFFE ids are here
  std::vector<std::string> emails;
  std::vector<std::string> ip_addresses;  // "10.0.0.1", "2001:db8::1"
  std::string issuer;                     // RFC 2253
  std::string serial;                     // hexadecimal, upper case
  std::string fingerprint;                // SHA-256 of the certificate: 64 hexadecimal digits, lower case
  std::string der;                        // the certificate itself
};

}  // namespace warren::grpc
