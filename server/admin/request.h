// One HTTP/1.1 request head, parsed strictly.
//
// The admin port answers scrapes, probes and a browser: GET without a body is all it needs, and all this parser takes. It is written here
// because the small C parsers of the field are either unmaintained (http_parser) or not packaged as a C library (llhttp), and a server
// library for a few hundred lines of GET would be the larger dependency.
//
// Strict means: RFC 9112 without its tolerances. Lines end in CRLF, never in a bare LF; no folded header lines; no white space before a
// colon; a Host field exactly once in HTTP/1.1; nothing but a token as method; only visible ASCII in the target. What is refused is
// answered with the status the RFC names and the connection is closed, so a parser that disagrees with ours about where a request ends
// (request smuggling) never sees a second one.
#pragma once
#include <cstddef>
#include <string_view>

#include <warren/admin.h>

namespace warren::admin {

// The longest head taken, in bytes, from the request line to the empty line. A scrape's is about 300; 8 KiB is what most servers take.
inline constexpr size_t max_head = 8192;
// The longest request line taken, in bytes, its CRLF included. Nothing on this port has a long address.
inline constexpr size_t max_request_line = 2048;
// The longest method name looked at before the request is called garbage, in bytes.
inline constexpr size_t max_method = 16;

struct parse_result {
  enum class kind {
    need_more,  // good so far; give more bytes, the same ones first
    complete,   // *out is this request; its views point into the bytes
    refused,    // answer `status` and close
  } what;
  size_t consumed = 0;      // complete: length of the head
  bool keep_alive = false;  // complete: may another request follow on this connection?
  int status = 0;           // refused: 400, 405, 414, 431, 501, 505
};

// Parses the request at the front of `bytes`. Never looks beyond the head's end. Allocates nothing, does not park.
// Garbage is refused as soon as it shows, not when the head is complete.
parse_result parse_request(std::string_view bytes, request* out);

// "Bad Request" for 400, and so on for every status the admin port answers.
std::string_view reason_of(int status);

}  // namespace warren::admin
