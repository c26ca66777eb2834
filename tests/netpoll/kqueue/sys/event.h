// kqueue's interface as far as netpoll/kqueue.cpp uses it, for Linux: kqueue.cpp beside this folder implements it. The names and what they
// mean are FreeBSD's (kqueue(2)); the values are this library's own.
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_CLEAR 0x0020
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

#ifdef __cplusplus
extern "C" {
#endif

struct kevent {
  uintptr_t ident;
  short filter;
  unsigned short flags;
  unsigned int fflags;
  int64_t data;
  void* udata;
};

int kqueue(void);
int kevent(int kq, const struct kevent* changes, int change_count, struct kevent* events, int event_count, const struct timespec* timeout);

#ifdef __cplusplus
}
#endif
