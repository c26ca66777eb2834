#include "server/client/tls.h"

#include <asio/buffer.hpp>
#include <stdexcept>

namespace warren::grpc::client {

namespace {
void must(const asio::error_code& ec, const char* what) {
  if (ec)
    throw std::invalid_argument(std::string("grpc: client_tls_options: ") + what + ": " + ec.message() + "; give the text of a PEM file");
}
}  // namespace

std::unique_ptr<asio::ssl::context> make_tls_context(const client_tls_options& options) {
  auto c = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  asio::error_code ec;
  // RFC 9113 §9.2: TLS 1.2 at least.
  c->set_options(asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                 asio::ssl::context::no_tlsv1_1);
  c->set_verify_mode(asio::ssl::verify_peer, ec);
  must(ec, "verify mode");
  if (options.root_certificates.empty()) {
    c->set_default_verify_paths(ec);
    must(ec, "the system's certificates");
  } else {
    c->add_certificate_authority(asio::buffer(options.root_certificates), ec);
    must(ec, "root_certificates");
  }
  if (options.certificate_chain.empty() != options.private_key.empty()) {
    throw std::invalid_argument("grpc: client_tls_options: certificate_chain and private_key belong together; give both or none");
  }
  if (!options.certificate_chain.empty()) {
    c->use_certificate_chain(asio::buffer(options.certificate_chain), ec);
    must(ec, "certificate_chain");
    c->use_private_key(asio::buffer(options.private_key), asio::ssl::context::pem, ec);
    must(ec, "private_key");
  }
  alpn_client(*c, {"h2"});
  return c;
}

}  // namespace warren::grpc::client
