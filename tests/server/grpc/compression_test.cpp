// Compressed messages: rules 22 to 25 and 38, bombs, damage.
#include "server/grpc/compression.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

namespace {

using warren::testing::fields;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::reply;
using warren::testing::text_service;
using warren::testing::with_server;
namespace grpc = warren::grpc;
using grpc::encoding;
using grpc::inflate_outcome;

using strings = std::vector<std::string>;

std::string packed(encoding how, std::string_view bytes) {
  grpc::byte_buffer out;
  grpc::deflate(how, bytes, out);
  return {out.data(), out.size()};
}

std::pair<inflate_outcome, std::string> unpacked(encoding how, std::string_view bytes, size_t limit = 1 << 20) {
  grpc::byte_buffer out;
  const inflate_outcome o = grpc::inflate(how, bytes, limit, out);
  return {o, std::string(out.data(), out.size())};
}

// zlib itself, not our use of it.
std::string reference_inflate(int bits, std::string_view bytes) {
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, bits), Z_OK);
  std::string out(1 << 20, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  inflateEnd(&z);
  return out;
}

TEST(compression, formats_are_those_the_names_stand_for) {
  const std::string text = "the quick brown fox " + std::string(5000, 'z');
  EXPECT_EQ(reference_inflate(15, packed(encoding::deflate, text)), text);
  EXPECT_EQ(reference_inflate(15 + 16, packed(encoding::gzip, text)), text);
}

TEST(compression, round_trips_of_many_sizes) {
  uint32_t seed = 1;
  for (const encoding how : {encoding::deflate, encoding::gzip}) {
    for (const size_t size : {0u, 1u, 511u, 512u, 513u, 16'384u, 100'000u}) {
      std::string text(size, '\0');
      for (char& ch : text) {
        seed = seed * 1664525 + 1013904223;
        ch = static_cast<char>(seed >> 24 & 0x3f);
      }
      EXPECT_EQ(unpacked(how, packed(how, text)), std::pair(inflate_outcome::whole, text)) << size;
    }
  }
}

TEST(compression, the_limit_is_exact) {
  for (const encoding how : {encoding::deflate, encoding::gzip}) {
    const std::string p = packed(how, std::string(10'000, 'x'));
    EXPECT_EQ(unpacked(how, p, 10'000).first, inflate_outcome::whole);
    EXPECT_EQ(unpacked(how, p, 9'999).first, inflate_outcome::too_large);
    EXPECT_EQ(unpacked(how, packed(how, ""), 0).first, inflate_outcome::whole);
    EXPECT_EQ(unpacked(how, packed(how, "a"), 0).first, inflate_outcome::too_large);
  }
}

// 64 MiB in 64 KiB: hardly anything past the limit may be made room for.
TEST(compression, a_bomb_stops_at_the_limit) {
  const std::string p = packed(encoding::gzip, std::string(64 << 20, '\0'));
  grpc::byte_buffer out;
  EXPECT_EQ(grpc::inflate(encoding::gzip, p, 4 << 20, out), inflate_outcome::too_large);
  EXPECT_LE(out.capacity(), size_t{8 << 20} + 1);
}

TEST(compression, damage_is_noticed_at_every_place) {
  for (const encoding how : {encoding::deflate, encoding::gzip}) {
    const std::string good = packed(how, "some text that is long enough to have a body, some text that repeats");
    for (size_t cut = 0; cut < good.size(); cut++) EXPECT_EQ(unpacked(how, good.substr(0, cut)).first, inflate_outcome::malformed) << cut;
    EXPECT_EQ(unpacked(how, good + "x").first, inflate_outcome::malformed);
    std::string bad = good;
    bad[bad.size() - 5] = static_cast<char>(bad[bad.size() - 5] ^ 1);  // the checksum, in both formats
    EXPECT_EQ(unpacked(how, bad).first, inflate_outcome::malformed);
    EXPECT_EQ(unpacked(how, "not compressed at all").first, inflate_outcome::malformed);
  }
  // After all that the kept states still work.
  EXPECT_EQ(unpacked(encoding::gzip, packed(encoding::gzip, "fine")).second, "fine");
}

TEST(compression, members_of_gzip_are_joined_and_limited_together) {
  const std::string two = packed(encoding::gzip, "first ") + packed(encoding::gzip, "second");
  EXPECT_EQ(unpacked(encoding::gzip, two), std::pair(inflate_outcome::whole, std::string("first second")));
  EXPECT_EQ(unpacked(encoding::gzip, two, 11).first, inflate_outcome::too_large);
  EXPECT_EQ(unpacked(encoding::deflate, packed(encoding::deflate, "a") + packed(encoding::deflate, "b")).first, inflate_outcome::malformed);
}

TEST(compression, accept_lists) {
  EXPECT_EQ(grpc::parse_accept_encoding("identity,deflate,gzip"), 7u);
  EXPECT_EQ(grpc::parse_accept_encoding(" gzip ; q=0.5 , br"), 4u);
  EXPECT_EQ(grpc::parse_accept_encoding(""), 0u);
  EXPECT_EQ(grpc::parse_accept_encoding(",,;,gzipx"), 0u);
}

// --- on the wire -------------------------------------------------------------------------------------------------------------------------

reply call(raw_client& c, const std::string& path, const std::string& framed, const fields& extra) {
  fields f = raw_client::request_fields(path);
  f.insert(f.end(), extra.begin(), extra.end());
  const int32_t id = c.begin(f);
  c.data(id, framed, true);
  return c.wait(id);
}

TEST(compressed_calls, rule_22_flag_without_encoding) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string m = message(packed(encoding::gzip, "x"), 1);
    for (const char* path : {"/test.Text/Echo", "/test.Text/Chat"}) {
      EXPECT_EQ(call(c, path, m, {}).grpc_status(), "13");
      EXPECT_EQ(call(c, path, m, {{"grpc-encoding", "identity"}}).grpc_status(), "13");
    }
  });
}

TEST(compressed_calls, rule_23_unknown_encoding) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const reply r = call(c, "/test.Text/Echo", message("x", 1), {{"grpc-encoding", "snappy"}});
    EXPECT_EQ(r.grpc_status(), "12");
    EXPECT_EQ(r.trailer("grpc-accept-encoding"), "identity,deflate,gzip");
  });
}

TEST(compressed_calls, rule_24_limit_while_inflating) {
  with_server({.max_receive_message = 1000}, [](grpc::server& s, text_service& svc) {
    raw_client c(s.address());
    const std::string bomb = message(packed(encoding::gzip, std::string(200'000, 'b')), 1);
    ASSERT_LT(bomb.size(), 1000u);
    for (const char* path : {"/test.Text/Echo", "/test.Text/Chat", "/test.Text/Upload"}) {
      EXPECT_EQ(call(c, path, bomb, {{"grpc-encoding", "gzip"}}).grpc_status(), "8") << path;
    }
    EXPECT_EQ(svc.reads, 0);
    const std::string fits = message(packed(encoding::gzip, std::string(1000, 'b')), 1);
    EXPECT_EQ(call(c, "/test.Text/Echo", fits, {{"grpc-encoding", "gzip"}}).messages(), strings{std::string(1000, 'b')});
  });
}

TEST(compressed_calls, rule_25_encoding_named_and_not_used) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(call(c, "/test.Text/Echo", message("plain"), {{"grpc-encoding", "gzip"}}).messages(), strings{"plain"});
    const std::string mixed = message("plain") + message(packed(encoding::deflate, "packed"), 1) + message("");
    EXPECT_EQ(call(c, "/test.Text/Chat", mixed, {{"grpc-encoding", "deflate"}}).messages(), (strings{"plain", "packed", ""}));
  });
}

TEST(compressed_calls, malformed_data_is_internal) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    for (const char* path : {"/test.Text/Echo", "/test.Text/Upload"}) {
      EXPECT_EQ(call(c, path, message("garbage", 1), {{"grpc-encoding", "gzip"}}).grpc_status(), "13") << path;
    }
    EXPECT_EQ(c.call("/test.Text/Echo", "alive").messages(), strings{"alive"});
  });
}

TEST(compressed_calls, rule_38_replies_are_compressed_only_for_those_who_take_it) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string want = std::string(1000, 'p');
    for (const auto& [name, how] : {std::pair("gzip", encoding::gzip), std::pair("deflate", encoding::deflate)}) {
      const std::string request = message(std::string(name) + " 1000");
      reply r = call(c, "/test.Text/Packed", request, {{"grpc-accept-encoding", "identity, deflate, gzip"}});
      EXPECT_EQ(r.header("grpc-encoding"), name);
      EXPECT_EQ(r.trailer("x-can"), "yes");
      EXPECT_EQ(r.data.at(0), 1);
      EXPECT_EQ(unpacked(how, r.messages().at(0)).second, want);
      r = call(c, "/test.Text/Packed", request, {{"grpc-accept-encoding", "identity"}});
      EXPECT_EQ(r.header("grpc-encoding"), "(absent)");
      EXPECT_EQ(r.trailer("x-can"), "no");
      EXPECT_EQ(r.data.at(0), 0);
      EXPECT_EQ(r.messages().at(0), want);
    }
    // What compressing would make longer travels as it is.
    const reply r = call(c, "/test.Text/Packed", message("gzip 1"), {{"grpc-accept-encoding", "gzip"}});
    EXPECT_EQ(r.header("grpc-encoding"), "gzip");
    EXPECT_EQ(r.data.at(0), 0);
    EXPECT_EQ(r.messages(), strings{"p"});
  });
}

TEST(compressed_calls, each_message_of_a_stream_chooses) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    const std::string big(500, 'm');
    const reply r = call(c, "/test.Text/PackedChat", message(big) + message(big) + message(big), {{"grpc-accept-encoding", "gzip"}});
    const strings got = r.messages();
    ASSERT_EQ(got.size(), 3u);
    EXPECT_EQ(unpacked(encoding::gzip, got[0]).second, big);
    EXPECT_EQ(got[1], big);
    EXPECT_EQ(unpacked(encoding::gzip, got[2]).second, big);
    EXPECT_EQ(r.grpc_status(), "0");
  });
}

TEST(compressed_calls, the_handler_can_tell) {
  with_server([](grpc::server& s, text_service&) {
    raw_client c(s.address());
    EXPECT_EQ(call(c, "/test.Text/Packed", message("gzip 5"), {{"grpc-encoding", "gzip"}}).trailer("x-came-compressed"), "no");
    const std::string m = message(packed(encoding::gzip, "gzip 5"), 1);
    EXPECT_EQ(call(c, "/test.Text/Packed", m, {{"grpc-encoding", "gzip"}}).trailer("x-came-compressed"), "yes");
  });
}

}  // namespace
