// What ptr and root need of the runtime: the write barrier's flag and cold paths, root cells, allocation.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace warren::detail {

// Why a store of a ptr leaves its fast path. 0 nearly always. Changes of `marking` and of what it shades happen with the world stopped, so
// a goroutine needs no fence to see them; the other bits are set before goroutines run.
enum barrier_flag : uint32_t {
  barrier_marking = 1,    // a collection marks: what a store hides or publishes must be shaded
  barrier_check = 2,      // every ptr is checked to live where the collector looks (debug builds; WARREN_CHECKPTR=1)
  barrier_record = 4,     // a test listens
  barrier_new_only = 8,   // while marking: the overwritten value needs no shading (mode dijkstra)
  barrier_old_only = 16,  // while marking: the stored value needs no shading (mode yuasa)
};
extern std::atomic<uint32_t> barrier_flags;

// The store is made before the flag is read, in the compiled code too. A thread that is stopped between the two has either not stored, or
// will see the flag when it goes on (runtime/gc/barrier.h has the argument).
inline void compiler_barrier() noexcept { asm volatile("" ::: "memory"); }

// slot: the address of the ptr. Called after the store, except destroy, which makes it.
void barrier_construct(void* slot, const volatile void* now) noexcept;
void barrier_assign(void* slot, const volatile void* old, const volatile void* now) noexcept;
void barrier_destroy(void* slot) noexcept;
void barrier_words_slow(const void* from, size_t bytes) noexcept;

// For words that may be collected pointers and are not ptrs, written (or about to be overwritten) at [from, from + bytes), aligned:
// shades all of them, in every mode. To be called after the store, like the barrier of a ptr, and before a deletion. A thread without a P
// does nothing here.
inline void barrier_words(const void* from, size_t bytes) noexcept {
  compiler_barrier();
  if ((barrier_flags.load(std::memory_order_relaxed) & barrier_marking) != 0) [[unlikely]]
    barrier_words_slow(from, bytes);
}

// A word outside the heap that the collector reads. Linked into a free list by the collector while unused.
struct root_cell {
  std::atomic<void*> value;
};
root_cell* root_new(const volatile void* value);              // nullptr for null; throws std::bad_alloc
root_cell* root_copy(const root_cell* from);                  // likewise
void root_set(root_cell** cell, const volatile void* value);  // takes a cell if there is none
void root_assign(root_cell** cell, const root_cell* from);
void root_delete(root_cell* cell) noexcept;
inline void* root_get(const root_cell* cell) noexcept { return cell->value.load(std::memory_order_relaxed); }

struct type_descriptor;
// Zeroed memory for one object, or for n elements and a spare byte. See make and make_array.
void* new_object(const type_descriptor& type);
void* new_array(const type_descriptor& element, size_t n);
// The object's destructor will run once, on a goroutine, after a collection found it unreachable.
void register_finalizer(void* object, const type_descriptor& type);
[[noreturn]] void index_out_of_range(size_t index, size_t size) noexcept;

}  // namespace warren::detail
