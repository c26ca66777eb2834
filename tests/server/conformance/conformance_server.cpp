// conformance_server: a server under test for Connect's conformance runner, which starts it with no arguments
// (`connectconformance --mode server -- conformance_server`), tells it on standard input what to be, and closes that when it is done.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <warren/go.h>
#include <warren/grpc.h>

#include "connectrpc/conformance/v1/server_compat.pb.h"
#include "tests/server/conformance/conformance_service.h"
#include "tests/server/tls/authority.h"

namespace {

namespace v1 = connectrpc::conformance::v1;

constexpr size_t kMostRequest = 1 << 20;  // certificates are the largest part of it

// Reads n bytes; false: the input ended before.
bool read_all(char* into, size_t n) {
  while (n > 0) {
    const ssize_t got = read(STDIN_FILENO, into, n);
    if (got <= 0) return false;
    into += got;
    n -= static_cast<size_t>(got);
  }
  return true;
}

std::optional<v1::ServerCompatRequest> read_request() {
  unsigned char length[4];
  if (!read_all(reinterpret_cast<char*>(length), sizeof length)) return std::nullopt;
  const size_t n =
      static_cast<size_t>(length[0]) << 24 | static_cast<size_t>(length[1]) << 16 | static_cast<size_t>(length[2]) << 8 | length[3];
  if (n > kMostRequest) return std::nullopt;
  std::string bytes(n, '\0');
  v1::ServerCompatRequest out;
  if (!read_all(bytes.data(), n) || !out.ParseFromString(bytes)) return std::nullopt;
  return out;
}

void write_response(const v1::ServerCompatResponse& response) {
  const std::string bytes = response.SerializeAsString();
  const auto n = static_cast<uint32_t>(bytes.size());
  std::string all{static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
  all += bytes;
  std::fwrite(all.data(), 1, all.size(), stdout);
  std::fflush(stdout);
}

// The files that a server's TLS wants, for as long as it runs.
class certificate_folder {
 public:
  certificate_folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "warren_conformance_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr)
      throw std::filesystem::filesystem_error(pattern, std::error_code(errno, std::generic_category()));
    path_ = pattern;
  }
  ~certificate_folder() { std::filesystem::remove_all(path_); }
  certificate_folder(const certificate_folder&) = delete;
  certificate_folder& operator=(const certificate_folder&) = delete;

  std::string put(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

void serve(const v1::ServerCompatRequest& request) {
  std::optional<certificate_folder> files;
  v1::ServerCompatResponse response;
  warren::grpc::server_options o;
  o.listen = "127.0.0.1:0";
  if (request.message_receive_limit() != 0) o.max_receive_message = request.message_receive_limit();
  if (request.use_tls()) {
    files.emplace();
    warren::testing::authority::pair own{request.server_creds().cert(), request.server_creds().key()};
    response.set_pem_cert(own.certificate);
    if (own.certificate.empty()) {
      warren::testing::authority signer("conformance");
      own = signer.issue("localhost", "DNS:localhost,IP:127.0.0.1");
      response.set_pem_cert(signer.pem());
    }
    o.tls.certificate = files->put("server.pem", own.certificate);
    o.tls.key = files->put("server.key", own.key);
    if (!request.client_tls_cert().empty()) o.tls.client_ca = files->put("clients.pem", request.client_tls_cert());
  }
  warren::conformance::conformance_service service;
  warren::grpc::server server(o);
  server.add(service);
  server.start();
  const std::string address = server.address();
  const size_t colon = address.rfind(':');
  response.set_host(address.substr(0, colon));
  response.set_port(static_cast<uint32_t>(std::stoul(address.substr(colon + 1))));
  write_response(response);
  // The input's end is the runner's word for stop.
  warren::blocking([] {
    char rest[256];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0) {
    }
  });
  server.shutdown(std::chrono::seconds(1));
}

}  // namespace

int main() {
  const auto request = read_request();
  if (!request) {
    std::fprintf(stderr,
                 "conformance_server: standard input holds no ServerCompatRequest with its length before it; start it by a runner\n");
    return 2;
  }
  if (request->http_version() != v1::HTTP_VERSION_2 || request->protocol() != v1::PROTOCOL_GRPC) {
    std::fprintf(stderr,
                 "conformance_server: the runner asks for HTTP version %d and protocol %d; set versions: [HTTP_VERSION_2], protocols: "
                 "[PROTOCOL_GRPC] in its configuration\n",
                 request->http_version(), request->protocol());
    return 2;
  }
  int code = 0;
  warren::run([&] {
    try {
      serve(*request);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "conformance_server: %s\n", e.what());
      code = 1;
    }
  });
  return code;
}
