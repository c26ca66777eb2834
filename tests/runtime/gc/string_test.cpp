#include <algorithm>
#include <map>
#include <ranges>
#include <sstream>
#include <unordered_set>

#include <warren/string.h>

#include "runtime/os/siphash.h"
#include "tests/runtime/gc/container_testing.h"

namespace {

using namespace warren;
using namespace warren::tests;

static_assert(sizeof(string) == 16);
static_assert(std::ranges::contiguous_range<string>);
static_assert(std::is_convertible_v<string, std::string_view> && std::is_convertible_v<std::string_view, string>);
static_assert(!std::is_constructible_v<string, std::nullptr_t>);
static_assert(!std::is_convertible_v<string, std::string>, "a copy of all characters is asked for by name");

TEST(String, ReadsLikeAStringView) {
  on_checked_goroutine([] {
    const string empty;
    EXPECT_EQ(empty, "");
    EXPECT_STREQ(empty.c_str(), "");
    EXPECT_EQ(empty.size(), 0u);
    const string s = "the quick brown fox";
    EXPECT_EQ(s.size(), 19u);
    EXPECT_TRUE(s.starts_with("the") && s.ends_with("fox") && s.contains("quick"));
    EXPECT_EQ(s.find("brown"), 10u);
    EXPECT_EQ(s.find('z'), string::npos);
    EXPECT_EQ(s.rfind('o'), 17u);
    EXPECT_EQ(s.find_first_of("aeiou"), 2u);
    EXPECT_EQ(s.at(4), 'q');
    EXPECT_THROW((void)s.at(19), std::out_of_range);
    EXPECT_THROW((void)s.substr(20), std::out_of_range);
    EXPECT_EQ(s.front(), 't');
    EXPECT_EQ(s.back(), 'x');
    EXPECT_EQ(std::string(s.rbegin(), s.rend()), "xof nworb kciuq eht");
    EXPECT_EQ(std::ranges::count(s, 'o'), 2);
    const std::string std_copy(s);
    EXPECT_EQ(std_copy, s);
    EXPECT_EQ(s, std_copy);
    EXPECT_EQ(s, string(std_copy));
    EXPECT_EQ(s, std::string_view(std_copy));
    EXPECT_NE(s, "the");
    EXPECT_LT(s, "zebra");
    EXPECT_GT("zebra", s);
    EXPECT_EQ(string("a\0b", 3).size(), 3u);
    EXPECT_EQ(string(3, 'x'), "xxx");
    std::ostringstream out;
    out << s << '|' << empty;
    EXPECT_EQ(out.str(), "the quick brown fox|");
  });
}

TEST(String, PartsShareAndKeepTheText) {
  on_checked_goroutine([] {
    string tail;
    const char* begin = nullptr;
    {
      const string all(std::string(1000, 'a') + "tail");
      begin = all.data();
      tail = all.substr(1000);
      EXPECT_EQ(tail.data(), begin + 1000);
      EXPECT_EQ(tail.substr(4), "");
      EXPECT_EQ(tail.substr(1, 2), "ai");
    }
    for (int i = 0; i < 3; ++i) {
      gc();
      for (int k = 0; k < 1000; ++k) (void)string(std::string(1000, 'z'));
    }
    EXPECT_EQ(tail, "tail");
    EXPECT_EQ(object_at(tail.data()), object_at(begin));
    const string own = tail.compact();
    EXPECT_EQ(own, tail);
    EXPECT_NE(own.data(), tail.data());
  });
}

TEST(String, CStr) {
  on_checked_goroutine([] {
    for (size_t n = 1; n < 600; ++n) {
      const string s(n, 'c');
      EXPECT_EQ(s.c_str(), s.data()) << "a whole string needs no copy";
      EXPECT_EQ(strlen(s.c_str()), n);
      EXPECT_EQ(object_at(s.data() + n), object_at(s.data())) << "its end belongs to it";
      const string part = s.substr(0, n / 2);
      EXPECT_EQ(strlen(part.c_str()), n / 2);
    }
  });
}

TEST(String, Concatenation) {
  on_checked_goroutine([] {
    const string a = "a";
    EXPECT_EQ(a + "b", "ab");
    EXPECT_EQ("b" + a, "ba");
    EXPECT_EQ(a + a + std::string("c") + std::string_view("d"), "aacd");
    EXPECT_EQ(string() + string(), "");
    string s = a;
    const string before = s;
    s += "xyz";
    s += '!';
    EXPECT_EQ(s, "axyz!");
    EXPECT_EQ(before, "a") << "strings do not change";
    s += s;
    EXPECT_EQ(s, "axyz!axyz!");
  });
}

TEST(StringBuilder, AgreesWithStdStringUnderRandomOperationsAndCollections) {
  on_checked_goroutine([] {
    random_numbers random(3);
    string_builder ours;
    std::string theirs;
    for (int step = 0; step < scaled(3000); ++step) {
      switch (random.below(8)) {
        case 0:
        case 1: {
          const std::string more(random.below(40), static_cast<char>('a' + random.below(26)));
          ours += more;
          theirs += more;
          break;
        }
        case 2:
          ours += 'x';
          theirs += 'x';
          break;
        case 3:
          ours.append(3, 'y');
          theirs.append(3, 'y');
          break;
        case 4:  // its own text
          if (theirs.size() > 2000) break;
          ours += ours.view();
          theirs += std::string(theirs);
          break;
        case 5: {
          if (random.below(5) != 0) break;
          const string s = ours.str();
          EXPECT_EQ(s, theirs);
          EXPECT_EQ(strlen(s.c_str()), s.size());
          EXPECT_TRUE(ours.empty());
          theirs.clear();
          break;
        }
        case 6:
          if (random.below(10) == 0) ours.clear(), theirs.clear();
          break;
        case 7: {
          if (step % 11 == 0) gc();
          string_builder copy = ours;
          copy += "?";
          break;
        }
      }
      ASSERT_EQ(ours.view(), theirs);
    }
  });
}

TEST(StringBuilder, AShortRestOfALongMemoryIsCopied) {
  on_checked_goroutine([] {
    string_builder b;
    b.append(1000, 'x');
    const char* const memory = b.view().data();
    b.clear();
    b += "short";
    const string s = b.str();
    EXPECT_NE(s.data(), memory);
    EXPECT_EQ(s, "short");
    b.append(900, 'y');
    const char* const again = b.view().data();
    EXPECT_EQ(b.str().data(), again);
    // What a builder was used for before does not show behind the zero of what it is used for now.
    string_builder c;
    c += "0123456789012345678901234567890";
    c.clear();
    c += "0123456789";
    EXPECT_STREQ(c.str().c_str(), "0123456789");
  });
}

TEST(String, IsAKeyOfStdTables) {
  on_checked_goroutine([] {
    const std::hash<string> h;
    EXPECT_EQ(h("abc"), h(string("abcd").substr(0, 3)));
    EXPECT_NE(h("abc"), h("abd"));
    EXPECT_EQ(hash<string>()(std::string_view("k")), hash<std::string>()("k"));
  });
}

// The test vectors of the paper's appendix are for SipHash-2-4 with the key 00 01 … 0f: input 00 01 … 0e gives a129ca6149be45e5.
TEST(SipHash, AgreesWithThePaper) {
  unsigned char in[15];
  for (unsigned char i = 0; i < 15; ++i) in[i] = i;
  const rt::siphash_key key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(rt::siphash(in, 15, key, 2, 4), 0xa129ca6149be45e5u);
  EXPECT_EQ(rt::siphash(in, 0, key, 2, 4), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(rt::siphash(in, 8, key, 2, 4), 0x93f5f5799a932462u);
  EXPECT_NE(rt::siphash(in, 15, key), rt::siphash(in, 15, {1, 2}));
}

}  // namespace
