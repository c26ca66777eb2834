// Each load reads every file once, into memory, and makes a new SSL_CTX of what it read; nothing of the old one is changed, so handshakes
// under way are not disturbed, and a load that fails (a certificate without its key yet, half a file) leaves everything as it was. Whoever
// renews certificates replaces two files one after the other: between the two the pair does not match, the load fails, and the next look
// finds the second file changed and succeeds.
//
// A new SSL_CTX also has new ticket keys: a session that was made under the old authorities cannot be resumed under the new ones, so taking
// an authority out of client_ca takes effect with the next connection of each client.
//
// Files are looked at by stat, not watched (inotify): it works on every file system that certificates lie on (network, overlay, Kubernetes'
// links), and a look every 10 s costs nothing.
#include "server/grpc/tls_credentials.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <asio/ip/address.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <system_error>
#include <utility>

#include <warren/go.h>
#include <warren/tls.h>

namespace warren::grpc {

namespace {

// A chain of certificates is a few KiB, a bundle of all public authorities 200. More is a mistake, and is not read into memory.
constexpr size_t kMostBytes = 4 << 20;

// HTTP/2 forbids most suites of TLS 1.2 (RFC 9113 §9.2.2, appendix A); these are what is left that anybody uses. TLS 1.3's are all good.
constexpr const char* kSuites = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct deleter {
  void operator()(X509* x) const { X509_free(x); }
  void operator()(BIO* b) const { BIO_free(b); }
  void operator()(GENERAL_NAMES* n) const { GENERAL_NAMES_free(n); }
  void operator()(BIGNUM* n) const { BN_free(n); }
};
template <class T>
using owned = std::unique_ptr<T, deleter>;

[[noreturn]] void wrong(const char* what, const std::string& file, const std::string& why) {
  throw tls_error(std::string("TLS ") + what + " " + file + ": " + why);
}

// OpenSSL's reason, without its numbers.
std::string reason() {
  const unsigned long e = ERR_peek_error();
  const char* text = e == 0 ? nullptr : ERR_reason_error_string(e);
  ERR_clear_error();
  return text == nullptr ? "not usable" : text;
}

std::string read_file(const char* what, const std::string& name) {
  std::string bytes;
  const int error = [&] {
    std::FILE* f = std::fopen(name.c_str(), "rbe");
    if (f == nullptr) return errno;
    char block[16 << 10];
    size_t n;
    while ((n = std::fread(block, 1, sizeof block, f)) > 0 && bytes.size() <= kMostBytes) bytes.append(block, n);
    const int failed = std::ferror(f) != 0 ? errno : 0;
    std::fclose(f);
    return failed;
  }();
  if (error != 0) wrong(what, name, std::generic_category().message(error) + "; give a PEM file that this process may read");
  if (bytes.size() > kMostBytes) wrong(what, name, "more than 4 MiB; give a PEM file");
  if (bytes.find("-----BEGIN ") == bytes.npos) wrong(what, name, "there is no PEM block in it; convert it with openssl");
  return bytes;
}

int64_t seconds_of(const ASN1_TIME* t) {
  std::tm parts{};
  return ASN1_TIME_to_tm(t, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

// What a BIO in memory has gathered.
std::string text_of(BIO* b) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(b, &data);
  return n > 0 ? std::string(data, static_cast<size_t>(n)) : std::string();
}

}  // namespace

struct tls_credentials::loaded {
  std::shared_ptr<asio::ssl::context> context;
  int64_t expires = 0;
};

tls_credentials::tls_credentials(const tls_options& options) : options_(options) {
  if (options_.certificate.empty() || options_.key.empty()) {
    throw tls_error(std::string("TLS: there is no ") + (options_.certificate.empty() ? "certificate" : "key") +
                    "; a server needs both a certificate and its key");
  }
  seen_ = look();
  take(load());
}

std::shared_ptr<asio::ssl::context> tls_credentials::current() const {
  std::lock_guard hold(mutex_);
  return current_;
}

void tls_credentials::take(loaded made) {
  expires_.store(made.expires, std::memory_order_relaxed);
  std::lock_guard hold(mutex_);
  current_.swap(made.context);  // the old one goes after the lock was let go: it may be the last reference
}

void tls_credentials::reload() {
  const files_state now = look();
  {
    std::lock_guard hold(mutex_);
    seen_ = now;
  }
  try {
    take(load());
  } catch (...) {
    failures_.fetch_add(1, std::memory_order_relaxed);
    throw;
  }
  reloads_.fetch_add(1, std::memory_order_relaxed);
}

bool tls_credentials::reload_if_changed() {
  const files_state now = look();
  {
    std::lock_guard hold(mutex_);
    if (now == seen_) return false;
  }
  reload();
  return true;
}

tls_credentials::files_state tls_credentials::look() const {
  return blocking([&] {
    const auto one = [](const std::string& name) {
      struct stat s {};
      if (name.empty() || ::stat(name.c_str(), &s) != 0) return file_state{};
      const auto ns = [](const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
      return file_state{s.st_dev, s.st_ino, static_cast<uint64_t>(s.st_size), ns(s.st_mtim), ns(s.st_ctim)};
    };
    return files_state{one(options_.certificate), one(options_.key), one(options_.client_ca)};
  });
}

tls_credentials::loaded tls_credentials::load() const {
  std::string certificate, key, client_ca;
  blocking([&] {
    certificate = read_file("certificate", options_.certificate);
    key = read_file("key", options_.key);
    if (!options_.client_ca.empty()) client_ca = read_file("client CA", options_.client_ca);
  });
  ERR_clear_error();
  auto made = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX* const c = made->native_handle();
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(c, kSuites);
  SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION);
  alpn_server(*made, {"h2"}, true);
  // Sessions are resumed by tickets, which cost the server no memory. Without a context id OpenSSL refuses to resume with mTLS.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  static constexpr std::string_view id = "warren::grpc";
  SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>(id.data()), static_cast<unsigned>(id.size()));
  // A key with a passphrase would make OpenSSL ask for it on the terminal.
  SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return -1; });

  asio::error_code ec;
  made->use_certificate_chain(asio::buffer(certificate), ec);
  if (ec) wrong("certificate", options_.certificate, ec.message() + "; give a certificate in PEM form");
  made->use_private_key(asio::buffer(key), asio::ssl::context::pem, ec);
  if (ec) {
    // Its own key or another's: the usual mistake deserves its own words.
    ERR_clear_error();
    const owned<BIO> b(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
    EVP_PKEY* const alone = PEM_read_bio_PrivateKey(
        b.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr);
    const bool readable = alone != nullptr;
    EVP_PKEY_free(alone);
    ERR_clear_error();
    if (!readable) wrong("key", options_.key, ec.message() + "; give a private key in PEM form without a passphrase");
    wrong("key", options_.key, "it is not the key of " + options_.certificate + "; give the pair that was made together");
  }
  if (SSL_CTX_check_private_key(c) != 1) {
    ERR_clear_error();
    wrong("key", options_.key, "it is not the key of " + options_.certificate + "; give the pair that was made together");
  }
  if (!client_ca.empty()) {
    const owned<BIO> b(BIO_new_mem_buf(client_ca.data(), static_cast<int>(client_ca.size())));
    size_t found = 0;
    while (const owned<X509> x{PEM_read_bio_X509(b.get(), nullptr, nullptr, nullptr)}) {
      // The names go to the client, which chooses its certificate by them.
      if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c), x.get()) != 1 || SSL_CTX_add_client_CA(c, x.get()) != 1) {
        wrong("client CA", options_.client_ca, reason());
      }
      found++;
    }
    const unsigned long end = ERR_peek_last_error();
    if (found == 0 || ERR_GET_REASON(end) != PEM_R_NO_START_LINE) {
      wrong("client CA", options_.client_ca, reason() + "; give certificates in PEM form");
    }
    ERR_clear_error();
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | (options_.require_client_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  }
  return {std::move(made), seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(c)))};
}

// --- what a handshake has found out ------------------------------------------------------------------------------------------------------

namespace {

std::string name_text(const X509_NAME* name) {
  const owned<BIO> b(BIO_new(BIO_s_mem()));
  // UTF-8 as it is, everything else of RFC 2253: control characters and the separators are escaped.
  X509_NAME_print_ex(b.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  return text_of(b.get());
}

// Nothing for a text with a NUL: "good.example\0.evil.example" must not be read as its beginning.
void add_text(std::vector<std::string>& to, const ASN1_STRING* s) {
  std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), static_cast<size_t>(ASN1_STRING_length(s)));
  if (!text.empty() && text.find('\0') == text.npos) to.push_back(std::move(text));
}

void add_address(std::vector<std::string>& to, const ASN1_STRING* s) {
  const unsigned char* const p = ASN1_STRING_get0_data(s);
  asio::ip::address a;
  if (ASN1_STRING_length(s) == 4) {
    asio::ip::address_v4::bytes_type bytes;
    std::memcpy(bytes.data(), p, bytes.size());
    a = asio::ip::address_v4(bytes);
  } else if (ASN1_STRING_length(s) == 16) {
    asio::ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), p, bytes.size());
    a = asio::ip::address_v6(bytes);
  } else {
    return;
  }
  to.push_back(a.to_string());
}

std::string common_name(const X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  std::string text;
  if (n > 0) text.assign(reinterpret_cast<const char*>(utf8), static_cast<size_t>(n));
  OPENSSL_free(utf8);
  return text.find('\0') == text.npos ? text : std::string();
}

std::string hex(const unsigned char* bytes, size_t n) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < n; i++) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

void describe(X509* x, tls_info& to) {
  to.has_certificate = true;
  to.subject = name_text(X509_get_subject_name(x));
  to.issuer = name_text(X509_get_issuer_name(x));
  to.common_name = common_name(X509_get_subject_name(x));
  const owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); i++) {
    const GENERAL_NAME* const n = sk_GENERAL_NAME_value(names.get(), i);
    switch (n->type) {
      case GEN_DNS: add_text(to.dns_names, n->d.dNSName); break;
      case GEN_URI: add_text(to.uris, n->d.uniformResourceIdentifier); break;
      case GEN_EMAIL: add_text(to.emails, n->d.rfc822Name); break;
      case GEN_IPADD: add_address(to.ip_addresses, n->d.iPAddress); break;
      default: break;
    }
  }
  const owned<BIGNUM> serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), nullptr));
  if (char* const text = serial == nullptr ? nullptr : BN_bn2hex(serial.get())) {
    to.serial = text;
    OPENSSL_free(text);
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(x, EVP_sha256(), digest, &size) == 1) to.fingerprint = hex(digest, size);
  unsigned char* der = nullptr;
  const int n = i2d_X509(x, &der);
  if (n > 0) to.der.assign(reinterpret_cast<const char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  ERR_clear_error();
}

}  // namespace

tls_info tls_info_of(void* handle) {
  auto* const ssl = static_cast<SSL*>(handle);
  tls_info info;
  info.protocol = SSL_get_version(ssl);
  info.cipher = SSL_get_cipher_name(ssl);
  if (X509* const x = SSL_get0_peer_certificate(ssl)) describe(x, info);
  return info;
}

tls_info tls_info_of_pem(std::string_view certificate) {
  tls_info info;
  const owned<BIO> b(BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size())));
  if (const owned<X509> x{PEM_read_bio_X509(b.get(), nullptr, nullptr, nullptr)}) describe(x.get(), info);
  ERR_clear_error();
  return info;
}

}  // namespace warren::grpc
