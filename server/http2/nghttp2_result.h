// What nghttp2's functions return, for both ends of a connection.
#pragma once
#include <nghttp2/nghttp2.h>

#include <new>

#include "runtime/os/fatal.h"

namespace warren::http2 {

// Of a call that fails for want of memory only: then throws std::bad_alloc; anything else is a defect of ours.
inline void must(int rv, const char* what) {
  if (rv == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (rv != 0) rt::fatal("http2: %s failed: %s; this is a defect of warren, please report it", what, nghttp2_strerror(rv));
}

// Of what is submitted for a stream. That the stream has gone meanwhile is no error of ours; running out of memory is: std::bad_alloc.
inline void submitted(int rv) {
  if (rv == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
}

}  // namespace warren::http2
