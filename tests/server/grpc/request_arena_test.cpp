// Requests that handlers keep: what is kept stays as it was, whatever else is called; what is not kept is used again.
#include <gtest/gtest.h>
#include <keep.warren.h>

#include <atomic>
#include <functional>
#include <string>

#include <warren/chan.h>
#include <warren/gc.h>
#include <warren/go.h>
#include <warren/grpc.h>
#include <warren/grpc/channel.h>
#include <warren/sync.h>
#include <warren/vector.h>

#include "runtime/memory.h"
#include "tests/death_style.h"
#include "tests/runtime/collect_until.h"
#include "tests/server/transport_under_test.h"

namespace {

using namespace warren;
using test::keep::Ack;
using test::keep::Item;
using test::keep::KeeperService;
using test::keep::KeeperStub;
using test::keep::Owner;
using warren::testing::clobber_stack;
using warren::testing::collect_until;

std::string text(uint64_t seed, size_t n) {
  std::string s;
  for (size_t i = 0; i < n; ++i) s.push_back(static_cast<char>('a' + (seed * 31 + i * 7) % 26));
  return s;
}
// A request that says by itself whether it is whole: everything in it follows from the number in its key.
Item item(uint64_t seed, int children = 3) {
  Item i;
  i.set_key(std::to_string(seed));
  i.mutable_owner()->set_name(text(seed, 5 + seed % 50));
  for (uint64_t k = 0; k < 4; ++k) i.mutable_owner()->add_tags(text(seed + k, k * 20));
  i.set_body(text(seed + 7, seed % 3000));
  for (uint64_t k = 0; k < 3; ++k) (*i.mutable_labels())[text(seed + k, 10)] = text(seed + 2 * k, 40);
  for (int64_t k = 0; k < 20; ++k) i.add_numbers(static_cast<int64_t>(seed) + k);
  if (seed % 2 == 0) {
    i.set_place(text(seed + 11, 30));
  } else {
    i.mutable_person()->set_name(text(seed + 12, 30));
  }
  for (int k = 0; k < children; ++k) *i.add_children() = item(seed * 10 + static_cast<uint64_t>(k), 0);
  return i;
}
bool same(const Item& a, const Item& b) {
  if (a.key() != b.key() || a.owner().name() != b.owner().name() || a.body() != b.body() || a.origin_case() != b.origin_case() ||
      a.place() != b.place() || a.person().name() != b.person().name() || a.labels_size() != b.labels_size() ||
      a.owner().tags_size() != b.owner().tags_size() || a.numbers_size() != b.numbers_size() || a.children_size() != b.children_size())
    return false;
  for (const auto& [k, v] : a.labels())
    if (!b.labels().contains(k) || b.labels().at(k) != v) return false;
  for (int i = 0; i < a.owner().tags_size(); ++i)
    if (a.owner().tags(i) != b.owner().tags(i)) return false;
  for (int i = 0; i < a.numbers_size(); ++i)
    if (a.numbers(i) != b.numbers(i)) return false;
  for (int i = 0; i < a.children_size(); ++i)
    if (!same(a.children(i), b.children(i))) return false;
  return true;
}
bool whole(const Item& i) { return same(i, item(std::stoull(i.key()), i.children_size())); }

// Its handlers are the tests'.
struct keeper final : KeeperService {
  std::function<void(grpc::server_context&, const Item&)> put = [](grpc::server_context&, const Item&) {};
  std::function<void(grpc::server_context&, grpc::reader<Item>&)> upload;
  grpc::result<Ack> Put(grpc::server_context& ctx, const Item& i) override {
    put(ctx, i);
    return Ack();
  }
  grpc::status List(grpc::server_context& ctx, const Item& i, grpc::writer<Ack>& out) override {
    put(ctx, i);
    out.write(Ack());
    return {};
  }
  grpc::result<Ack> Upload(grpc::server_context& ctx, grpc::reader<Item>& in) override {
    upload(ctx, in);
    return Ack();
  }
};

void with_keeper(const std::function<void(keeper&, const KeeperStub&)>& body) {
  rt::memory().gc.set_checkmark(true);
  run([&] {
    keeper service;
    grpc::server_options options;
    options.listen = "127.0.0.1:0";
    options.transport = warren::testing::transport_under_test;
    grpc::server server(options);
    server.add(service);
    server.start();
    {
      grpc::channel channel(server.address());
      body(service, KeeperStub(channel));
    }
    server.shutdown(std::chrono::nanoseconds(0));
  });
  // On new stacks, where nothing points to what was kept: every kept request is destroyed in the end, and gives back the strings that
  // malloc has for it. AddressSanitizer's leak check sees to it that this is true of what the pacer was told nothing of, too.
  run([] { EXPECT_TRUE(collect_until([] { return read_mem_stats().heap.external_bytes == 0; })); });
}

void put(const KeeperStub& stub, const Item& i) {
  grpc::client_context ctx;
  const auto r = stub.Put(ctx, i);
  ASSERT_TRUE(r.ok()) << r.status().message();
}

TEST(RequestArena, AKeptRequestIsWholeAfterManyFurtherCalls) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    vector<ptr<const Item>> kept;
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      if (std::stoull(i.key()) % 3 == 0) kept.push_back(ctx.keep(i));
    };
    for (uint64_t n = 0; n < 200; ++n) {
      put(stub, item(n));
      if (n % 20 == 0) gc();
    }
    gc();
    gc();
    ASSERT_EQ(kept.size(), 67u);
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQ(kept[i]->key(), std::to_string(3 * i));
      EXPECT_TRUE(whole(*kept[i])) << i;
    }
  });
}

// What each sort of part keeps is the whole request: nothing else points to it.
TEST(RequestArena, EveryPartKeepsAllOfTheRequest) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    ptr<const std::string> key, name, tag, place;
    ptr<const Owner> owner;
    ptr<const Item> child;
    ptr<const google::protobuf::RepeatedField<int64_t>> numbers;
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      switch (std::stoull(i.key())) {
        case 1000: key = ctx.keep(i.key()); break;
        case 1001: name = ctx.keep(i.owner().name()); break;
        case 1002: owner = ctx.keep(i.owner()); break;
        case 1003: tag = ctx.keep(i.owner().tags(3)); break;
        case 1004: child = ctx.keep(i.children(2)); break;
        case 1005: numbers = ctx.keep(i.numbers()); break;
        case 1006: place = ctx.keep(i.place()); break;
      }
    };
    for (uint64_t n = 1000; n < 1007; ++n) put(stub, item(n));
    for (int round = 0; round < 3; ++round) {
      for (uint64_t n = 0; n < 50; ++n) put(stub, item(n));
      gc();
      yield();
    }
    EXPECT_EQ(*key, "1000");
    EXPECT_EQ(*name, item(1001).owner().name());
    EXPECT_EQ(owner->name(), item(1002).owner().name());
    EXPECT_EQ(owner->tags(2), item(1002).owner().tags(2));
    EXPECT_EQ(*tag, item(1003).owner().tags(3));
    EXPECT_TRUE(whole(*child));
    EXPECT_EQ(numbers->Get(19), 1024);
    EXPECT_EQ(*place, item(1006).place());
  });
}

TEST(RequestArena, AnotherGoroutineUsesItLongAfterTheReply) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    const chan<unit> go_on = make_chan<unit>();
    const chan<bool> result = make_chan<bool>(8);
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      if (i.key() != "7") return;
      go([item = ctx.keep(i), name = ctx.keep(i.owner().name()), go_on, result] {
        go_on.recv();
        result.send(whole(*item) && *name == item->owner().name());
      });
    };
    put(stub, item(7));
    for (uint64_t n = 100; n < 150; ++n) put(stub, item(n));
    gc();
    gc();
    go_on.close();
    EXPECT_TRUE(*result.recv());
  });
}

TEST(RequestArena, WhatNobodyHoldsAnyMoreIsDestroyedOnce) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    vector<ptr<const Item>> kept;
    service.put = [&](grpc::server_context& ctx, const Item& i) { kept.push_back(ctx.keep(i)); };
    collect_until([] { return read_mem_stats().heap.external_bytes == 0; });  // what the tests before have left
    const uint64_t before = read_mem_stats().gc.finalizers_run;
    const uint64_t behind = read_mem_stats().heap.external_bytes;
    for (uint64_t n = 0; n < 50; ++n) put(stub, item(n));
    EXPECT_GT(read_mem_stats().heap.external_bytes, behind) << "the pacer knows of the strings";
    EXPECT_TRUE(whole(*kept[49]));
    EXPECT_EQ(read_mem_stats().gc.finalizers_run, before);
    kept.clear();
    EXPECT_TRUE(collect_until([before] { return read_mem_stats().gc.finalizers_run >= before + 48; }));
    service.put = [](grpc::server_context&, const Item&) {};
    for (uint64_t n = 0; n < 50; ++n) put(stub, item(n));
    EXPECT_TRUE(collect_until([behind] { return read_mem_stats().heap.external_bytes <= behind + 8000; }));
    EXPECT_LE(read_mem_stats().gc.finalizers_run, before + 50);
  });
}

TEST(RequestArena, WhatIsNotKeptIsUsedAgainAndDoesNotGrow) {
  if (warren::testing::transport_under_test != nullptr) GTEST_SKIP() << "its calls have a message each";
  with_keeper([](keeper& service, const KeeperStub& stub) {
    const void* where = nullptr;
    int moved = 0;
    service.put = [&](grpc::server_context&, const Item& i) {
      if (&i != where) ++moved;
      where = &i;
      ASSERT_TRUE(whole(i));
    };
    const Item request = item(14);
    for (int n = 0; n < 200; ++n) put(stub, request);
    EXPECT_LE(moved, grpc::detail::spoil_requests ? 200 : 2);
    gc();
    const mem_stats before = read_mem_stats();
    for (int n = 0; n < 2000; ++n) put(stub, request);
    gc();
    const mem_stats after = read_mem_stats();
    EXPECT_EQ(after.gc.finalizers_run, before.gc.finalizers_run);
    EXPECT_LT(after.heap.bytes, before.heap.bytes + (100 << 10)) << "fields that an arena does not take back pile up";
  });
}

TEST(RequestArena, LargeRequests) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    ptr<const Item> kept;
    service.put = [&](grpc::server_context& ctx, const Item& i) { kept = ctx.keep(i); };
    Item large = item(5, 300);
    for (int64_t n = 0; n < 50'000; ++n) large.add_numbers(n);  // one array of 400 KB
    large.set_body(std::string(1'000'000, 'x'));
    put(stub, large);
    const ptr<const Item> first = kept;
    put(stub, large);
    gc();
    gc();
    EXPECT_TRUE(same(*first, large));
    EXPECT_TRUE(same(*kept, large));
    EXPECT_NE(first, kept);
  });
}

// A reader's messages are kept like others: the next one is another.
TEST(RequestArena, MessagesOfAStreamCanBeKept) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    vector<ptr<const Item>> kept;
    service.upload = [&](grpc::server_context& ctx, grpc::reader<Item>& in) {
      for (const Item& i : in) {
        ASSERT_TRUE(whole(i));
        if (std::stoull(i.key()) % 2 == 1) kept.push_back(ctx.keep(i));
      }
    };
    grpc::client_context ctx;
    auto out = stub.Upload(ctx);
    for (uint64_t n = 0; n < 40; ++n) ASSERT_TRUE(out.write(item(n)));
    ASSERT_TRUE(out.finish().ok());
    gc();
    gc();
    ASSERT_EQ(kept.size(), 20u);
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQ(kept[i]->key(), std::to_string(2 * i + 1));
      EXPECT_TRUE(whole(*kept[i]));
    }
  });
}

TEST(RequestArena, TheRequestOfAServerStreamCanBeKept) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    ptr<const Item> kept;
    service.put = [&](grpc::server_context& ctx, const Item& i) { kept = ctx.keep(i); };
    grpc::client_context ctx;
    auto in = stub.List(ctx, item(33));
    Ack ack;
    while (in.read(ack)) {
    }
    for (uint64_t n = 0; n < 10; ++n) {
      service.put = [](grpc::server_context&, const Item&) {};
      put(stub, item(n));
    }
    gc();
    EXPECT_TRUE(whole(*kept));
  });
}

// A handler that keeps and throws; and one that keeps nothing after one that did.
TEST(RequestArena, AHandlerThatThrowsHasKeptItAllTheSame) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    ptr<const Item> kept;
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      kept = ctx.keep(i);
      throw std::runtime_error("no");
    };
    grpc::client_context ctx;
    EXPECT_EQ(stub.Put(ctx, item(3)).status().code(), grpc::status_code::unknown);
    service.put = [](grpc::server_context&, const Item&) {};
    for (uint64_t n = 10; n < 30; ++n) put(stub, item(n));
    gc();
    EXPECT_TRUE(whole(*kept));
  });
}

TEST(RequestArena, WhatIsNotSetMayBeKept) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    ptr<const Owner> owner;
    ptr<const std::string> name, key;
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      owner = ctx.keep(i.owner());
      name = ctx.keep(i.owner().name());
      key = ctx.keep(i.key());
    };
    put(stub, Item());
    gc();
    EXPECT_EQ(owner->tags_size(), 0);
    EXPECT_EQ(*name, "");
    EXPECT_EQ(*key, "");
  });
}

// Many callers, of whom some keep, while one goroutine collects all the time.
TEST(RequestArena, ManyCallersWhileCollecting) {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    struct shelf {
      ptr<const Item> item;
      ptr<const std::string> name;
    };
    mutex lock;
    vector<shelf> kept(64);
    std::atomic<uint64_t> bad{0};
    service.put = [&](grpc::server_context& ctx, const Item& i) {
      const uint64_t n = std::stoull(i.key());
      if (!whole(i)) ++bad;
      if (n % 2 == 0) return;
      const shelf mine{ctx.keep(i), ctx.keep(i.owner().name())};
      lock.lock();
      const shelf was = kept[n % 64];
      kept[n % 64] = mine;
      lock.unlock();
      if (was.item && (!whole(*was.item) || *was.name != was.item->owner().name())) ++bad;
    };
    constexpr int kCallers = 8, kCalls = 150;
    wait_group done;
    done.add(kCallers);
    std::atomic<int> running{kCallers};
    for (int c = 0; c < kCallers; ++c) {
      go([&, c] {
        for (int n = 0; n < kCalls; ++n) put(stub, item(static_cast<uint64_t>(n * kCallers + c), n % 4));
        --running;
        done.done();
      });
    }
    while (running > 0) {
      gc();
      yield();
    }
    done.wait();
    EXPECT_EQ(bad, 0u);
  });
}

// With WARREN_GCPOISON=1, which one of CTest's runs has.
TEST(RequestArena, AReferenceThatOutlivesTheHandlerShowsIt) {
  if (!grpc::detail::spoil_requests) GTEST_SKIP() << "without WARREN_GCPOISON=1 it sees the next request";
  with_keeper([](keeper& service, const KeeperStub& stub) {
    const volatile unsigned char* where = nullptr;
    service.put = [&](grpc::server_context&, const Item& i) { where = reinterpret_cast<const volatile unsigned char*>(&i); };
    put(stub, item(1));
    for (size_t n = sizeof(void*); n < sizeof(Item); ++n) ASSERT_EQ(where[n], 0xdb) << n;
  });
}

// ---- what is wrong is said --------------------------------------------------------------------------------------------------------------
template <class T>
concept can_be_kept = requires(grpc::server_context& ctx, T&& part) {
  { ctx.keep(std::forward<T>(part)) } -> std::convertible_to<ptr<const std::remove_cvref_t<T>>>;
};
static_assert(can_be_kept<const Item&>);
static_assert(can_be_kept<const std::string&>);
static_assert(!can_be_kept<Item>, "a copy would be gone at once");
static_assert(!can_be_kept<std::string>);
static_assert(!can_be_kept<int>, "what a function returned");

void keep_a_copy() {
  with_keeper([](keeper& service, const KeeperStub& stub) {
    service.put = [](grpc::server_context& ctx, const Item& i) {
      const Item copy = i;
      (void)ctx.keep(copy);
    };
    put(stub, item(1));
  });
}
TEST(RequestArenaDeathTest, ACopyIsNotTheRequest) {
  warren::tests::choose_death_style();
  EXPECT_DEATH(keep_a_copy(), "server_context::keep of 0x[0-9a-f]+, which is not in this call's request: pass the handler's request");
}

}  // namespace
