// Messages between writer and owner. On one P, where a goroutine that was started runs when the test yields, until it parks.
#include "server/grpc/outbox.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

#include <warren/go.h>
#include <warren/sync.h>

namespace {

using namespace warren::grpc;

template <class Body>
void on_one_p(Body body) {
  warren::run([&] {
    const int before = warren::set_maxprocs(1);
    outbox out;
    body(out);
    warren::set_maxprocs(before);
  });
}

byte_buffer bytes(std::string_view text) {
  byte_buffer b;
  b.append(text);
  return b;
}

std::optional<size_t> add(outbox& out, std::string_view text) {
  byte_buffer b = bytes(text);
  return out.add(b);
}

// What was offered.
std::string taken(outbox& out) {
  std::string s(out.offered(), '\0');
  out.take(s.data(), s.size());
  return s;
}

TEST(outbox, a_reply_leaves_by_frames) {
  outbox out;
  out.buffer().append("0123456789");
  EXPECT_FALSE(out.offer(4));
  EXPECT_EQ(out.offered(), 4u);
  EXPECT_EQ(taken(out), "0123");
  EXPECT_FALSE(out.offer(5));
  EXPECT_EQ(std::string_view(out.lend(5), 5), "45678");
  EXPECT_TRUE(out.offer(5));
  EXPECT_EQ(taken(out), "9");
  EXPECT_TRUE(out.offer(5));
  EXPECT_EQ(out.offered(), 0u);
  EXPECT_EQ(out.sent(), 10u);
  EXPECT_EQ(out.unsent(), 0u);
}

TEST(outbox, what_is_written_leaves_in_order_and_counts_until_it_is_announced) {
  outbox out;
  EXPECT_EQ(add(out, "one "), 4u);
  EXPECT_EQ(add(out, "two "), 8u);
  EXPECT_FALSE(out.offer_written(6));
  EXPECT_EQ(out.unsent(), 2u);
  EXPECT_EQ(add(out, "three"), 7u);  // announced, not yet copied: it does not count
  EXPECT_EQ(taken(out), "one tw");
  EXPECT_FALSE(out.offer_written(100));
  EXPECT_EQ(taken(out), "o ");
  EXPECT_TRUE(out.offer_written(100));
  EXPECT_EQ(taken(out), "three");
  EXPECT_EQ(out.unsent(), 0u);
  EXPECT_EQ(out.sent(), 13u);
}

TEST(outbox, a_writer_goes_on_when_half_of_its_room_is_free) {
  on_one_p([](outbox& out) {
    bool begun = false;
    bool back = false;
    EXPECT_EQ(add(out, std::string(300, 'x')), 300u);
    warren::wait_group writer;
    writer.go([&] {
      begun = true;
      out.wait_for_room(100);
      back = true;
    });
    while (!begun) warren::yield();
    for (int i = 0; i < 24; i++) {
      warren::yield();
      EXPECT_FALSE(back) << i;
      out.offer_written(10);
      taken(out);
    }
    out.offer_written(10);  // 50 are left
    writer.wait();
    out.wait_for_room(50);  // there is room: nobody would wake it
  });
}

TEST(outbox, abort_wakes_the_writer_and_nothing_is_added_any_more) {
  on_one_p([](outbox& out) {
    bool back = false;
    EXPECT_EQ(add(out, "0123456789"), 10u);
    warren::wait_group writer;
    writer.go([&] {
      out.wait_for_room(0);
      back = true;
    });
    warren::yield();
    EXPECT_FALSE(back);
    out.abort();
    writer.wait();
    byte_buffer late = bytes("late");
    EXPECT_EQ(out.add(late), std::nullopt);
    EXPECT_EQ(late.size(), 4u);
    out.wait_for_room(0);
    EXPECT_EQ(out.unsent(), 10u);
  });
}

TEST(outbox, what_was_announced_is_sent_and_the_rest_dropped) {
  outbox out;
  add(out, "0123456789");
  EXPECT_FALSE(out.offer_written(4));
  add(out, "abc");
  out.abort();
  EXPECT_EQ(out.drop_unsent(), 9u);
  EXPECT_EQ(out.unsent(), 0u);
  EXPECT_EQ(taken(out), "0123");
  EXPECT_TRUE(out.offer_written(100));
  EXPECT_EQ(out.offered(), 0u);

  out.buffer().clear();
  out.reset();
  EXPECT_EQ(out.sent(), 0u);
  EXPECT_EQ(add(out, "next"), 4u);
  EXPECT_TRUE(out.offer_written(100));
  EXPECT_EQ(taken(out), "next");
}

TEST(outbox, both_sides_at_once) {
  warren::run([] {
    outbox out;
    constexpr int kMessages = 2000;
    std::string expected;
    for (int i = 0; i < kMessages; i++) expected += std::to_string(i) + ' ';
    warren::wait_group writer;
    writer.go([&] {
      for (int i = 0; i < kMessages; i++) {
        if (add(out, std::to_string(i) + ' ').value_or(0) > 64) out.wait_for_room(64);
      }
    });
    std::string got;
    while (got.size() < expected.size()) {
      out.offer_written(17);
      got += taken(out);
      warren::yield();
    }
    writer.wait();
    EXPECT_EQ(got, expected);
    EXPECT_EQ(out.unsent(), 0u);
  });
}

}  // namespace
