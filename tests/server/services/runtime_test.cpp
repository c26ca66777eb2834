#include <gtest/gtest.h>

#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/runtime_service.h>
#include <warren/sync.h>

#include "tests/server/services/fake_call.h"

namespace {

using namespace warren::grpc;
using warren::v1::Collection;
using warren::v1::CollectRequest;
using warren::v1::GetStatsRequest;
using warren::v1::Stats;
using warren::v1::WatchStatsRequest;

TEST(runtime_service, stats_tell_of_goroutines_and_of_the_heap) {
  warren::run([] {
    runtime_service r;
    fake_context ctx;
    const auto before = r.GetStats(ctx, GetStatsRequest());
    ASSERT_TRUE(before.ok());
    EXPECT_GE(before->scheduler().goroutines(), 1);
    EXPECT_EQ(before->scheduler().ps(), static_cast<uint32_t>(warren::maxprocs()));
    EXPECT_GE(before->scheduler().ms(), 1u);
    EXPECT_GT(before->time().seconds(), 1'700'000'000);
    EXPECT_EQ(before->collector().collections_by_trigger_size(), 5);

    warren::wait_group wg;
    for (int i = 0; i < 10; i++) wg.go([] {});
    wg.wait();
    const auto after = r.GetStats(ctx, GetStatsRequest());
    EXPECT_GE(after->scheduler().goroutines_created(), before->scheduler().goroutines_created() + 10);
  });
}

TEST(runtime_service, collect_runs_a_cycle_and_tells_what_it_did) {
  warren::run([] {
    runtime_service r;
    fake_context ctx;
    const uint64_t cycles = r.GetStats(ctx, GetStatsRequest())->collector().collections();
    for (int i = 0; i < 1000; i++) EXPECT_EQ(*warren::make<int64_t>(i), i);
    const auto did = r.Collect(ctx, CollectRequest());
    ASSERT_TRUE(did.ok());
    EXPECT_GT(did->cycle(), cycles);
    EXPECT_EQ(did->trigger(), warren::v1::TRIGGER_MANUAL);
    EXPECT_GE(did->objects_before(), did->objects_marked());
    EXPECT_GT(did->pause().nanos(), 0);
    EXPECT_GT(r.GetStats(ctx, GetStatsRequest())->collector().collections(), cycles);
  });
}

TEST(runtime_service, collect_does_nothing_for_a_caller_that_left) {
  warren::run([] {
    runtime_service r;
    fake_context ctx;
    ctx.cancel();
    EXPECT_EQ(r.Collect(ctx, CollectRequest()).status().code(), status_code::cancelled);
  });
}

struct watch {
  watch(runtime_service& r, int64_t interval_ns) {
    wg.go([this, &r, interval_ns] {
      WatchStatsRequest request;
      request.mutable_interval()->set_seconds(interval_ns / 1'000'000'000);
      request.mutable_interval()->set_nanos(static_cast<int32_t>(interval_ns % 1'000'000'000));
      writer<Stats> out(call);
      ended = r.WatchStats(context, request, out);
    });
  }
  fake_context context;
  fake_call<Stats> call{context};
  warren::wait_group wg;
  status ended;
};

TEST(runtime_service, watch_repeats_until_the_caller_goes) {
  warren::run([] {
    runtime_service r;
    watch w(r, 10'000'000);
    uint64_t switches = 0;
    for (int i = 0; i < 3; i++) {
      const Stats s = w.call.next();
      EXPECT_GE(s.scheduler().switches(), switches);
      switches = s.scheduler().switches();
    }
    w.context.cancel();
    w.wg.wait();
    EXPECT_EQ(w.ended.code(), status_code::cancelled);
  });
}

TEST(runtime_service, watch_ends_at_shutdown_however_long_its_interval) {
  warren::run([] {
    runtime_service r;
    watch w(r, int64_t{86'400} * 1'000'000'000);
    w.call.next();
    r.shutdown();
    w.wg.wait();
    EXPECT_EQ(w.ended.code(), status_code::unavailable);
  });
}

TEST(runtime_service, watch_refuses_intervals_that_are_none) {
  warren::run([] {
    runtime_service r;
    for (const int64_t ns : {int64_t{0}, int64_t{-1'000'000'000}, int64_t{9'999'999}}) {
      watch w(r, ns);
      w.wg.wait();
      EXPECT_EQ(w.ended.code(), status_code::invalid_argument) << ns;
    }
  });
}

}  // namespace
