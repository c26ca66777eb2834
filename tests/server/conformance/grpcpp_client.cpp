// conformance_grpcpp_client: the suites (harness.h) by gRPC C++'s client, all cases of a suite side by side on one channel. Cases whose
// requests no proper client sends are not for it.
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <thread>

#include "tests/server/conformance/harness.h"

namespace {

using namespace warren::conformance;

std::string file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::shared_ptr<grpc::Channel> dial(const arguments& a) {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!a.ca.empty()) {
    grpc::SslCredentialsOptions o;
    o.pem_root_certs = file(a.ca);
    if (!a.certificate.empty()) {
      o.pem_cert_chain = file(a.certificate);
      o.pem_private_key = file(a.key);
    }
    credentials = grpc::SslCredentials(o);
  }
  grpc::ChannelArguments more;
  more.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(a.target, credentials, more);
}

grpc_compression_algorithm algorithm(const std::string& encoding) {
  if (encoding == "gzip") return GRPC_COMPRESS_GZIP;
  if (encoding == "deflate") return GRPC_COMPRESS_DEFLATE;
  if (encoding == "identity") return GRPC_COMPRESS_NONE;
  throw std::invalid_argument("there is no encoding " + encoding);
}

// One call, an operation at a time.
class call {
 public:
  call(const std::shared_ptr<grpc::Channel>& channel, const call_case& c, const std::string& encoding) : stub_(channel) {
    for (const auto& [name, value] : c.metadata) context_.AddMetadata(name, value);
    if (c.timeout_ms != 0) context_.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(c.timeout_ms));
    context_.set_compression_algorithm(algorithm(encoding));
    stream_ = stub_.PrepareCall(&context_, c.path, &queue_);
    stream_->StartCall(this);
    done();
  }
  ~call() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  bool write(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    stream_->Write(grpc::ByteBuffer(&slice, 1), this);
    return done();
  }
  void writes_done() {
    stream_->WritesDone(this);
    done();
  }
  bool read(std::vector<std::string>& into) {
    grpc::ByteBuffer bytes;
    stream_->Read(&bytes, this);
    if (!done()) return false;
    std::vector<grpc::Slice> slices;
    if (!bytes.Dump(&slices).ok()) throw std::runtime_error("a message cannot be read");
    std::string all;
    for (const grpc::Slice& s : slices) all.append(reinterpret_cast<const char*>(s.begin()), s.size());
    into.push_back(std::move(all));
    return true;
  }
  void finish(outcome& out) {
    grpc::Status status;
    stream_->Finish(&status, this);
    done();
    for (const auto& [name, value] : context_.GetServerInitialMetadata()) out.headers.emplace_back(text(name), text(value));
    for (const auto& [name, value] : context_.GetServerTrailingMetadata()) out.trailers.emplace_back(text(name), text(value));
    out.code = status.error_code();
    out.message = status.error_message();
    out.details = status.error_details();
  }

 private:
  static std::string text(grpc::string_ref s) { return {s.data(), s.size()}; }
  bool done() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

outcome make_call(const std::shared_ptr<grpc::Channel>& channel, const call_case& c, const std::string& encoding) {
  call one(channel, c, encoding);
  outcome out;
  bool open = true;
  for (size_t i = 0; open && i < c.requests.size(); i++) {
    open = one.write(c.requests[i]);
    if (c.how == shape::full_duplex) open = open && one.read(out.messages);
  }
  if (open) one.writes_done();
  while (one.read(out.messages)) {
  }
  one.finish(out);
  return out;
}

std::vector<std::vector<std::string>> call_all(const arguments& a, const std::vector<call_case>& cases, const std::string& encoding) {
  std::vector<std::vector<std::string>> wrong(cases.size());
  const auto channel = dial(a);
  std::vector<std::thread> all;
  for (size_t i = 0; i < cases.size(); i++) {
    all.emplace_back([&, i] {
      try {
        if (cases[i].raw) throw std::invalid_argument("a request that gRPC C++'s client cannot make");
        wrong[i] = differences(cases[i], make_call(channel, cases[i], encoding));
      } catch (const std::exception& e) {
        wrong[i] = {e.what()};
      }
    });
  }
  for (std::thread& t : all) t.join();
  return wrong;
}

}  // namespace

int main(int argc, char** argv) {
  return main_of(argc, argv, call_all, [](const std::function<void()>& all) { all(); });
}
