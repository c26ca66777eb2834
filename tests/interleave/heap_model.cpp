// What channels ask of the heap and its barrier, with neither. Not instrumented.
#include <string.h>

#include "runtime/sched/park.h"
#include "warren/detail/barrier.h"
#include "warren/detail/type_map.h"

namespace warren::detail {

constinit std::atomic<uint32_t> barrier_flags{0};
void barrier_construct(void*, const volatile void*) noexcept {}
void barrier_assign(void*, const volatile void*, const volatile void*) noexcept {}
void barrier_destroy(void* slot) noexcept { memset(slot, 0, sizeof(void*)); }
void barrier_words_slow(const void*, size_t) noexcept {}

// Nobody scans the model's stacks.
struct elem_type;
void note_sent(const elem_type&, const void*) noexcept {}
void note_received(const elem_type&, rt::g*, const void*) noexcept {}

void* new_object(const type_descriptor& type) { return memset(::operator new(type.size), 0, type.size); }
void* new_array(const type_descriptor& element, size_t n) { return memset(::operator new(element.size* n + 1), 0, element.size * n + 1); }
void register_finalizer(void*, const type_descriptor&) {}

}  // namespace warren::detail
