#include "server/admin/request.h"

#include <algorithm>

namespace warren::admin {
namespace {

using std::string_view_literals::operator""sv;

// RFC 9110 §5.6.2: what methods and field names are made of.
bool is_token(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         "!#$%&'*+-.^_`|~"sv.find(c) != std::string_view::npos;
}

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

// Field values may hold visible characters, blanks, and bytes above ASCII.
bool is_field_text(char c) { return c == '\t' || c == ' ' || is_visible(c) || static_cast<unsigned char>(c) >= 0x80; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

parse_result refuse(int status) { return {parse_result::kind::refused, 0, false, status}; }
constexpr parse_result need_more{parse_result::kind::need_more, 0, false, 0};

// Does the comma-separated list hold the word?
bool list_has(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trimmed(list.substr(0, comma)), word)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// "HTTP/" DIGIT "." DIGIT, and nothing else.
bool is_version(std::string_view s) {
  return s.size() == 8 && s.starts_with("HTTP/") && s[5] >= '0' && s[5] <= '9' && s[6] == '.' && s[7] >= '0' && s[7] <= '9';
}

struct request_line {
  int status = 0;  // 0: good
  bool http_1_0 = false;
};

request_line parse_request_line(std::string_view line, request* out) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0) return {400};
  const size_t second = line.find(' ', space + 1);
  if (second == std::string_view::npos) return {400};
  const std::string_view method = line.substr(0, space);
  const std::string_view target = line.substr(space + 1, second - space - 1);
  const std::string_view version = line.substr(second + 1);
  if (!std::all_of(method.begin(), method.end(), is_token)) return {400};
  if (target.empty() || !std::all_of(target.begin(), target.end(), is_visible)) return {400};
  if (!is_version(version)) return {400};
  if (version[5] != '1') return {505};
  if (method != "GET") {
    // A method of HTTP that this port does not serve is 405; a word HTTP does not know is 501.
    static constexpr std::string_view known[] = {"HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    return {std::find(std::begin(known), std::end(known), method) != std::end(known) ? 405 : 501};
  }
  if (target.front() != '/') return {400};  // a proxy's absolute form has no business here
  const size_t question = std::min(target.find('?'), target.size());
  out->path = target.substr(0, question);
  out->query = target.substr(std::min(question + 1, target.size()));
  return {0, version[7] == '0'};
}

// What is there of the first line, before it is complete: can it still become one?
bool may_become_request_line(std::string_view start) {
  const size_t space = start.find(' ');
  const std::string_view method = start.substr(0, space);
  if (method.size() > max_method || !std::all_of(method.begin(), method.end(), is_token)) return false;
  if (space == std::string_view::npos) return true;
  if (space == 0) return false;
  std::string_view rest = start.substr(space);
  if (rest.ends_with('\r')) rest.remove_suffix(1);
  return std::all_of(rest.begin(), rest.end(), [](char c) { return c == ' ' || is_visible(c); });
}

}  // namespace

parse_result parse_request(std::string_view bytes, request* out) {
  *out = {};
  if (bytes.empty()) return need_more;
  const std::string_view front = bytes.substr(0, max_request_line);
  const size_t newline = front.find('\n');
  if (newline == std::string_view::npos) {
    if (!may_become_request_line(front)) return refuse(400);
    return front.size() == max_request_line ? refuse(414) : need_more;
  }
  if (newline == 0 || bytes[newline - 1] != '\r') return refuse(400);
  const std::string_view first = bytes.substr(0, newline - 1);
  if (first.find('\r') != std::string_view::npos) return refuse(400);
  const request_line line = parse_request_line(first, out);
  if (line.status != 0) return refuse(line.status);

  int hosts = 0;
  bool close = line.http_1_0;
  for (size_t begin = newline + 1;;) {
    const std::string_view rest = bytes.substr(begin, max_head - std::min(begin, max_head));
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return bytes.size() >= max_head ? refuse(431) : need_more;
    if (end == 0 || rest[end - 1] != '\r') return refuse(400);
    const std::string_view field = rest.substr(0, end - 1);
    begin += end + 1;
    if (field.empty()) {
      if (hosts != 1 && !(line.http_1_0 && hosts == 0)) return refuse(400);
      return {parse_result::kind::complete, begin, !close, 0};
    }
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos || colon == 0) return refuse(400);
    const std::string_view name = field.substr(0, colon);
    const std::string_view value = trimmed(field.substr(colon + 1));
    if (!std::all_of(name.begin(), name.end(), is_token)) return refuse(400);  // a folded line or " :" ends here too
    if (!std::all_of(value.begin(), value.end(), is_field_text)) return refuse(400);
    if (equal_ignoring_case(name, "host")) {
      hosts++;
    } else if (equal_ignoring_case(name, "connection")) {
      if (list_has(value, "close")) close = true;
    } else if (equal_ignoring_case(name, "transfer-encoding")) {
      return refuse(400);  // a GET with a body
    } else if (equal_ignoring_case(name, "content-length")) {
      if (value != "0") return refuse(400);
    }
  }
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

}  // namespace warren::admin
