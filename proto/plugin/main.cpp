// protoc-gen-warren: started by protoc, which hands it the parsed files on standard input.
#include <google/protobuf/compiler/plugin.h>

#include <cstdio>
#include <cstring>

#include "proto/plugin/generator.h"

int main(int argc, char** argv) {
  if (argc > 1) {
    const bool help = std::strcmp(argv[1], "--help") == 0;
    std::fprintf(help ? stdout : stderr,
                 "protoc-gen-warren is started by protoc: protoc --plugin=protoc-gen-warren=%s --warren_out=DIR FILE.proto\n", argv[0]);
    return help ? 0 : 2;
  }
  const warren::plugin::generator generator;
  return google::protobuf::compiler::PluginMain(argc, argv, &generator);
}
