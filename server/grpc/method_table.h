// method_table: from ":path" to the method, and what each method counts.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <warren/grpc/counters.h>
#include <warren/grpc/request_place.h>
#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

#include "server/grpc/limits.h"

namespace warren::grpc {

struct alignas(64) method_shard {
  ~method_shard() { delete place.load(std::memory_order_relaxed); }

  // Where the request of the call that ran last lay: for the next one, which finds it in the cache. (Had each call its own, 10 connections
  // of 100 calls would go round a thousand of them; with requests of 10 KiB that is all of a processor's own cache several times.) Taken
  // and given by one exchange: a call that finds none uses its own, or makes one.
  std::atomic<detail::request_place*> place{nullptr};
  std::atomic<uint64_t> started{0};
  std::array<std::atomic<uint64_t>, kStatusCodes> handled{};
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> sent{0};
  std::array<std::atomic<uint64_t>, kLatencyBounds.size() + 1> latency{};
  std::atomic<uint64_t> latency_ns{0};

  // A call that has ended. took: in ns; negative: its request never came whole.
  void count(status_code code, int64_t took) noexcept {
    const auto n = static_cast<uint32_t>(code);
    handled[n < kStatusCodes ? n : static_cast<uint32_t>(status_code::unknown)].fetch_add(1, std::memory_order_relaxed);
    if (took < 0) return;
    size_t bucket = 0;
    while (bucket < kLatencyBounds.size() && static_cast<double>(took) > kLatencyBounds[bucket] * 1e9) bucket++;
    latency[bucket].fetch_add(1, std::memory_order_relaxed);
    latency_ns.fetch_add(static_cast<uint64_t>(took), std::memory_order_relaxed);
  }
};

struct method {
  std::string path;  // "/helloworld.Greeter/SayHello"
  std::string service_name;
  std::string name;
  method_kind kind;
  trampoline run;
  service* self;
  std::unique_ptr<method_shard[]> shards;
  uint32_t limit = 0;                        // calls at once; 0: counts against the server's limit
  mutable std::atomic<uint32_t> running{0};  // counted only if limit is set

  method_shard& shard(unsigned i) const noexcept { return shards[i % kCounterShards]; }
};

// Filled before the server starts, constant afterwards.
class method_table {
 public:
  // Throws std::logic_error if a service of that name is there already.
  void add(service& s);
  // No call runs, nor will: lets go of what is on the collected heap.
  void drop_places() noexcept;
  // false: there is no such method.
  bool limit(std::string_view path, uint32_t calls);
  const method* find(std::string_view path) const noexcept {
    const auto it = by_path_.find(path);
    return it == by_path_.end() ? nullptr : it->second;
  }
  std::vector<method_counters> counters() const;
  const std::vector<std::string>& services() const noexcept { return services_; }

 private:
  std::deque<method> methods_;
  std::vector<std::string> services_;
  std::unordered_map<std::string_view, const method*> by_path_;
};

}  // namespace warren::grpc
