// The JSON is read by protobuf's own parser into google.protobuf.Struct: the only place in the client that needs protobuf.
#include "server/client/service_config.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <warren/grpc/status.h>

#include "server/client/limits.h"

namespace warren::grpc::client {

namespace {

namespace pb = google::protobuf;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw std::invalid_argument("grpc: service config: " + (where.empty() ? "" : where + ": ") + why);
}

const pb::Value* member(const pb::Struct& of, const char* name) {
  const auto it = of.fields().find(name);
  if (it == of.fields().end() || it->second.kind_case() == pb::Value::kNullValue) return nullptr;
  return &it->second;
}

const pb::Struct& object(const pb::Value& v, const std::string& where) {
  if (v.kind_case() != pb::Value::kStructValue) refuse(where, "must be an object");
  return v.struct_value();
}
const pb::ListValue& list(const pb::Value& v, const std::string& where) {
  if (v.kind_case() != pb::Value::kListValue) refuse(where, "must be an array");
  return v.list_value();
}
const std::string& text(const pb::Value& v, const std::string& where) {
  if (v.kind_case() != pb::Value::kStringValue) refuse(where, "must be a string");
  return v.string_value();
}
bool truth(const pb::Value& v, const std::string& where) {
  if (v.kind_case() != pb::Value::kBoolValue) refuse(where, "must be true or false");
  return v.bool_value();
}
double number(const pb::Value& v, const std::string& where) {
  double n = 0;
  if (v.kind_case() == pb::Value::kNumberValue) {
    n = v.number_value();
  } else if (v.kind_case() == pb::Value::kStringValue) {
    // protobuf's JSON writes 64-bit integers as strings.
    const std::string& s = v.string_value();
    size_t end = 0;
    try {
      n = std::stod(s, &end);
    } catch (const std::exception&) {
      end = s.size() + 1;
    }
    if (end != s.size()) refuse(where, "must be a number, and is \"" + s + "\"");
  } else {
    refuse(where, "must be a number");
  }
  if (!std::isfinite(n)) refuse(where, "must be a finite number");
  return n;
}

// "1.5s", with up to nine decimals.
int64_t duration(const pb::Value& v, const std::string& where) {
  const std::string& s = text(v, where);
  const auto bad = [&] { refuse(where, "must be a duration like \"1.5s\", and is \"" + s + "\""); };
  if (s.size() < 2 || s.back() != 's') bad();
  int64_t ns = 0;
  int64_t unit = 1'000'000'000;
  bool point = false;
  bool digit = false;
  for (const char c : std::string_view(s).substr(0, s.size() - 1)) {
    if (c == '.' && !point) {
      point = true;
    } else if (c < '0' || c > '9') {
      bad();
    } else if (!point) {
      if (ns > INT64_MAX / 20) bad();
      ns = ns * 10 + (c - '0') * unit;
      digit = true;
    } else {
      unit /= 10;
      if (unit == 0) bad();
      ns += (c - '0') * unit;
      digit = true;
    }
  }
  if (!digit) bad();
  return ns;
}

status_code code(const pb::Value& v, const std::string& where) {
  static constexpr const char* names[kStatusCodes] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  if (v.kind_case() == pb::Value::kNumberValue) {
    const double n = v.number_value();
    if (n >= 0 && n < kStatusCodes && n == std::floor(n)) return static_cast<status_code>(static_cast<int>(n));
    refuse(where, "is no status code");
  }
  std::string upper = text(v, where);
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  for (int i = 0; i < kStatusCodes; i++) {
    if (upper == names[i]) return static_cast<status_code>(i);
  }
  refuse(where, "\"" + upper + "\" is no status code; write for example \"UNAVAILABLE\"");
}

uint32_t codes(const pb::Struct& of, const char* name, const std::string& where) {
  uint32_t set = 0;
  const pb::Value* const v = member(of, name);
  if (v == nullptr) return 0;
  for (const pb::Value& c : list(*v, where + "." + name).values()) set |= 1u << static_cast<uint32_t>(code(c, where + "." + name));
  return set;
}

const pb::Value& needed(const pb::Struct& of, const char* name, const std::string& where) {
  const pb::Value* const v = member(of, name);
  if (v == nullptr) refuse(where, std::string(name) + " is missing");
  return *v;
}

int attempts(const pb::Struct& of, const std::string& where) {
  const double n = number(needed(of, "maxAttempts", where), where + ".maxAttempts");
  if (n < 2 || n != std::floor(n)) refuse(where + ".maxAttempts", "must be an integer of at least 2");
  return static_cast<int>(std::min<double>(n, kMostAttempts));
}

retry_policy retry(const pb::Struct& of, const std::string& where) {
  retry_policy p;
  p.max_attempts = attempts(of, where);
  p.initial_backoff_ns = duration(needed(of, "initialBackoff", where), where + ".initialBackoff");
  p.max_backoff_ns = duration(needed(of, "maxBackoff", where), where + ".maxBackoff");
  p.multiplier = number(needed(of, "backoffMultiplier", where), where + ".backoffMultiplier");
  p.retryable = codes(of, "retryableStatusCodes", where);
  if (p.initial_backoff_ns <= 0 || p.max_backoff_ns <= 0) refuse(where, "initialBackoff and maxBackoff must be above 0");
  if (p.multiplier <= 0) refuse(where + ".backoffMultiplier", "must be above 0");
  if (p.retryable == 0) refuse(where, "retryableStatusCodes is missing or empty");
  return p;
}

hedging_policy hedging(const pb::Struct& of, const std::string& where) {
  hedging_policy p;
  p.max_attempts = attempts(of, where);
  if (const pb::Value* const v = member(of, "hedgingDelay")) p.delay_ns = duration(*v, where + ".hedgingDelay");
  p.non_fatal = codes(of, "nonFatalStatusCodes", where);
  return p;
}

uint32_t size_limit(const pb::Value& v, const std::string& where) {
  const double n = number(v, where);
  if (n < 0 || n > UINT32_MAX) refuse(where, "must be between 0 and 4294967295");
  return static_cast<uint32_t>(n);
}

method_config method(const pb::Struct& of, const std::string& where) {
  method_config m;
  if (const pb::Value* const v = member(of, "waitForReady")) m.wait_for_ready = truth(*v, where + ".waitForReady");
  if (const pb::Value* const v = member(of, "timeout")) m.timeout_ns = duration(*v, where + ".timeout");
  if (const pb::Value* const v = member(of, "maxRequestMessageBytes")) m.max_request = size_limit(*v, where + ".maxRequestMessageBytes");
  if (const pb::Value* const v = member(of, "maxResponseMessageBytes")) m.max_response = size_limit(*v, where + ".maxResponseMessageBytes");
  const pb::Value* const r = member(of, "retryPolicy");
  const pb::Value* const h = member(of, "hedgingPolicy");
  if (r != nullptr && h != nullptr) refuse(where, "retryPolicy and hedgingPolicy exclude each other; choose one");
  if (r != nullptr) m.retry = retry(object(*r, where + ".retryPolicy"), where + ".retryPolicy");
  if (h != nullptr) m.hedging = hedging(object(*h, where + ".hedgingPolicy"), where + ".hedgingPolicy");
  return m;
}

}  // namespace

const method_config* service_config::find(std::string_view path) const {
  auto it = methods.find(path);
  if (it == methods.end()) it = methods.find(path.substr(0, path.rfind('/') + 1));
  if (it == methods.end()) it = methods.find("");
  return it == methods.end() ? nullptr : &it->second;
}

service_config parse_service_config(std::string_view json) {
  service_config out;
  if (json.empty()) return out;
  pb::Struct root;
  const auto parsed = pb::util::JsonStringToMessage({json.data(), json.size()}, &root);
  if (!parsed.ok()) refuse("", "this is not JSON: " + std::string(parsed.message()));

  if (const pb::Value* const v = member(root, "loadBalancingPolicy")) {
    out.load_balancing = text(*v, "loadBalancingPolicy");
    for (char& c : out.load_balancing) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (const pb::Value* const v = member(root, "loadBalancingConfig")) {
    // The first that is known counts.
    std::string found;
    for (const pb::Value& one : list(*v, "loadBalancingConfig").values()) {
      const pb::Struct& o = object(one, "loadBalancingConfig");
      if (o.fields().size() != 1) refuse("loadBalancingConfig", "each element is an object with one member, the policy's name");
      const std::string& name = o.fields().begin()->first;
      if (found.empty() && (name == "pick_first" || name == "round_robin")) found = name;
    }
    if (found.empty()) refuse("loadBalancingConfig", "no policy in it is known; use pick_first or round_robin");
    out.load_balancing = found;
  }
  if (!out.load_balancing.empty() && out.load_balancing != "pick_first" && out.load_balancing != "round_robin") {
    refuse("loadBalancingPolicy", "\"" + out.load_balancing + "\" is not known; use pick_first or round_robin");
  }

  if (const pb::Value* const v = member(root, "retryThrottling")) {
    const pb::Struct& o = object(*v, "retryThrottling");
    out.throttle.max_tokens = number(needed(o, "maxTokens", "retryThrottling"), "retryThrottling.maxTokens");
    out.throttle.token_ratio = number(needed(o, "tokenRatio", "retryThrottling"), "retryThrottling.tokenRatio");
    if (out.throttle.max_tokens <= 0 || out.throttle.max_tokens > 1000)
      refuse("retryThrottling.maxTokens", "must be above 0 and at most 1000");
    if (out.throttle.token_ratio <= 0 || out.throttle.token_ratio > 1000)
      refuse("retryThrottling.tokenRatio", "must be above 0 and at most 1000");
  }

  if (const pb::Value* const v = member(root, "methodConfig")) {
    int n = 0;
    for (const pb::Value& one : list(*v, "methodConfig").values()) {
      const std::string where = "methodConfig[" + std::to_string(n++) + "]";
      const pb::Struct& o = object(one, where);
      const method_config m = method(o, where);
      const pb::Value* const names = member(o, "name");
      if (names == nullptr) continue;
      for (const pb::Value& name : list(*names, where + ".name").values()) {
        const pb::Struct& named = object(name, where + ".name");
        const pb::Value* const service = member(named, "service");
        const pb::Value* const method_name = member(named, "method");
        const std::string s = service == nullptr ? "" : text(*service, where + ".name.service");
        const std::string t = method_name == nullptr ? "" : text(*method_name, where + ".name.method");
        if (s.empty() && !t.empty()) refuse(where + ".name", "there is a method without a service");
        const std::string key = s.empty() ? "" : "/" + s + "/" + t;
        if (!out.methods.emplace(key, m).second) refuse(where + ".name", "'" + key + "' is configured twice");
      }
    }
  }
  return out;
}

}  // namespace warren::grpc::client
