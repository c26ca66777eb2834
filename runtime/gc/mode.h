// The modes of the collector (what each does: collector.h).
#pragma once
#include <cstdint>

namespace warren::rt {

enum class gc_mode : uint8_t { stw, dijkstra, yuasa, hybrid };
const char* to_string(gc_mode m) noexcept;
// False: text is none of them.
bool parse_gc_mode(const char* text, gc_mode* out) noexcept;

}  // namespace warren::rt
