// Places where two goroutines can interleave to a bad end. Nothing in the library; tests/runtime/sync/interleaving_test compiles these
// sources once more with WARREN_SYNC_TEST_POINTS and disturbs the schedule at each of them by a seeded generator.
#pragma once

#ifdef WARREN_SYNC_TEST_POINTS
namespace warren::detail {
// Called with and without locks held, on goroutines and on scheduler stacks: may delay the thread, must not park.
void sync_test_point() noexcept;
}  // namespace warren::detail
#define WARREN_SYNC_POINT() ::warren::detail::sync_test_point()
#else
#define WARREN_SYNC_POINT() static_cast<void>(0)
#endif
