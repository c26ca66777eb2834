// Where google::protobuf::Arena gets the blocks of a request_arena. The essay is in <warren/grpc/request_arena.h>.
#pragma once
#include <cstddef>

namespace warren::grpc::detail {

// Collected memory of the goroutine's current arena; malloc's if there is none. Throws std::bad_alloc.
void* take_request_block(size_t bytes);
// Gives back what is malloc's.
void give_request_block(void* block, size_t bytes) noexcept;

}  // namespace warren::grpc::detail
