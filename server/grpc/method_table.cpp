#include "server/grpc/method_table.h"

#include <algorithm>
#include <stdexcept>

namespace warren::grpc {

void method_table::add(service& s) {
  const std::string name(s.full_name());
  if (std::find(services_.begin(), services_.end(), name) != services_.end()) {
    throw std::logic_error("grpc: service " + name + " was added twice; add one object per service");
  }
  services_.push_back(name);
  for (const method_descriptor& d : s.methods()) {
    method& m = methods_.emplace_back();
    m.service_name = name;
    m.name = d.name;
    m.path = "/" + name + "/" + m.name;
    m.kind = d.kind;
    m.run = d.run;
    m.self = &s;
    m.shards = std::make_unique<method_shard[]>(kCounterShards);
    by_path_.emplace(m.path, &m);
  }
}

void method_table::drop_places() noexcept {
  for (const method& m : methods_) {
    for (unsigned i = 0; i < kCounterShards; i++) delete m.shards[i].place.exchange(nullptr, std::memory_order_acquire);
  }
}

bool method_table::limit(std::string_view path, uint32_t calls) {
  for (method& m : methods_) {
    if (m.path != path) continue;
    m.limit = calls;
    return true;
  }
  return false;
}

std::vector<method_counters> method_table::counters() const {
  std::vector<method_counters> all;
  all.reserve(methods_.size());
  const auto read = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  for (const method& m : methods_) {
    method_counters& out = all.emplace_back();
    out.service = m.service_name;
    out.method = m.name;
    out.kind = m.kind;
    uint64_t ns = 0;
    for (unsigned i = 0; i < kCounterShards; i++) {
      const method_shard& s = m.shards[i];
      out.started += read(s.started);
      out.messages_received += read(s.received);
      out.messages_sent += read(s.sent);
      ns += read(s.latency_ns);
      for (size_t c = 0; c < s.handled.size(); c++) out.handled[c] += read(s.handled[c]);
      for (size_t b = 0; b < s.latency.size(); b++) out.latency[b] += read(s.latency[b]);
    }
    out.latency_seconds = static_cast<double>(ns) / 1e9;
  }
  return all;
}

}  // namespace warren::grpc
