// What clang's -Wthread-safety is told of locks: which type is one, what takes and gives it, what it guards. Other compilers see nothing.
//
//   warren::mutex m;
//   int balance WARREN_GUARDED_BY(m);
//   void settle() WARREN_REQUIRES(m);
//
// The analysis understands warren::lock_guard and warren::shared_lock_guard, not std::unique_lock and its kin.
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define WARREN_TSA(x) __attribute__((x))
#else
#define WARREN_TSA(x)
#endif
// Types.
#define WARREN_CAPABILITY(name) WARREN_TSA(capability(name))
#define WARREN_SCOPED_CAPABILITY WARREN_TSA(scoped_lockable)
// Data.
#define WARREN_GUARDED_BY(x) WARREN_TSA(guarded_by(x))
#define WARREN_PT_GUARDED_BY(x) WARREN_TSA(pt_guarded_by(x))
#define WARREN_ACQUIRED_BEFORE(...) WARREN_TSA(acquired_before(__VA_ARGS__))
#define WARREN_ACQUIRED_AFTER(...) WARREN_TSA(acquired_after(__VA_ARGS__))
// Functions.
#define WARREN_REQUIRES(...) WARREN_TSA(requires_capability(__VA_ARGS__))
#define WARREN_REQUIRES_SHARED(...) WARREN_TSA(requires_shared_capability(__VA_ARGS__))
#define WARREN_EXCLUDES(...) WARREN_TSA(locks_excluded(__VA_ARGS__))
#define WARREN_ACQUIRE(...) WARREN_TSA(acquire_capability(__VA_ARGS__))
#define WARREN_ACQUIRE_SHARED(...) WARREN_TSA(acquire_shared_capability(__VA_ARGS__))
#define WARREN_TRY_ACQUIRE(...) WARREN_TSA(try_acquire_capability(__VA_ARGS__))
#define WARREN_TRY_ACQUIRE_SHARED(...) WARREN_TSA(try_acquire_shared_capability(__VA_ARGS__))
#define WARREN_RELEASE(...) WARREN_TSA(release_capability(__VA_ARGS__))
#define WARREN_RELEASE_SHARED(...) WARREN_TSA(release_shared_capability(__VA_ARGS__))
#define WARREN_RELEASE_GENERIC(...) WARREN_TSA(release_generic_capability(__VA_ARGS__))
#define WARREN_NO_THREAD_SAFETY_ANALYSIS WARREN_TSA(no_thread_safety_analysis)
