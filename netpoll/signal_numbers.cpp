#include "netpoll/signal_numbers.h"

#include <string.h>

#include <string>

#include "netpoll/net_error.h"
#include "warren/net.h"

namespace warren::rt {

void refuse_signal(const char* operation, int signal, const char* why) {
#ifdef __linux__
  const char* name = sigabbrev_np(signal);
#else
  const char* name = nullptr;
#endif
  const std::string which = name == nullptr ? std::to_string(signal) : std::string("SIG") + name;
  throw net_error(asio::error::invalid_argument, net_error_line(operation, which, asio::error::invalid_argument, why));
}

sigset_t check_signals(const char* operation, std::initializer_list<int> signals) {
  if (signals.size() == 0) {
    throw net_error(asio::error::invalid_argument, net_error_line(operation, {}, asio::error::invalid_argument,
                                                                  "no signal given; name at least one, for example SIGTERM"));
  }
  sigset_t set;
  sigemptyset(&set);
  for (const int s : signals) {
    if (s == SIGKILL || s == SIGSTOP) refuse_signal(operation, s, "cannot be blocked or waited for; leave it out");
    if (s == SIGSEGV || s == SIGBUS || s == SIGFPE || s == SIGILL || s == SIGABRT || s == SIGTRAP)
      refuse_signal(operation, s, "reports a fault of the thread itself and cannot be waited for; leave it out");
    if (s <= 0 || s >= kSignals || sigaddset(&set, s) != 0) refuse_signal(operation, s, "is not a signal; use a SIG… constant");
  }
  return set;
}

}  // namespace warren::rt
