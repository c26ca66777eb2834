// What Prometheus scrapes: warren's figures, and yours beside them.
//
//   warren::admin::metrics m;
//   m.add(warren::admin::runtime_metrics());
//   m.add(warren::admin::process_metrics());
//   m.add(warren::admin::grpc_metrics(grpc_server));
//   auto mine = std::make_shared<prometheus::Registry>();     // a registry is a Collectable: counters of your own
//   m.add(mine);
//   m.serve(admin_server);                                     // GET /metrics
//
// Nothing is kept for the scraper: each scrape reads the counters where they are, per P, and adds them up. It stops nobody.
//
// Names: Go's go_… and process_… where warren has the figure, with Go's meaning, so that dashboards made for Go programs show it;
// grpc_server_… as gRPC's customary Prometheus interceptors name them; warren_… for what Go does not have.
#pragma once
#include <prometheus/collectable.h>

#include <memory>
#include <string>

#include <warren/admin.h>
#include <warren/grpc/server.h>

namespace warren::admin {

// go_… and warren_…: scheduler, heap, collector. Any thread.
std::shared_ptr<prometheus::Collectable> runtime_metrics();

// process_…: what the kernel says of the process. Reads /proc/self inside warren::blocking: collect it on a goroutine.
std::shared_ptr<prometheus::Collectable> process_metrics();

// grpc_server_…, every method and status code from the start at 0, and warren_grpc_… for connections. `s` must outlive the result.
std::shared_ptr<prometheus::Collectable> grpc_metrics(const grpc::server& s);

// A set of collectables and the page made of them. Thread safety: add() and serve() before the first text(), by one goroutine; text() by
// any.
class metrics {
 public:
  metrics();
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  void add(std::shared_ptr<prometheus::Collectable> c);

  // The page in Prometheus's text format, families sorted by name. On a goroutine.
  std::string text() const;

  // Answers GET /metrics of `s` with text(), and counts that in promhttp_metric_handler_…, as Go's handler does. Keeps a reference to both.
  void serve(server& s);

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace warren::admin
