#include <prometheus/text_serializer.h>

#include <algorithm>
#include <atomic>
#include <sstream>
#include <utility>
#include <vector>

#include <warren/metrics.h>

#include "server/admin/families.h"

namespace warren::admin {

struct metrics::state {
  std::vector<std::shared_ptr<prometheus::Collectable>> parts;
};

namespace {

// Go's promhttp counts its own requests; the codes it can answer exist from the start.
class scrape_metrics final : public prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override {
    families f;
    f.gauge("promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served.",
            static_cast<double>(in_flight.load(std::memory_order_relaxed)));
    auto& total = f.family("promhttp_metric_handler_requests_total", "Total number of scrapes by HTTP status code.", MetricType::Counter);
    total.metric.push_back(counter_sample(static_cast<double>(ok.load(std::memory_order_relaxed)), {{"code", "200"}}));
    total.metric.push_back(counter_sample(static_cast<double>(failed.load(std::memory_order_relaxed)), {{"code", "500"}}));
    return f.take();
  }

  std::atomic<int64_t> in_flight{0};
  std::atomic<uint64_t> ok{0};
  std::atomic<uint64_t> failed{0};
};

std::string text_of(const std::vector<std::shared_ptr<prometheus::Collectable>>& parts) {
  std::vector<MetricFamily> all;
  for (const auto& part : parts) {
    for (MetricFamily& f : part->Collect()) {
      if (!f.metric.empty()) all.push_back(std::move(f));
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const MetricFamily& a, const MetricFamily& b) { return a.name < b.name; });
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return std::move(out).str();
}

}  // namespace

metrics::metrics() : state_(std::make_shared<state>()) {}
metrics::~metrics() = default;

void metrics::add(std::shared_ptr<prometheus::Collectable> c) { state_->parts.push_back(std::move(c)); }

std::string metrics::text() const { return text_of(state_->parts); }

void metrics::serve(server& s) {
  auto own = std::make_shared<scrape_metrics>();
  add(own);
  s.handle("/metrics", "figures for Prometheus", [own, state = state_](const request&) {
    own->in_flight.fetch_add(1, std::memory_order_relaxed);
    response r;
    try {
      r.body = text_of(state->parts);
      // The page counts the scrapes before it; itself it counts once it is made.
      own->ok.fetch_add(1, std::memory_order_relaxed);
      own->in_flight.fetch_sub(1, std::memory_order_relaxed);
    } catch (...) {
      own->failed.fetch_add(1, std::memory_order_relaxed);
      own->in_flight.fetch_sub(1, std::memory_order_relaxed);
      throw;
    }
    r.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return r;
  });
}

}  // namespace warren::admin
