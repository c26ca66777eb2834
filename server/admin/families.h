// Making prometheus::MetricFamily values, a line each.
#pragma once
#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

namespace warren::admin {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

inline ClientMetric gauge_sample(double value, labels l = {}) {
  ClientMetric m;
  m.label = std::move(l);
  m.gauge.value = value;
  return m;
}

inline ClientMetric counter_sample(double value, labels l = {}) {
  ClientMetric m;
  m.label = std::move(l);
  m.counter.value = value;
  return m;
}

// The list of families that a collectable hands over.
class families {
 public:
  void gauge(std::string name, std::string help, double value, labels l = {}) {
    family(std::move(name), std::move(help), MetricType::Gauge).metric.push_back(gauge_sample(value, std::move(l)));
  }
  void counter(std::string name, std::string help, double value, labels l = {}) {
    family(std::move(name), std::move(help), MetricType::Counter).metric.push_back(counter_sample(value, std::move(l)));
  }
  // An empty family to fill. The reference is valid until the next family is added.
  MetricFamily& family(std::string name, std::string help, MetricType type) {
    list_.push_back({std::move(name), std::move(help), type, {}});
    return list_.back();
  }
  std::vector<MetricFamily> take() { return std::move(list_); }

 private:
  std::vector<MetricFamily> list_;
};

}  // namespace warren::admin
