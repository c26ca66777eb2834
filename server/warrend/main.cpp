// warrend: health and the runtime's own service, nothing else yet.
#include "server/host/host.h"

int main(int argc, char** argv) {
  return warren::host::main_of({"warrend", "Serves grpc.health.v1.Health and warren.v1.Runtime."}, argc, argv,
                               [](warren::host::services&) {});
}
