// What the server does with request messages, on arbitrary bytes: each is parsed onto the request arena of one call after another, parts of
// some are kept while further ones come and collections run, and what was kept is in the end what it was.
//
// Input: for each message a byte that says which part is kept (low three bits, 0 none) and whether a collection comes next (bit 3), a byte
// of length and so many bytes.
//
// Messages need goroutines and the collector, whose stacks libFuzzer's own loop cannot stand on: a second thread has a runtime that lasts
// as long as the process, and takes one input after another. Leaks are not looked for: kept strings lie in memory of malloc that only the
// collected heap points to, which the leak checker does not read, until a finalizer frees them. grpc_request_arena_test looks for them.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <keep.pb.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/grpc/protobuf.h>
#include <warren/vector.h>

extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace {
using warren::test::keep::Item;
using warren::test::keep::Owner;

template <class T>
std::string bytes_of(const T& part) {
  if constexpr (std::is_same_v<T, std::string>) {
    return part;
  } else {
    // Maps have no order of their own.
    std::string out;
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    if (!part.SerializeToCodedStream(&coded)) std::abort();
    coded.Trim();
    return out;
  }
}

// Of one type: what was kept, and the bytes it had then.
template <class T>
class shelf {
 public:
  void keep(warren::grpc::detail::message_slot& slot, const T& part) {
    std::string bytes = bytes_of(part);
    if (!slot.keep(&part)) return;  // not set: a default instance, which is nobody's
    parts_.push_back(warren::ptr<const T>(&part));
    bytes_.push_back(std::move(bytes));
  }
  void check() const {
    for (size_t i = 0; i < parts_.size(); i++) {
      if (bytes_of(*parts_[i]) != bytes_[i]) std::abort();
    }
  }

 private:
  warren::vector<warren::ptr<const T>> parts_;
  std::vector<std::string> bytes_;
};

void one_input(std::span<const uint8_t> input) {
  warren::grpc::detail::message_slot slot;
  shelf<Item> items;
  shelf<Owner> owners;
  shelf<std::string> texts;
  while (input.size() >= 2) {
    const uint8_t what = input[0];
    const size_t length = std::min<size_t>(input[1], input.size() - 2);
    const std::span<const char> bytes(reinterpret_cast<const char*>(input.data() + 2), length);
    input = input.subspan(2 + length);
    auto& place = slot.place<Item>();
    const Item& item = place.renewed();
    if (place.parse(bytes)) {
      Item copy;  // on no arena
      if (!copy.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || bytes_of(copy) != bytes_of(item)) std::abort();
      switch (what & 7) {
        case 1: items.keep(slot, item); break;
        case 2: owners.keep(slot, item.owner()); break;
        case 3: texts.keep(slot, item.key()); break;
        case 4:
          for (const Item& child : item.children()) items.keep(slot, child);
          break;
        case 5:
          for (const auto& [name, text] : item.labels()) texts.keep(slot, text);
          break;
        case 6:
          for (const std::string& tag : item.owner().tags()) texts.keep(slot, tag);
          break;
        case 7:
          texts.keep(slot, item.place());
          owners.keep(slot, item.person());
          break;
        default: break;
      }
    }
    slot.end_use();  // the handler has returned
    if ((what & 8) != 0) warren::gc();
  }
  items.check();
  owners.check();
  texts.check();
}

// Between libFuzzer's thread and the runtime's.
class desk {
 public:
  void hand_over(std::span<const uint8_t> input) {
    std::unique_lock hold(mutex_);
    input_ = input;
    changed_.notify_all();
    changed_.wait(hold, [this] { return !input_; });
  }
  [[noreturn]] void serve() {
    for (;;) {
      warren::blocking([this] {
        std::unique_lock hold(mutex_);
        changed_.wait(hold, [this] { return input_.has_value(); });
      });
      one_input(*input_);
      const std::lock_guard hold(mutex_);
      input_.reset();
      changed_.notify_all();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::span<const uint8_t>> input_;  // there: the runtime's turn
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static desk& the_desk = *[] {
    google::protobuf::SetLogHandler(nullptr);  // it tells of each string that is no UTF-8
    auto* const d = new desk;
    std::thread([d] { warren::run([d] { d->serve(); }); }).detach();
    return d;
  }();
  the_desk.hand_over({data, size});
  return 0;
}
