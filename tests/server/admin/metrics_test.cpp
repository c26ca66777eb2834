#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/grpc.h>
#include <warren/metrics.h>
#include <warren/ptr.h>

#include "grpc/health/v1/health.warren.h"

namespace {

using namespace warren::admin;

// The line that begins with `series `, or "".
std::string line(const std::string& page, const std::string& series) {
  const size_t at = ("\n" + page).find("\n" + series + " ");
  if (at == std::string::npos) return "";
  return page.substr(at, page.find('\n', at) - at);
}

double value(const std::string& page, const std::string& series) {
  const std::string l = line(page, series);
  EXPECT_NE(l, "") << series << " is missing";
  return l.empty() ? -1 : std::stod(l.substr(series.size() + 1));
}

TEST(metrics, families_are_sorted_and_every_one_has_help_and_type) {
  warren::run([] {
    metrics m;
    m.add(process_metrics());
    m.add(runtime_metrics());
    const std::string page = m.text();
    std::string last, helped;
    for (size_t at = 0; at < page.size();) {
      const size_t end = page.find('\n', at);
      const std::string l = page.substr(at, end - at);
      at = end + 1;
      if (l.starts_with("# HELP ")) {
        helped = l.substr(7, l.find(' ', 7) - 7);
        EXPECT_LT(last, helped);
        EXPECT_GT(l.size(), 7 + helped.size() + 1) << l;
        last = helped;
      } else if (l.starts_with("# TYPE ")) {
        EXPECT_EQ(l.substr(7, l.find(' ', 7) - 7), helped);
      } else {
        EXPECT_TRUE(l.starts_with(helped)) << l;
      }
    }
  });
}

TEST(metrics, memory_figures_add_up) {
  warren::run([] {
    metrics m;
    m.add(runtime_metrics());
    const int64_t was = warren::set_memory_limit(int64_t{3} << 30);
    std::string page = m.text();
    EXPECT_EQ(value(page, "go_gc_gomemlimit_bytes"), 3.0 * (1 << 30));
    warren::set_memory_limit(INT64_MAX);
    {
      warren::array<char> big = warren::make_array<char>(32 << 20);
      big[0] = 1;
    }
    warren::free_os_memory();
    page = m.text();
    warren::set_memory_limit(was);
    EXPECT_GE(value(page, "go_gc_gomemlimit_bytes"), 9.2e18) << "none";
    const auto of = [&](const char* name) { return value(page, std::string("go_memstats_") + name); };
    EXPECT_GT(of("heap_released_bytes"), 0);
    EXPECT_LE(of("heap_released_bytes"), of("heap_idle_bytes"));
    EXPECT_EQ(of("heap_idle_bytes") + of("heap_inuse_bytes"), of("heap_sys_bytes"));
    EXPECT_EQ(of("heap_sys_bytes") + of("gc_sys_bytes") + of("stack_sys_bytes"), of("sys_bytes"));
    EXPECT_EQ(of("stack_inuse_bytes") + value(page, "warren_stack_idle_bytes"), of("stack_sys_bytes"));
    EXPECT_LE(value(page, "warren_stack_released_bytes"), value(page, "warren_stack_idle_bytes"));
    EXPECT_EQ(value(page, "warren_heap_external_bytes"), 0) << "nobody has kept a request";
    EXPECT_GE(value(page, "warren_heap_released_bytes_total"), 0) << "pages never touched count as released, and were not given back";
    EXPECT_GT(value(page, "warren_memory_bytes"), 0);
    EXPECT_LE(value(page, "warren_memory_bytes"), of("sys_bytes"));
    EXPECT_EQ(value(page, "warren_heap_release_failures_total"), 0);
    EXPECT_EQ(value(page, "warren_gc_memory_limit_missed_total"), 0);
  });
}

TEST(metrics, runtime_figures_are_those_of_the_runtime) {
  warren::run([] {
    metrics m;
    m.add(runtime_metrics());
    EXPECT_EQ(value(m.text(), "go_sched_gomaxprocs_threads"), warren::maxprocs());
    const double forced = value(m.text(), "go_gc_cycles_forced_gc_cycles_total");
    warren::gc();
    const std::string page = m.text();
    EXPECT_EQ(value(page, "go_gc_cycles_forced_gc_cycles_total"), forced + 1);
    EXPECT_EQ(value(page, "warren_gc_collections_total{trigger=\"manual\"}"), forced + 1);
    // One pause in mode stw; else one at the beginning, one at the end, and one for each attempt to end that found more to mark.
    EXPECT_EQ(value(page, "warren_gc_pause_seconds_count"), 2 * value(page, "go_gc_cycles_total_gc_cycles_total") -
                                                                value(page, "warren_gc_cycles_total{mode=\"stw\"}") +
                                                                value(page, "warren_gc_rounds_total"));
    EXPECT_EQ(value(page, "warren_gc_pause_seconds_bucket{le=\"+Inf\"}"), value(page, "warren_gc_pause_seconds_count"));
    // Quantiles do not fall, and end at the longest pause.
    double last = 0;
    for (const char* q : {"0", "0.25", "0.5", "0.75", "1"}) {
      const double v = value(page, "go_gc_duration_seconds{quantile=\"" + std::string(q) + "\"}");
      EXPECT_GE(v, last);
      last = v;
    }
    EXPECT_EQ(last, value(page, "warren_gc_max_pause_seconds"));
    EXPECT_GE(value(page, "go_goroutines"), 1);
  });
}

TEST(metrics, process_figures_are_plausible) {
  warren::run([] {
    metrics m;
    m.add(process_metrics());
    const std::string page = m.text();
    EXPECT_GT(value(page, "process_cpu_seconds_total"), -1);
    EXPECT_GT(value(page, "process_resident_memory_bytes"), 1e5);
    EXPECT_GT(value(page, "process_virtual_memory_bytes"), value(page, "process_resident_memory_bytes"));
    EXPECT_GE(value(page, "process_open_fds"), 3);
    EXPECT_GE(value(page, "process_max_fds"), value(page, "process_open_fds"));
    EXPECT_GT(value(page, "process_start_time_seconds"), 1.7e9);
  });
}

TEST(metrics, grpc_series_exist_at_zero_before_the_first_call) {
  warren::run([] {
    warren::grpc::server s;
    ::grpc::health::v1::HealthService health;
    s.add(health);
    metrics m;
    m.add(grpc_metrics(s));
    const std::string page = m.text();
    for (const char* code : {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
                             "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
                             "Internal", "Unavailable", "DataLoss", "Unauthenticated"}) {
      EXPECT_EQ(value(page,
                      "grpc_server_handled_total{grpc_type=\"server_stream\",grpc_service=\"grpc.health.v1.Health\",grpc_method=\"Watch\","
                      "grpc_code=\"" +
                          std::string(code) + "\"}"),
                0);
    }
    const std::string check = "{grpc_type=\"unary\",grpc_service=\"grpc.health.v1.Health\",grpc_method=\"Check\"";
    EXPECT_EQ(value(page, "grpc_server_started_total" + check + "}"), 0);
    EXPECT_EQ(value(page, "grpc_server_handling_seconds_bucket" + check + ",le=\"+Inf\"}"), 0);
    EXPECT_EQ(value(page, "grpc_server_handling_seconds_sum" + check + "}"), 0);
  });
}

TEST(metrics, a_registry_of_ones_own_is_on_the_page_too) {
  warren::run([] {
    auto registry = std::make_shared<prometheus::Registry>();
    prometheus::BuildCounter().Name("orders_total").Help("Orders taken.").Register(*registry).Add({{"kind", "tea"}}).Increment(2);
    metrics m;
    m.add(registry);
    EXPECT_EQ(value(m.text(), "orders_total{kind=\"tea\"}"), 2);
  });
}

}  // namespace
