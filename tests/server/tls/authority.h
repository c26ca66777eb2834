// An authority and the certificates it signs, made when the test runs: nothing that expires lies in the repository.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string>
#include <utility>

namespace warren::testing {

class authority {
 public:
  struct pair {
    std::string certificate;  // PEM
    std::string key;          // PEM
  };

  explicit authority(const std::string& name) : key_(EVP_EC_gen("P-256")), self_(make(name, key_, "", "critical,CA:TRUE", 3600)) {
    X509_set_issuer_name(self_, X509_get_subject_name(self_));
    X509_sign(self_, key_, EVP_sha256());
  }
  ~authority() {
    X509_free(self_);
    EVP_PKEY_free(key_);
  }
  authority(const authority&) = delete;
  authority& operator=(const authority&) = delete;

  std::string pem() const {
    return text([&](BIO* b) { PEM_write_bio_X509(b, self_); });
  }

  // names: of OpenSSL's configuration, "DNS:a,URI:spiffe://x/y,IP:127.0.0.1,email:a@b"; empty for none. Valid for so many seconds from now;
  // below 0: it has expired.
  pair issue(const std::string& name, const std::string& names, long seconds = 3600, const char* password = nullptr) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* x = make(name, key, names, "critical,CA:FALSE", seconds);
    X509_set_issuer_name(x, X509_get_subject_name(self_));
    X509_sign(x, key_, EVP_sha256());
    pair out;
    out.certificate = text([&](BIO* b) { PEM_write_bio_X509(b, x); });
    out.key = text([&](BIO* b) {
      PEM_write_bio_PrivateKey(b, key, password == nullptr ? nullptr : EVP_aes_128_cbc(), nullptr, 0, nullptr, const_cast<char*>(password));
    });
    X509_free(x);
    EVP_PKEY_free(key);
    return out;
  }

 private:
  static inline long next_serial = 0xabc1;

  static X509* make(const std::string& name, EVP_PKEY* key, const std::string& names, const char* constraints, long seconds) {
    X509* x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), next_serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    X509_set_pubkey(x, key);
    X509_NAME* subject = X509_get_subject_name(x);
    const auto add = [&](const char* field, const std::string& value) {
      X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                 static_cast<int>(value.size()), -1, 0);
    };
    add("O", "Example");
    add("CN", name);
    add_extension(x, NID_basic_constraints, constraints);
    if (!names.empty()) add_extension(x, NID_subject_alt_name, names.c_str());
    return x;
  }
  static void add_extension(X509* x, int nid, const char* value) {
    X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
  }
  template <class F>
  static std::string text(F write) {
    BIO* b = BIO_new(BIO_s_mem());
    write(b);
    char* data = nullptr;
    const long size = BIO_get_mem_data(b, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(b);
    return out;
  }

  EVP_PKEY* key_;
  X509* self_;
};

}  // namespace warren::testing
