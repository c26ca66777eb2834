// What clang's thread-safety analysis says of right and wrong uses of the public locks. Never linked: clang's -verify mode compares its
// errors with the words expected on each line, and fails if one is missing or one too many (CMakeLists.txt beside this file).
// One case per line:
// clang-format off
#include <chrono>

#include <warren/cond.h>
#include <warren/rwmutex.h>
#include <warren/sync.h>

using namespace warren;

mutex m;
rwmutex rw;
cond c;
int guarded WARREN_GUARDED_BY(m) = 0;
int shared WARREN_GUARDED_BY(rw) = 0;
int* pointed WARREN_PT_GUARDED_BY(m) = nullptr;
void needs() WARREN_REQUIRES(m);
void needs_shared() WARREN_REQUIRES_SHARED(rw);
void without() WARREN_EXCLUDES(m);

namespace accepted {
void use_guard() { lock_guard hold(m); ++guarded; *pointed = 1; needs(); }
void use_by_hand() { m.lock(); ++guarded; m.unlock(); without(); }
void use_try() { if (m.try_lock()) { ++guarded; m.unlock(); } }
void use_requires() WARREN_REQUIRES(m) { ++guarded; needs(); }
void use_wait() { lock_guard hold(m); while (guarded == 0) c.wait(m); }
void use_wait_for() { lock_guard hold(m); while (guarded == 0) (void)c.wait_for(m, std::chrono::seconds(1)); }
int use_shared() { shared_lock_guard hold(rw); needs_shared(); return shared; }
int use_exclusive() { rw_lock_guard hold(rw); needs_shared(); return ++shared; }
int use_shared_by_hand() { rw.lock_shared(); const int n = shared; rw.unlock_shared(); return n; }
int use_try_shared() { int n = 0; if (rw.try_lock_shared()) { n = shared; rw.unlock_shared(); } return n; }
}  // namespace accepted

namespace refused {
void unguarded_write() { ++guarded; }  // expected-error {{writing variable 'guarded' requires holding mutex 'm' exclusively}}
int unguarded_read() { return guarded; }  // expected-error {{reading variable 'guarded' requires holding mutex 'm'}}
void unguarded_pointee() { *pointed = 1; }  // expected-error {{the value pointed to by 'pointed' requires holding mutex 'm'}}
void after_the_guard() { { lock_guard hold(m); } ++guarded; }  // expected-error {{requires holding mutex 'm'}}
mutex other; void the_wrong_lock() { lock_guard hold(other); ++guarded; }  // expected-error {{requires holding mutex 'm'}}
void call_without() { needs(); }  // expected-error {{calling function 'needs' requires holding mutex 'm' exclusively}}
void call_with_excluded() { lock_guard hold(m); without(); }  // expected-error {{cannot call function 'without' while mutex 'm' is held}}
void forgotten_unlock() { m.lock(); }  // expected-error {{mutex 'm' is still held at the end of function}}
void unlock_on_one_path(bool b) { m.lock(); if (b) m.unlock(); }  // expected-error {{mutex 'm' is not held on every path}}
void double_lock() { m.lock(); m.lock(); m.unlock(); }  // expected-error {{acquiring mutex 'm' that is already held}}
void double_unlock() { m.lock(); m.unlock(); m.unlock(); }  // expected-error {{releasing mutex 'm' that was not held}}
void unchecked_try() { (void)m.try_lock(); ++guarded; }  // expected-error {{requires holding mutex 'm' exclusively}}
void wait_without() { c.wait(m); }  // expected-error {{calling function 'wait' requires holding mutex 'm' exclusively}}
void write_under_shared() { shared_lock_guard hold(rw); ++shared; }  // expected-error {{requires holding rwmutex 'rw' exclusively}}
int read_without_shared() { return shared; }  // expected-error {{reading variable 'shared' requires holding rwmutex 'rw'}}
void shared_unlock_of_exclusive() { rw.lock(); rw.unlock_shared(); }  // expected-error {{'rw' using shared access, expected exclusive access}}
void exclusive_unlock_of_shared() { rw.lock_shared(); rw.unlock(); }  // expected-error {{'rw' using exclusive access, expected shared access}}
int forgotten_shared_unlock() { rw.lock_shared(); return shared; }  // expected-error {{'rw' is still held at the end of function}}
}  // namespace refused
