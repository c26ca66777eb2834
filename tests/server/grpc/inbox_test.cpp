// A stream of requests between owner and reader. On one P, where a goroutine that was started runs when the test yields, until it parks.
#include "server/grpc/inbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <warren/go.h>
#include <warren/sync.h>

#include "tests/server/raw_client.h"

namespace {

using namespace warren::grpc;
using warren::testing::message;
using outcome = message_cutter::outcome;
using news = inbox::news;

constexpr size_t kLimit = 1 << 20;
constexpr size_t kQuarter = 16 << 10;

template <class Body>
void on_one_p(Body body) {
  warren::run([&] {
    const int before = warren::set_maxprocs(1);
    inbox in;
    in.reset(kLimit);
    body(in);
    warren::set_maxprocs(before);
  });
}

// All that comes until it is over, as the call reads it.
std::vector<std::string> read_all(inbox& in, news& how, size_t quarter = kQuarter) {
  std::vector<std::string> all;
  std::span<const char> m;
  for (;;) {
    const outcome o = in.next(m);
    if (in.due(quarter)) in.report();
    if (o == outcome::message) {
      all.emplace_back(m.data(), m.size());
    } else if (o != outcome::need_more || (how = in.wait(quarter)) != news::more) {
      return all;
    }
  }
}

TEST(inbox, what_came_before_anybody_reads) {
  on_one_p([](inbox& in) {
    const std::string all = message("one") + message("") + message("three");
    EXPECT_EQ(in.follow(all), 3u);
    for (const char c : all) in.put({&c, 1});
    in.end();
    news how{};
    EXPECT_EQ(read_all(in, how), (std::vector<std::string>{"one", "", "three"}));
    EXPECT_EQ(how, news::over);
  });
}

TEST(inbox, an_end_within_a_message_is_known) {
  for (const size_t cut : {1u, 4u, 7u}) {
    on_one_p([&](inbox& in) {
      in.put(message("one") + message("three").substr(0, cut));
      in.end();
      news how{};
      EXPECT_EQ(read_all(in, how), std::vector<std::string>{"one"});
      EXPECT_EQ(how, news::cut_off);
    });
  }
}

// Once for the prefix, then for all that the prefix promises.
TEST(inbox, a_reader_sleeps_until_enough_is_there) {
  on_one_p([](inbox& in) {
    const std::string text(1000, 'x');
    int waits = 0;
    bool back = false;
    warren::wait_group reader;
    reader.go([&] {
      std::span<const char> m;
      for (outcome o; (o = in.next(m)) != outcome::message; waits++) {
        ASSERT_EQ(o, outcome::need_more);
        ASSERT_EQ(in.wait(kQuarter), news::more);
      }
      EXPECT_EQ(std::string(m.data(), m.size()), text);
      back = true;
    });
    const std::string all = message(text);
    for (size_t at = 0; at < all.size(); at += 100) {
      warren::yield();
      EXPECT_FALSE(back) << at;
      in.put(std::string_view(all).substr(at, 100));
    }
    reader.wait();
    EXPECT_LE(waits, 2);
  });
}

// Else a message larger than the window could never come.
TEST(inbox, nobody_waits_for_more_than_a_quarter_of_the_window) {
  on_one_p([](inbox& in) {
    const std::string large(10 * kQuarter, 'y');
    warren::wait_group reader;
    reader.go([&] {
      news how{};
      EXPECT_EQ(read_all(in, how), std::vector<std::string>{large});
    });
    const std::string all = message(large);
    size_t open = 4 * kQuarter;  // the window
    size_t at = 0;
    while (at < all.size()) {
      const size_t n = std::min({open, all.size() - at, kQuarter});
      in.put(std::string_view(all).substr(at, n));
      at += n;
      open -= n;
      do {  // for ever, if both wait for each other
        warren::yield();
        open += in.take_reported();
      } while (open == 0);
    }
    in.end();
    reader.wait();
  });
}

TEST(inbox, credit_is_for_what_was_taken_and_only_once) {
  on_one_p([](inbox& in) {
    const std::string one = message(std::string(100, 'z'));
    in.put(one + one);
    std::span<const char> m;
    EXPECT_EQ(in.next(m), outcome::need_more);
    EXPECT_EQ(in.wait(kQuarter), news::more);
    EXPECT_FALSE(in.due(1));
    EXPECT_EQ(in.next(m), outcome::message);
    EXPECT_TRUE(in.due(one.size()));
    EXPECT_FALSE(in.due(one.size() + 1));
    EXPECT_EQ(in.take_reported(), 0u);
    in.report();
    EXPECT_EQ(in.take_reported(), one.size());
    EXPECT_EQ(in.take_reported(), 0u);
  });
}

TEST(inbox, abort_wakes_the_reader_and_nothing_comes_any_more) {
  on_one_p([](inbox& in) {
    news how{};
    bool back = false;
    warren::wait_group reader;
    reader.go([&] {
      EXPECT_TRUE(read_all(in, how).empty());
      back = true;
    });
    warren::yield();
    EXPECT_FALSE(back);
    in.abort();
    reader.wait();
    EXPECT_EQ(how, news::over);

    in.reset(kLimit);
    in.put(message("came, and was not read"));
    in.abort();
    EXPECT_TRUE(read_all(in, how).empty());

    in.reset(kLimit);
    in.put(message("the next call's"));
    in.end();
    EXPECT_EQ(read_all(in, how), std::vector<std::string>{"the next call's"});
  });
}

// Fed, and aborted before it has run: it was readied once.
TEST(inbox, abort_after_the_reader_was_fed) {
  on_one_p([](inbox& in) {
    news how{};
    warren::wait_group reader;
    reader.go([&] {
      std::span<const char> m;
      EXPECT_EQ(in.next(m), outcome::need_more);
      how = in.wait(kQuarter);
    });
    warren::yield();
    in.put(message("fed"));
    in.abort();
    reader.wait();
    EXPECT_EQ(how, news::over);
  });
}

TEST(inbox, both_sides_at_once) {
  warren::run([] {
    inbox in;
    in.reset(kLimit);
    std::vector<std::string> expected;
    std::string all;
    for (size_t i = 0; i < 500; i++) {
      expected.emplace_back(i * 7 % 300, static_cast<char>('a' + i % 26));
      all += message(expected.back());
    }
    std::vector<std::string> got;
    news how{};
    warren::wait_group reader;
    reader.go([&] { got = read_all(in, how, 500); });
    size_t reported = 0;
    for (size_t at = 0, i = 0; at < all.size(); i++) {
      const size_t n = std::min<size_t>(1 + i * 31 % 400, all.size() - at);
      in.put(std::string_view(all).substr(at, n));
      at += n;
      reported += in.take_reported();
    }
    in.end();
    reader.wait();
    EXPECT_EQ(got, expected);
    EXPECT_EQ(how, news::over);
    in.report();
    EXPECT_EQ(reported + in.take_reported(), all.size());
  });
}

}  // namespace
