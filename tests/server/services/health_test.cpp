#include <gtest/gtest.h>

#include <string>

#include <warren/go.h>
#include <warren/health.h>
#include <warren/sync.h>

#include "tests/server/services/fake_call.h"

namespace {

using namespace warren::grpc;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using ::grpc::health::v1::HealthListRequest;

HealthCheckRequest about(const std::string& service) {
  HealthCheckRequest r;
  r.set_service(service);
  return r;
}

// Watches in a goroutine of its own until the handler returns.
struct watch {
  watch(health_service& h, const std::string& service) {
    wg.go([this, &h, service] {
      writer<HealthCheckResponse> out(call);
      ended = h.Watch(context, about(service), out);
    });
  }
  HealthCheckResponse::ServingStatus next() { return call.next().status(); }

  fake_context context;
  fake_call<HealthCheckResponse> call{context};
  warren::wait_group wg;
  status ended;
};

TEST(health, check_knows_what_was_set_and_nothing_else) {
  warren::run([] {
    health_service h;
    fake_context ctx;
    EXPECT_EQ(h.Check(ctx, about("")).status().code(), status_code::not_found);
    h.set_serving("", true);
    h.set_serving("a.B", false);
    EXPECT_EQ(h.Check(ctx, about(""))->status(), HealthCheckResponse::SERVING);
    EXPECT_EQ(h.Check(ctx, about("a.B"))->status(), HealthCheckResponse::NOT_SERVING);
    EXPECT_EQ(h.Check(ctx, about("a.C")).status().code(), status_code::not_found);
    h.set_serving("a.B", true);
    EXPECT_EQ(h.Check(ctx, about("a.B"))->status(), HealthCheckResponse::SERVING);
    EXPECT_TRUE(h.serving("a.B"));
    EXPECT_FALSE(h.serving("a.C"));
  });
}

TEST(health, list_has_all_or_refuses) {
  warren::run([] {
    health_service h;
    fake_context ctx;
    // Not "s" + to_string(i): g++ 12 at -O3 warns of an overlap that cannot be (its bug 105651).
    for (int i = 0; i < 100; i++) h.set_serving(std::string("s").append(std::to_string(i)), i % 2 == 0);
    auto all = h.List(ctx, HealthListRequest());
    ASSERT_TRUE(all.ok());
    EXPECT_EQ(all->statuses_size(), 100);
    EXPECT_EQ(all->statuses().at("s4").status(), HealthCheckResponse::SERVING);
    EXPECT_EQ(all->statuses().at("s5").status(), HealthCheckResponse::NOT_SERVING);
    h.set_serving("one more", true);
    EXPECT_EQ(h.List(ctx, HealthListRequest()).status().code(), status_code::resource_exhausted);
  });
}

TEST(health, watch_tells_at_once_and_at_every_change_and_of_services_that_come_later) {
  warren::run([] {
    health_service h;
    watch w(h, "a.B");
    EXPECT_EQ(w.next(), HealthCheckResponse::SERVICE_UNKNOWN);
    h.set_serving("a.B", true);
    EXPECT_EQ(w.next(), HealthCheckResponse::SERVING);
    h.set_serving("another", true);  // wakes the watch, which has nothing to tell
    h.set_serving("a.B", true);      // nor now
    h.set_serving("a.B", false);
    EXPECT_EQ(w.next(), HealthCheckResponse::NOT_SERVING);
    w.context.cancel();
    w.wg.wait();
    EXPECT_EQ(w.ended.code(), status_code::cancelled);
  });
}

TEST(health, every_watch_is_told) {
  warren::run([] {
    health_service h;
    h.set_serving("", true);
    watch a(h, ""), b(h, ""), c(h, "");
    for (watch* w : {&a, &b, &c}) EXPECT_EQ(w->next(), HealthCheckResponse::SERVING);
    b.context.cancel();  // leaves the middle of the list
    b.wg.wait();
    h.set_serving("", false);
    for (watch* w : {&c, &a}) EXPECT_EQ(w->next(), HealthCheckResponse::NOT_SERVING);
    a.context.cancel();
    c.context.cancel();
    a.wg.wait();
    c.wg.wait();
  });
}

TEST(health, shutdown_is_for_good_and_ends_watches) {
  warren::run([] {
    health_service h;
    fake_context ctx;
    h.set_serving("", true);
    watch w(h, "");
    EXPECT_EQ(w.next(), HealthCheckResponse::SERVING);
    h.shutdown();
    EXPECT_EQ(w.next(), HealthCheckResponse::NOT_SERVING);
    w.wg.wait();
    EXPECT_EQ(w.ended.code(), status_code::unavailable);
    h.set_serving("", true);
    EXPECT_EQ(h.Check(ctx, about(""))->status(), HealthCheckResponse::NOT_SERVING);
    watch late(h, "");
    EXPECT_EQ(late.next(), HealthCheckResponse::NOT_SERVING);
    late.wg.wait();
    EXPECT_EQ(late.ended.code(), status_code::unavailable);
  });
}

}  // namespace
