// The pure parsers, by tables.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>

#include "server/grpc/base64.h"
#include "server/grpc/percent.h"
#include "server/grpc/timeout.h"
#include "server/grpc/wire.h"

namespace {

using namespace warren::grpc;
using namespace std::string_literals;
using namespace std::string_view_literals;

TEST(timeout, table) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  const struct {
    std::string_view text;
    std::optional<int64_t> ns;
  } cases[] = {
      {"1n", 1},
      {"0n", 0},
      {"0H", 0},
      {"1u", 1'000},
      {"250m", 250'000'000},
      {"5S", 5'000'000'000},
      {"2M", 120'000'000'000},
      {"1H", 3'600'000'000'000},
      {"00000001S", 1'000'000'000},
      {"99999999n", 99'999'999},
      {"99999999S", 99'999'999'000'000'000},
      {"99999999M", 5'999'999'940'000'000'000},
      {"2562047H", 2562047LL * 3600 * 1'000'000'000},
      {"2562048H", most},
      {"99999999H", most},
      {"", {}},
      {"1", {}},
      {"S", {}},
      {"n", {}},
      {"123456789S", {}},
      {"-1S", {}},
      {"+1S", {}},
      {" 1S", {}},
      {"1S ", {}},
      {"1 S", {}},
      {"1.5S", {}},
      {"1s", {}},
      {"1h", {}},
      {"1x", {}},
      {"1SS", {}},
      {"\0S"sv, {}},
  };
  for (const auto& c : cases) EXPECT_EQ(parse_timeout(c.text), c.ns) << c.text;
}

TEST(percent, encode_table) {
  const struct {
    std::string text, encoded;
  } cases[] = {
      {"", ""},
      {"plain text, with ~ and !", "plain text, with ~ and !"},
      {"100%", "100%25"},
      {"\t\ntest", "%09%0Atest"},
      {"\x7f", "%7F"},
      {"\0"s, "%00"},
      {"é", "%C3%A9"},
      {"☺", "%E2%98%BA"},
      {"😈", "%F0%9F%98%88"},
      {"\xff", "%EF%BF%BD"},
      {"a\xc3", "a%EF%BF%BD"},
      {"\xc3\x28", "%EF%BF%BD("},
      {"\xc0\xaf", "%EF%BF%BD%EF%BF%BD"},                            // overlong '/'
      {"\xed\xa0\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD"},               // a surrogate
      {"\xf4\x90\x80\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD"},  // above U+10FFFF
      {" a b ", "%20a b%20"},                                        // HTTP would strip the ends
      {"  ", "%20%20"},
  };
  for (const auto& c : cases) {
    std::string out = ">";
    percent_encode(c.text, out);
    EXPECT_EQ(out, ">" + c.encoded) << c.text;
  }
}

TEST(percent, decode_is_lenient) {
  const struct {
    std::string text, decoded;
  } cases[] = {
      {"", ""},       {"a%20b", "a b"}, {"%", "%"},         {"%2", "%2"},   {"%zz", "%zz"},
      {"%2z", "%2z"}, {"%25", "%"},     {"%e2%98%ba", "☺"}, {"%%20", "% "}, {"%FF", "\xff"},
  };
  for (const auto& c : cases) EXPECT_EQ(percent_decode(c.text), c.decoded) << c.text;
}

TEST(percent, round_trip_of_utf8) {
  for (const std::string& s : {"\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"s, " %%% "s, "\0\1\2"s}) {
    std::string encoded;
    percent_encode(s, encoded);
    EXPECT_EQ(percent_decode(encoded), s);
  }
}

TEST(base64, encode_is_unpadded) {
  const struct {
    std::string bytes, text;
  } cases[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
               {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}};
  for (const auto& c : cases) {
    std::string out = ">";
    base64_encode(c.bytes, out);
    EXPECT_EQ(out, ">" + c.text);
    std::string back;
    EXPECT_TRUE(base64_decode(c.text, back));
    EXPECT_EQ(back, c.bytes);
  }
}

TEST(base64, decode_table) {
  const struct {
    std::string_view text;
    std::optional<std::string> bytes;
  } cases[] = {
      {"Zg==", "f"}, {"Zg", "f"},   {"Zm8=", "fo"}, {"Zm8", "fo"}, {"Zh", "f"},  // unused bits set: accepted
      {"", ""},      {"A", {}},     {"AAAAA", {}},  {"Zg=", {}},   {"Zg===", {}}, {"=", {}},      {"====", {}},
      {"Z=g=", {}},  {"Zm9v=", {}}, {"Zm 9v", {}},  {"Zm9-", {}},  {"Zm9_", {}},  {"Zm9v\n", {}}, {"\xffm9v", {}},
  };
  for (const auto& c : cases) {
    std::string out = "kept";
    const bool ok = base64_decode(c.text, out);
    EXPECT_EQ(ok, c.bytes.has_value()) << c.text;
    EXPECT_EQ(out, "kept" + c.bytes.value_or("")) << c.text;
  }
}

TEST(message_reader, pieces_of_every_size) {
  const std::string bytes = "\0\0\0\0\5hello\0\0\0\0\0\1\0\0\0\3abc"s;
  for (size_t step = 1; step <= bytes.size(); step++) {
    message_reader r(100);
    std::vector<std::string> got;
    for (size_t at = 0; at < bytes.size(); at += step) {
      std::string_view piece = std::string_view(bytes).substr(at, step);
      while (!piece.empty()) {
        const auto o = r.feed(piece);
        if (o == message_reader::outcome::complete) {
          std::string m(r.message());
          if (r.compressed()) m.insert(m.begin(), 'z');
          got.push_back(m);
          r.next();
        } else {
          ASSERT_EQ(o, message_reader::outcome::need_more);
        }
      }
    }
    EXPECT_TRUE(r.at_boundary());
    EXPECT_EQ(got, (std::vector<std::string>{"hello", "", "zabc"})) << step;
  }
}

// Memory follows what has come, not what was promised.
TEST(message_reader, trusts_no_promise) {
  const std::string prefix = "\0\0\x10\0\0"s;
  message_reader r(2 << 20);
  std::string_view head = prefix;
  ASSERT_EQ(r.feed(head), message_reader::outcome::need_more);
  EXPECT_LE(r.buffer().capacity(), message_reader::kTrusted);
  const std::string part(4096, 'p');
  for (size_t came = part.size(); came <= 1 << 20; came += part.size()) {
    std::string_view piece = part;
    const auto o = r.feed(piece);
    ASSERT_EQ(o, came == 1 << 20 ? message_reader::outcome::complete : message_reader::outcome::need_more) << came;
    ASSERT_LE(r.buffer().capacity(), std::max(message_reader::kTrusted, message_reader::kGrowth * came));
  }
  EXPECT_EQ(r.buffer().capacity(), size_t{1} << 20);  // and no more than the message
  EXPECT_EQ(r.message(), std::string(1 << 20, 'p'));
}

TEST(message_reader, takes_a_whole_message_as_if_it_was_fed) {
  message_reader r(100);
  r.assign("hello", true);
  EXPECT_FALSE(r.at_boundary());
  EXPECT_TRUE(r.compressed());
  EXPECT_EQ(r.length(), 5u);
  EXPECT_EQ(r.message(), "hello");
  r.next();
  r.assign("", false);
  EXPECT_EQ(r.message(), "");
  EXPECT_NE(r.message().data(), nullptr);
  EXPECT_FALSE(r.compressed());
}

TEST(whole_message, is_one_message_and_nothing_besides) {
  const auto bytes = [](std::string_view piece) {
    const auto m = whole_message(piece);
    return m ? std::string(m->compressed ? "z" : "") + std::string(m->bytes) : "(none)";
  };
  EXPECT_EQ(bytes("\0\0\0\0\5hello"sv), "hello");
  EXPECT_EQ(bytes("\1\0\0\0\1a"sv), "za");
  EXPECT_EQ(bytes("\0\0\0\0\0"sv), "");
  EXPECT_NE(whole_message("\0\0\0\0\0"sv)->bytes.data(), nullptr);
  for (const std::string_view other :
       {""sv, "\0"sv, "\0\0\0\0"sv, "\0\0\0\0\5hell"sv, "\0\0\0\0\5hello!"sv, "\2\0\0\0\1a"sv, "\xff\0\0\0\1a"sv, "\0\1\0\0\1a"sv}) {
    EXPECT_EQ(bytes(other), "(none)");
  }
}

TEST(message_reader, refuses) {
  const struct {
    std::string bytes;
    message_reader::outcome outcome;
  } cases[] = {
      {"\2", message_reader::outcome::bad_flag},
      {"\xff\0\0\0\1"s, message_reader::outcome::bad_flag},
      {"\0\0\0\0\x0b"s, message_reader::outcome::too_large},
      {"\0\xff\xff\xff\xff"s, message_reader::outcome::too_large},
      {"\0\0\0\0\x0a"s, message_reader::outcome::need_more},
  };
  for (const auto& c : cases) {
    message_reader r(10);
    std::string_view piece = c.bytes;
    EXPECT_EQ(r.feed(piece), c.outcome);
  }
}

TEST(metadata, add_checks_and_lowers) {
  metadata m;
  EXPECT_TRUE(m.add("X-Mixed-Case", "v"));
  EXPECT_TRUE(m.add("k-bin", "\0\xff"sv));
  EXPECT_TRUE(m.add("empty", ""));
  for (const char* key : {"", ":path", "grpc-status", "grpc-anything", "te", "content-type", "connection", "host", "a b", "ä", "a:b"}) {
    EXPECT_FALSE(m.add(key, "v")) << key;
  }
  for (const char* value : {"a\nb", "\x7f", "é", " lead", "trail "}) EXPECT_FALSE(m.add("k", value)) << value;
  EXPECT_EQ(m.size(), 3u);
  EXPECT_EQ(m.find("x-mixed-case"), "v");
  EXPECT_EQ(m.find("k-bin"), "\0\xff"sv);
  EXPECT_EQ(m.find("nope"), std::nullopt);
  EXPECT_TRUE(m.add("x-mixed-case", "w"));
  EXPECT_EQ(m.find_all("x-mixed-case"), (std::vector<std::string_view>{"v", "w"}));
}

TEST(result, value_or_status) {
  const result<int> v = 7;
  EXPECT_TRUE(v.ok());
  EXPECT_EQ(*v, 7);
  const result<int> s = not_found("no");
  EXPECT_FALSE(s.ok());
  EXPECT_EQ(s.status().code(), status_code::not_found);
  const result<int> neither = status();
  EXPECT_FALSE(neither.ok());
  EXPECT_EQ(neither.status().code(), status_code::unknown);
}

}  // namespace
