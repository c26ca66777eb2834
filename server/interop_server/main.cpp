// interop_server: what gRPC's public interoperability and benchmark clients call, in whichever language they are written.
#include "server/host/host.h"
#include "server/interop_server/benchmark_service.h"
#include "server/interop_server/test_service.h"

int main(int argc, char** argv) {
  return warren::host::main_of({"interop_server", "Serves grpc.testing.TestService and BenchmarkService."}, argc, argv,
                               [](warren::host::services& s) {
                                 static warren::interop::test_service test;
                                 static warren::interop::benchmark_service benchmark;
                                 s.add(test);
                                 s.add(benchmark);
                               });
}
