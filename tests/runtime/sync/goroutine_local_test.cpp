// goroutine_local: one value per goroutine, seen by the collector, destroyed at the end.
#include "warren/goroutine_local.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

using testing::until;

constinit goroutine_local<int> number;
constinit goroutine_local<std::string> text([] { return std::string(100, 'x'); });
constinit goroutine_local<ptr<int>> pointer;

TEST(GoroutineLocal, EveryGoroutineHasItsOwn) {
  run([] {
    EXPECT_EQ(number.find(), nullptr);
    *number = -1;
    wait_group wg;
    for (int i = 0; i < 500; ++i)
      wg.go([i] {
        EXPECT_EQ(number.find(), nullptr) << "inherited, or left by the stack's former owner";
        EXPECT_EQ(*number, 0);
        EXPECT_EQ(text->size(), 100u);
        for (int k = 0; k < 10; ++k) {
          *number = i;
          text.emplace(std::to_string(i));
          yield();
          EXPECT_EQ(*number, i);
          EXPECT_EQ(*text, std::to_string(i));
        }
      });
    wg.wait();
    EXPECT_EQ(*number, -1);
    number.reset();
    EXPECT_EQ(number.find(), nullptr);
    number.reset();
  });
  run([] { EXPECT_EQ(number.find(), nullptr) << "of the run before"; });
}

TEST(GoroutineLocal, TheCollectorSeesTheValues) {
  run([] {
    wait_group wg;
    for (int i = 0; i < 50; ++i)
      wg.go([i] {
        *pointer = make<int>(i);
        for (int k = 0; k < 5; ++k) {
          for (int n = 0; n < 200; ++n) *make<int>() = -1;
          if (i == 0) gc();
          yield();
        }
        EXPECT_EQ(**pointer, i);
      });
    wg.wait();
  });
}

std::vector<std::string>* ends = nullptr;
template <char Name>
struct witness {
  witness() = default;
  ~witness() { ends->push_back(std::string(1, Name)); }
};
constinit goroutine_local<witness<'a'>> a;
constinit goroutine_local<witness<'b'>> b;
constinit goroutine_local<witness<'c'>> c;
struct last_will {
  ~last_will() {
    ends->push_back("will");
    *a;  // makes one anew
  }
};
constinit goroutine_local<last_will> will;

TEST(GoroutineLocal, DestroyedAtTheEndInReverseOrder) {
  std::vector<std::string> order;
  ends = &order;
  run([&] {
    wait_group wg;
    wg.go([&] {
      *b;
      *c;
      *a;
      b.reset();
      EXPECT_EQ(order, (std::vector<std::string>{"b"}));
      *b;
    });
    wg.wait();
    until([&] { return order.size() == 4; });
    EXPECT_EQ(order, (std::vector<std::string>{"b", "b", "a", "c"}));
    order.clear();
    go([&] {
      *will;
      *a;
    });
    until([&] { return order.size() == 3; });
    EXPECT_EQ(order, (std::vector<std::string>{"a", "will", "a"}));
    order.clear();
    *c;  // the main goroutine's
  });
  EXPECT_EQ(order, (std::vector<std::string>{"c"}));
}

struct throws_when_made {
  throws_when_made() { throw std::runtime_error("made"); }
};
constinit goroutine_local<throws_when_made> throwing;
TEST(GoroutineLocal, AValueThatCannotBeMadeIsNotThere) {
  run([] {
    EXPECT_THROW(*throwing, std::runtime_error);
    EXPECT_EQ(throwing.find(), nullptr);
  });
}

// One table of many: as many variables as a large program has.
TEST(GoroutineLocal, ManyVariables) {
  run([] {
    constexpr int kVariables = 1000;
    const auto many = std::make_unique<goroutine_local<int>[]>(kVariables);
    wait_group wg;
    for (int g = 0; g < 10; ++g)
      wg.go([&, g] {
        for (int i = g; i < kVariables; i += 7) *many[i] = i * g;
        yield();
        for (int i = 0; i < kVariables; ++i) {
          if ((i - g) % 7 == 0 && i >= g) {
            EXPECT_EQ(*many[i], i * g);
          } else {
            EXPECT_EQ(many[i].find(), nullptr);
          }
        }
      });
    wg.wait();
  });
}

class GoroutineLocalDeathTest : public ::testing::Test {
 protected:
  GoroutineLocalDeathTest() { tests::choose_death_style(); }
};
TEST_F(GoroutineLocalDeathTest, OnAThreadOutside) {
  EXPECT_DEATH(run([] { std::thread([] { *number = 1; }).join(); }),
               "fatal error: a goroutine_local on a thread that runs no goroutine: use thread_local there");
}

}  // namespace
}  // namespace warren
