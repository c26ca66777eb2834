#include <algorithm>

#include <warren/grpc/metadata.h>

#include "server/grpc/reserved.h"

namespace warren::grpc {

namespace {
bool legal_key(std::string_view key) noexcept {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_' || c == '-' || c == '.';
  });
}

bool legal_text(std::string_view value) noexcept {
  if (!value.empty() && (value.front() == ' ' || value.back() == ' ')) return false;  // HTTP would strip it
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7E; });
}
}  // namespace

bool metadata::add(std::string_view key, std::string_view value) {
  std::string lower(key);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (!legal_key(lower) || reserved_header(lower) || connection_header(lower)) return false;
  if (!lower.ends_with("-bin") && !legal_text(value)) return false;
  add_unchecked(lower, value);
  return true;
}

void metadata::add_unchecked(std::string_view key, std::string_view value) {
  places_.push_back({static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())});
  text_.append(key);
  text_.append(value);
}

std::optional<std::string_view> metadata::find(std::string_view key) const noexcept {
  for (const entry e : *this) {
    if (e.key == key) return e.value;
  }
  return std::nullopt;
}

std::vector<std::string_view> metadata::find_all(std::string_view key) const {
  std::vector<std::string_view> all;
  for (const entry e : *this) {
    if (e.key == key) all.push_back(e.value);
  }
  return all;
}

}  // namespace warren::grpc
