// Asio's operations on goroutines, and goroutines as Asio's executor.
#include "warren/asio.h"

#include <asio/any_io_executor.hpp>
#include <asio/bind_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#include "net_test.h"
#include "warren/gc.h"
#include "warren/ptr.h"
#include "warren/sync.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;

static_assert(asio::execution::is_executor_v<executor>);

TEST(asio_park, a_timer_parks_the_goroutine_only) {
  warren::run([] {
    asio::steady_timer t(asio_context(), 1h);
    bool others_ran = false;
    error_code ec;
    task other([&] {
      until_parked(1);
      others_ran = true;
      asio::post(asio_context(), [&] { t.cancel(); });
    });
    t.async_wait(park(ec));
    EXPECT_TRUE(others_ran);
    EXPECT_EQ(ec, asio::error::operation_aborted);
    EXPECT_EQ(rt::poller::made().waiters(), 0);
    t.expires_after(2ms);
    t.async_wait(park);
  });
}

TEST(asio_park, what_has_expired_already) {
  warren::run([] {
    for (int i = 0; i < 1000; ++i) {  // completes while the goroutine is about to park, too
      asio::steady_timer t(asio_context(), 0ms);
      t.async_wait(park);
    }
  });
}

TEST(asio_park, errors_are_thrown_or_reported) {
  warren::run([] {
    asio::steady_timer t(asio_context(), 1h);
    error_code ec;
    {
      task waiter([&] { t.async_wait(park(ec)); });
      until_parked(1);
      asio::post(asio_context(), [&] { t.cancel(); });
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
    {
      bool thrown = false;
      t.expires_after(1h);
      task waiter([&] {
        try {
          t.async_wait(park);
        } catch (const asio::system_error& e) {
          thrown = e.code() == asio::error::operation_aborted;
        }
      });
      until_parked(1);
      asio::post(asio_context(), [&] { t.cancel(); });
      waiter.join();
      EXPECT_TRUE(thrown);
    }
  });
}

// Sockets of Asio's, composed operations, values.
TEST(asio_park, asios_own_sockets_echo) {
  warren::run([] {
    tcp::acceptor acceptor(asio_context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    const std::string data(1 << 20, 'a');
    std::string got(data.size(), 0);
    {
      task server([&] {
        tcp::socket s = acceptor.async_accept(park);
        std::string b(data.size(), 0);
        EXPECT_EQ(asio::async_read(s, asio::buffer(b), park), b.size());
        EXPECT_EQ(asio::async_write(s, asio::buffer(b), park), b.size());
      });
      tcp::socket c(asio_context());
      c.async_connect(acceptor.local_endpoint(), park);
      asio::async_write(c, asio::buffer(data), park);
      EXPECT_EQ(asio::async_read(c, asio::buffer(got), park), got.size());
      error_code ec;
      char b;
      EXPECT_EQ(asio::async_read(c, asio::buffer(&b, 1), park(ec)), 0u);
      EXPECT_EQ(ec, asio::error::eof);
    }
    EXPECT_EQ(got, data);
  });
}

TEST(asio_park, post_moves_to_an_executor_and_back) {
  warren::run([] {
    asio::post(asio_context(), park);
    asio::post(executor(), park);
    EXPECT_GT(goroutine_id(), 0u);
  });
}

TEST(asio_park, many_at_once) {
  warren::run([] {
    wait_group wg;
    std::atomic<int> done{0};
    for (int i = 0; i < 500; ++i) {
      wg.go([&, i] {
        asio::steady_timer t(asio_context(), std::chrono::microseconds(i % 50));
        t.async_wait(park);
        ++done;
      });
    }
    wg.wait();
    EXPECT_EQ(done, 500);
  });
}

TEST(asio_executor, what_is_posted_runs_as_a_goroutine) {
  warren::run([] {
    latch l(4);
    uint64_t ids[4] = {};
    const auto note = [&](int i) {
      return [&, i] {
        ids[i] = goroutine_id();
        yield();  // may park: it is one
        l.done();
      };
    };
    asio::post(executor(), note(0));
    asio::dispatch(executor(), note(1));
    asio::any_io_executor any{executor()};
    asio::post(any, note(2));
    std::thread([&] { asio::post(executor(), note(3)); }).join();  // from a thread that is not the runtime's
    l.wait();
    for (const uint64_t id : ids) {
      EXPECT_NE(id, 0u);
      EXPECT_NE(id, goroutine_id());
    }
    EXPECT_EQ(executor(), executor());
  });
}

TEST(asio_executor, handlers_of_objects_made_on_it_may_park) {
  warren::run([] {
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, executor> t(executor(), 1ms);
    latch l(1);
    uint64_t id = 0;
    t.async_wait([&](error_code ec) {
      EXPECT_FALSE(ec);
      warren::sleep(1ms);
      id = goroutine_id();
      l.done();
    });
    l.wait();
    EXPECT_NE(id, 0u);
  });
}

struct tracked {
  using collected = finalized_with<noscan>;
  int* freed;
  explicit tracked(int* f) : freed(f) {}
  ~tracked() { ++*freed; }
};

[[gnu::noinline]] void post_functions_with_pointers(int count, int* freed, latch* started, latch* go_on, int* sum) {
  for (int i = 0; i < count; ++i) {
    ptr<tracked> t = make<tracked>(freed);
    asio::post(executor(), [=] {
      started->done();
      go_on->wait();
      *sum += t->freed == freed;
    });
  }
}

// The only pointers to these objects are what the functions have captured: before they run, and while they do.
TEST(asio_executor, what_goroutines_post_may_hold_collected_pointers) {
  warren::run([] {
    set_maxprocs(1);  // nothing that is posted runs before main gives way
    constexpr int kCount = 100;
    static int freed, sum;
    freed = sum = 0;
    latch started(kCount), go_on(1);
    post_functions_with_pointers(kCount, &freed, &started, &go_on, &sum);
    for (int i = 0; i < 3; ++i) gc();
    started.wait();
    for (int i = 0; i < 3; ++i) gc();
    for (int i = 0; i < 100; ++i) yield();  // finalizers
    EXPECT_EQ(freed, 0);
    go_on.done();
    while (sum < kCount) yield();
  });
}

// A strand of goroutines: they run one after the other, whatever their number.
TEST(asio_executor, strands) {
  warren::run([] {
    auto strand = asio::make_strand(executor());
    constexpr int kCount = 1000;
    latch l(kCount);
    int unguarded = 0;
    for (int i = 0; i < kCount; ++i) {
      asio::post(strand, [&] {
        ++unguarded;
        l.done();
      });
    }
    l.wait();
    EXPECT_EQ(unguarded, kCount);
  });
}

TEST(asio_executor, lives_from_run_to_run) {
  for (int i = 0; i < 3; ++i) {
    warren::run([] {
      asio::steady_timer t(asio_context(), 1ms);
      t.async_wait(park);
      latch l(1);
      asio::post(executor(), [&] { l.done(); });
      l.wait();
      std::thread([&] { asio::post(executor(), [] {}); }).join();
    });
  }
}

// A goroutine that waits for an operation when its run ends is gone; the handler that comes later must not ready it.
TEST(asio_park, run_ends_with_an_operation_under_way) {
  static auto* const t = new asio::steady_timer(asio_context(), 1h);
  warren::run([] {
    warren::go([] {
      error_code ec;
      t->async_wait(park(ec));
    });
    until_parked(1);
  });
  warren::run([] {
    asio::post(asio_context(), [] { t->cancel(); });
    asio::post(asio_context(), park);  // after the handler
  });
}

}  // namespace
}  // namespace warren::net_test
