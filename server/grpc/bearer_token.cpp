#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <warren/grpc/bearer_token.h>

namespace warren::grpc {

namespace {

constinit context_key<std::string> subject_key;

using digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

digest digest_of(std::string_view token) {
  digest d;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), d.data());
  return d;
}

// The call as the handler sees it: its context knows whose token it came with.
class named_context final : public forwarding_context {
 public:
  named_context(server_context& to, const std::string& subject) noexcept : forwarding_context(to), subject_(subject) {}
  warren::context as_context() override { return with_value(to_.as_context(), subject_key, subject_); }

 private:
  const std::string& subject_;
};

class named_call final : public forwarding_call {
 public:
  named_call(server_call& to, const std::string& subject) noexcept : forwarding_call(to), context_(to.context(), subject) {}
  server_context& context() noexcept override { return context_; }

 private:
  named_context context_;
};

}  // namespace

// Digests only: what lies in memory for years is not the tokens.
struct bearer_token_interceptor::table {
  std::vector<std::pair<digest, std::string>> known;

  explicit table(const std::vector<known_token>& tokens) {
    for (const known_token& t : tokens) {
      if (t.token.empty()) throw std::invalid_argument("grpc: an empty bearer token would let everybody in; leave it out");
      known.emplace_back(digest_of(t.token), t.subject);
    }
  }

  const std::string* find(std::string_view token) const noexcept {
    // All are looked at, whichever it is; the digest's bytes tell nothing about the token's even where they are the same.
    const digest d = digest_of(token);
    const std::string* found = nullptr;
    for (const auto& [other, subject] : known) {
      if (CRYPTO_memcmp(d.data(), other.data(), d.size()) == 0) found = &subject;
    }
    return found;
  }
};

bearer_token_interceptor::bearer_token_interceptor(const std::vector<known_token>& tokens, options o)
    : options_(std::move(o)), table_(std::make_shared<const table>(tokens)) {}

bearer_token_interceptor::~bearer_token_interceptor() = default;

void bearer_token_interceptor::replace(const std::vector<known_token>& tokens) {
  auto made = std::make_shared<const table>(tokens);
  lock_guard hold(mutex_);
  table_.swap(made);
}

bool bearer_token_interceptor::exempt(std::string_view method) const noexcept {
  return std::any_of(options_.exempt.begin(), options_.exempt.end(), [&](std::string_view e) {
    if (!e.ends_with("/*")) return e == method;
    e.remove_suffix(1);
    return method.starts_with(e);
  });
}

const std::string* bearer_token_interceptor::subject(const context& ctx) noexcept { return ctx.value(subject_key); }

status bearer_token_interceptor::intercept(server_call& call, const next& proceed) {
  if (exempt(call.context().method())) return proceed(call);
  const auto sent = call.context().metadata().find_all("authorization");
  constexpr std::string_view scheme = "bearer ";
  const auto is_bearer = [&](std::string_view value) {
    return value.size() > scheme.size() && std::equal(scheme.begin(), scheme.end(), value.begin(), [](char want, char got) {
             return want == (got >= 'A' && got <= 'Z' ? static_cast<char>(got - 'A' + 'a') : got);
           });
  };
  if (sent.size() != 1 || !is_bearer(sent[0])) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return unauthenticated(sent.size() > 1 ? "there is more than one authorization; send one"
                                           : "there is no bearer token; send metadata 'authorization: Bearer TOKEN'");
  }
  std::string_view token = sent[0].substr(scheme.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  std::shared_ptr<const table> now;
  {
    lock_guard hold(mutex_);
    now = table_;
  }
  const std::string* const subject = now->find(token);
  if (subject == nullptr) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return unauthenticated("the bearer token is not known here; ask the service's operators for another");
  }
  named_call named(call, *subject);
  return proceed(named);
}

}  // namespace warren::grpc
