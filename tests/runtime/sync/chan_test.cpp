// Channels: the table of Go's semantics, order, hand-over of every kind of element, and what the collector sees.
#include "warren/chan.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/sched/g.h"
#include "tests/runtime/collect_until.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/ptr.h"
#include "warren/sync.h"

namespace warren {
namespace {

using testing::until;
using testing::until_receivers;
using testing::until_senders;

// --- the table -------------------------------------------------------------------------------------------------------------------------
//              nil             open, would block   open, can proceed   closed
//   send       waits for ever  waits               proceeds            fatal
//   recv       waits for ever  waits               proceeds            what is buffered, then nullopt
//   close      fatal           -                   closes              fatal
// (The fatal ones are in misuse_test.cpp.)

TEST(Chan, NilNeverProceeds) {
  run([] {
    chan<int> c;
    EXPECT_FALSE(c);
    EXPECT_FALSE(c.try_send(1));
    EXPECT_FALSE(c.try_recv());
    EXPECT_FALSE(c.drained());
    EXPECT_EQ(c.size(), 0u);
    EXPECT_EQ(c.capacity(), 0u);
    EXPECT_TRUE(c == chan<int>(nullptr));
    // They outlive the main goroutine and its frame.
    static std::atomic<bool> sent, received;
    go([c] {
      c.send(1);
      sent = true;
    });
    go([c] {
      c.recv();
      received = true;
    });
    for (int i = 0; i < 100; ++i) yield();
    EXPECT_FALSE(sent);
    EXPECT_FALSE(received);
  });
}

TEST(Chan, UnbufferedWaitsForTheOtherSide) {
  run([] {
    chan<int> c = make_chan<int>();
    EXPECT_TRUE(c);
    EXPECT_EQ(c.capacity(), 0u);
    EXPECT_FALSE(c.try_send(1));
    EXPECT_FALSE(c.try_recv());
    EXPECT_FALSE(c.drained());

    // The receiver first.
    wait_group wg;
    std::optional<int> got;
    wg.go([&] { got = c.recv(); });
    until_receivers(c, 1);
    c.send(5);
    wg.wait();
    EXPECT_EQ(got, 5);

    // The sender first.
    wg.go([&] { c.send(6); });
    until_senders(c, 1);
    EXPECT_EQ(c.size(), 0u);
    EXPECT_EQ(c.recv(), 6);
    wg.wait();

    // try_ with somebody waiting.
    wg.go([&] { got = c.recv(); });
    until_receivers(c, 1);
    EXPECT_TRUE(c.try_send(7));
    wg.wait();
    EXPECT_EQ(got, 7);
    wg.go([&] { c.send(8); });
    until_senders(c, 1);
    EXPECT_EQ(c.try_recv(), 8);
    wg.wait();
  });
}

TEST(Chan, BufferedHoldsItsCapacity) {
  run([] {
    chan<int> c = make_chan<int>(3);
    EXPECT_EQ(c.capacity(), 3u);
    for (int round = 0; round < 5; ++round) {  // around the ring
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(c.try_send(round * 10 + i));
      EXPECT_FALSE(c.try_send(99));
      EXPECT_EQ(c.size(), 3u);
      EXPECT_EQ(c.recv(), round * 10);
      c.send(round * 10 + 3);
      for (int i = 1; i < 4; ++i) EXPECT_EQ(c.try_recv(), round * 10 + i);
      EXPECT_FALSE(c.try_recv());
    }
  });
}

TEST(Chan, AWaitingSenderMovesUpIntoTheBuffer) {
  run([] {
    chan<int> c = make_chan<int>(2);
    c.send(1);
    c.send(2);
    wait_group wg;
    wg.go([&] { c.send(3); });
    until_senders(c, 1);
    EXPECT_EQ(c.recv(), 1);
    wg.wait();
    EXPECT_EQ(c.size(), 2u);
    EXPECT_EQ(c.recv(), 2);
    EXPECT_EQ(c.recv(), 3);
  });
}

TEST(Chan, CloseDrainsThenEnds) {
  run([] {
    chan<int> c = make_chan<int>(4);
    c.send(1);
    c.send(2);
    c.close();
    EXPECT_FALSE(c.drained());
    EXPECT_EQ(c.recv(), 1);
    EXPECT_EQ(c.try_recv(), 2);
    EXPECT_TRUE(c.drained());
    EXPECT_EQ(c.recv(), std::nullopt);
    EXPECT_EQ(c.try_recv(), std::nullopt);
    EXPECT_EQ(c.recv(), std::nullopt);
  });
}

TEST(Chan, CloseWakesAllReceivers) {
  run([] {
    chan<int> c = make_chan<int>();
    wait_group wg;
    int ended[10] = {};
    for (int& e : ended)
      wg.go([&c, &e] {
        if (!c.recv()) e = 1;
      });
    until_receivers(c, 10);
    c.close();
    wg.wait();
    for (int e : ended) EXPECT_EQ(e, 1);
  });
}

TEST(Chan, RangeForEndsWithTheChannel) {
  run([] {
    chan<int> c = make_chan<int>(2);
    go([c] {
      for (int i = 0; i < 100; ++i) c.send(i);
      c.close();
    });
    int next = 0;
    for (int v : c) EXPECT_EQ(v, next++);
    EXPECT_EQ(next, 100);
  });
}

TEST(Chan, HandlesToOneChannelAreEqual) {
  run([] {
    chan<int> a = make_chan<int>(1), b = make_chan<int>(1), c = a;
    EXPECT_TRUE(a == c);
    EXPECT_FALSE(a == b);
    a.send(3);
    EXPECT_EQ(c.recv(), 3);
  });
}

// --- order
// ---------------------------------------------------------------------------------------------------------------------------------

TEST(Chan, ReceiversAreServedInOrder) {
  run([] {
    chan<int> c = make_chan<int>();
    wait_group wg;
    int got[20];
    for (int i = 0; i < 20; ++i) {
      wg.go([&, i] { got[i] = *c.recv(); });
      until_receivers(c, static_cast<size_t>(i) + 1);
    }
    for (int i = 0; i < 20; ++i) c.send(i);
    wg.wait();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(got[i], i);
  });
}

TEST(Chan, SendersAreServedInOrder) {
  for (size_t capacity : {0, 1, 3}) {
    run([&] {
      chan<int> c = make_chan<int>(capacity);
      int first = 0;
      while (c.try_send(first)) ++first;
      wait_group wg;
      for (int i = 0; i < 20; ++i) {
        wg.go([&, i] { c.send(first + i); });
        until_senders(c, static_cast<size_t>(i) + 1);
      }
      for (int i = 0; i < first + 20; ++i) EXPECT_EQ(c.recv(), i);
      wg.wait();
    });
  }
}

// --- elements
// --------------------------------------------------------------------------------------------------------------------------------

template <size_t N>
struct blob {
  std::array<unsigned char, N> bytes;
  static blob of(int seed) {
    blob b;
    for (size_t i = 0; i < N; ++i) b.bytes[i] = static_cast<unsigned char>(seed * 31 + static_cast<int>(i) * 7 + 1);
    return b;
  }
  friend bool operator==(const blob&, const blob&) = default;
};

// Every way from a sender to a receiver: through the buffer, out of a full buffer, from stack to stack, with either side waiting.
template <class T, class Make>
void every_way(Make make) {
  for (size_t capacity : {0, 1, 2}) {
    run([&] {
      chan<T> c = make_chan<T>(capacity);
      wait_group wg;
      wg.go([&] {
        for (int i = 0; i < 50; ++i) c.send(make(i));
      });
      until_senders(c, 1);
      for (int i = 0; i < 50; ++i) {
        auto v = c.recv();
        ASSERT_TRUE(v);
        EXPECT_TRUE(*v == make(i));
      }
      wg.wait();
      wg.go([&] {
        for (int i = 0; i < 50; ++i) {
          auto v = c.recv();
          ASSERT_TRUE(v);
          EXPECT_TRUE(*v == make(i));
        }
      });
      until_receivers(c, 1);
      for (int i = 0; i < 50; ++i) c.send(make(i));
      wg.wait();
    });
  }
}

TEST(ChanElement, TriviallyCopyableOfEverySize) {
  every_way<blob<1>>(&blob<1>::of);
  every_way<blob<2>>(&blob<2>::of);
  every_way<blob<3>>(&blob<3>::of);
  every_way<blob<4>>(&blob<4>::of);
  every_way<blob<8>>(&blob<8>::of);
  every_way<blob<16>>(&blob<16>::of);
  every_way<blob<17>>(&blob<17>::of);
  every_way<blob<1000>>(&blob<1000>::of);
  every_way<double>([](int i) { return i * 0.5; });
  every_way<unit>([](int) { return unit{}; });
}

TEST(ChanElement, String) {
  every_way<std::string>([](int i) { return std::string(static_cast<size_t>(i), 'x') + std::to_string(i); });
}

struct pointee_equal {
  std::unique_ptr<int> p;
  friend bool operator==(const pointee_equal& a, const pointee_equal& b) { return *a.p == *b.p; }
};
TEST(ChanElement, MoveOnly) {
  every_way<pointee_equal>([](int i) { return pointee_equal{std::make_unique<int>(i)}; });
}

struct alignas(64) line {
  int v;
  friend bool operator==(const line& a, const line& b) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&a) % 64, 0u);
    return a.v == b.v;
  }
};
TEST(ChanElement, OverAligned) {
  every_way<line>([](int i) { return line{i}; });
}

// Counts its instances: nothing is lost, nothing is destroyed twice.
struct counted {
  inline static std::atomic<int> alive{0};
  int v;
  explicit counted(int v) : v(v) { ++alive; }
  counted(const counted& o) : v(o.v) { ++alive; }
  counted(counted&& o) noexcept : v(std::exchange(o.v, -1)) { ++alive; }
  counted& operator=(counted&&) = delete;
  ~counted() { --alive; }
  friend bool operator==(const counted& a, const counted& b) { return a.v == b.v; }
};
TEST(ChanElement, EveryInstanceIsDestroyedOnce) {
  every_way<counted>([](int i) { return counted(i); });
  EXPECT_EQ(counted::alive, 0);
}

TEST(ChanElement, AFailedTrySendLeavesTheValue) {
  run([] {
    chan<std::unique_ptr<int>> c = make_chan<std::unique_ptr<int>>();
    auto p = std::make_unique<int>(3);
    EXPECT_FALSE(c.try_send(std::move(p)));
    ASSERT_TRUE(p);
    EXPECT_EQ(*p, 3);
  });
}

TEST(ChanElement, SendOfAnLvalueCopies) {
  run([] {
    chan<std::string> c = make_chan<std::string>(1);
    const std::string s = "keep me, I am longer than the small buffer";
    c.send(s);
    EXPECT_EQ(c.recv(), s);
  });
}

// --- reasons
// ------------------------------------------------------------------------------------------------------------------------------------

TEST(Chan, DumpsSayWhatAGoroutineWaitsFor) {
  run([] {
    chan<int> in = make_chan<int>(), out = make_chan<int>();
    std::atomic<rt::g*> receiver{nullptr};
    std::atomic<rt::g*> sender{nullptr};
    wait_group wg;
    wg.go([&] {
      receiver = rt::getg();
      in.recv();
    });
    wg.go([&] {
      sender = rt::getg();
      out.send(1);
    });
    until_receivers(in, 1);
    until_senders(out, 1);
    EXPECT_STREQ(to_string(receiver.load()->reason), "chan receive");
    EXPECT_STREQ(to_string(sender.load()->reason), "chan send");
    in.send(0);
    out.recv();
    wg.wait();
  });
}

// --- other threads
// ----------------------------------------------------------------------------------------------------------------------------

TEST(RootChan, ForeignThreadsTryAndClose) {
  run([] {
    root_chan<int> c = make_chan<int>(1000);
    std::thread foreign([&] {
      for (int i = 0; i < 1000; ++i)
        while (!c.try_send(i)) {
        }
      c.close();
    });
    int next = 0;
    for (int v : c.get()) EXPECT_EQ(v, next++);
    EXPECT_EQ(next, 1000);
    blocking([&] { foreign.join(); });
  });
}

TEST(RootChan, AForeignSenderWakesAReceiver) {
  run([] {
    root_chan<int> c = make_chan<int>();
    std::thread foreign([&] {
      for (int i = 0; i < 100; ++i)
        while (!c.try_send(i)) {
        }
    });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(c.recv(), i);
    blocking([&] { foreign.join(); });
  });
}

// --- the collector
// -----------------------------------------------------------------------------------------------------------------------------

struct thing {
  uint64_t value = 0;
};

TEST(ChanAndCollector, ABufferKeepsItsElements) {
  run([] {
    chan<ptr<thing>> c = make_chan<ptr<thing>>(64);
    for (uint64_t round = 0; round < 4; ++round) {
      for (uint64_t i = 0; i < 64; ++i) c.send(make<thing>(round * 1000 + i));
      gc();
      for (uint64_t i = 0; i < 1000; ++i) (void)make<thing>(uint64_t{0xdead});  // would take the place of what was freed
      gc();
      for (uint64_t i = 0; i < 64; ++i) EXPECT_EQ((*c.recv())->value, round * 1000 + i);
    }
  });
}

// Neither of these states a map: their slots are scanned conservatively.
TEST(ChanAndCollector, ABufferOfClosuresKeepsWhatTheyCapture) {
  run([] {
    struct job {
      ptr<thing> t;
      std::string name;
      uint64_t operator()() const { return t->value; }
    };
    chan<job> c = make_chan<job>(64);
    for (uint64_t i = 0; i < 64; ++i) c.send(job{make<thing>(i), "a name too long for the small string buffer"});
    gc();
    for (uint64_t i = 0; i < 1000; ++i) (void)make<thing>(uint64_t{0xdead});
    gc();
    for (uint64_t i = 0; i < 64; ++i) EXPECT_EQ((*c.recv())(), i);
  });
}

TEST(ChanAndCollector, AWaitingSendersElementIsKept) {
  run([] {
    chan<ptr<thing>> c = make_chan<ptr<thing>>();
    wait_group wg;
    for (uint64_t i = 0; i < 16; ++i) {
      wg.go([c, i] { c.send(make<thing>(i + 1)); });
      until_senders(c, i + 1);
    }
    gc();
    for (uint64_t i = 0; i < 1000; ++i) (void)make<thing>(uint64_t{0xdead});
    gc();
    for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ((*c.recv())->value, i + 1);
    wg.wait();
  });
}

TEST(ChanAndCollector, ChannelsInCollectedObjectsAndOfChannels) {
  struct request {
    int n;
    chan<int> reply;
  };
  struct server {
    chan<ptr<request>> requests;
  };
  run([] {
    ptr<server> s = make<server>(make_chan<ptr<request>>(4));
    go([s] {
      for (ptr<request> r : s->requests) r->reply.send(r->n * 2);
    });
    for (int i = 0; i < 100; ++i) {
      ptr<request> r = make<request>(i, make_chan<int>());
      s->requests.send(r);
      if (i % 20 == 0) gc();
      EXPECT_EQ(r->reply.recv(), i * 2);
    }
    s->requests.close();

    chan<chan<int>> of_channels = make_chan<chan<int>>(8);
    for (int i = 0; i < 8; ++i) {
      chan<int> c = make_chan<int>(1);
      c.send(i);
      of_channels.send(c);
    }
    gc();
    for (int i = 0; i < 8; ++i) EXPECT_EQ(of_channels.recv()->recv(), i);
  });
}

// A type may contain a channel of itself.
struct letter {
  int n = 0;
  chan<letter> reply;
};
TEST(ChanAndCollector, AChannelOfWhatContainsIt) {
  run([] {
    chan<letter> c = make_chan<letter>();
    go([c] {
      for (letter l : c) l.reply.send(letter{l.n + 1, nullptr});
    });
    chan<letter> mine = make_chan<letter>(1);
    for (int i = 0; i < 10; ++i) {
      c.send(letter{i, mine});
      EXPECT_EQ(mine.recv()->n, i + 1);
    }
    c.close();
  });
}

// Makes channels and forgets them, from a frame that is gone afterwards.
[[gnu::noinline]] void drop_full_channels(int n) {
  for (int i = 0; i < n; ++i) {
    chan<counted> c = make_chan<counted>(4);
    c.send(counted(1));
    c.send(counted(2));
    (void)c.recv();
    c.send(counted(3));
  }
}
TEST(ChanAndCollector, LeftoversOfADeadChannelAreDestroyed) {
  run([] {
    drop_full_channels(100);
    EXPECT_EQ(counted::alive, 200);
    // All but what stale words on this stack may still point to.
    testing::collect_until([] { return counted::alive <= 20; });
    EXPECT_LE(counted::alive, 20);
  });
}

}  // namespace
}  // namespace warren
