// Which back end this build has: CMake's WARREN_NETPOLL.
#pragma once

#ifdef WARREN_NETPOLL_KQUEUE
#include "netpoll/kqueue.h"
namespace warren::rt {
using back_end = kqueue_poller;
}
#else
#include "netpoll/epoll.h"
namespace warren::rt {
using back_end = epoll_poller;
}
#endif
