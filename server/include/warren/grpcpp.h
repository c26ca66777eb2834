// Calls of gRPC C++'s stubs that park the goroutine and nothing else. Link warren::grpcpp.
//
//   grpc::ClientContext c;
//   helloworld::HelloReply reply;
//   grpc::Status s = warren::grpcpp::call(ctx, *stub->async(), &Stub::async::SayHello, c, request, &reply);
//
//   auto list = warren::grpcpp::call(ctx, *stub->async(), &Stub::async::List, c, request);   // client_reader<Note>
//   for (Note n; list.read(&n);) use(n);
//   grpc::Status s = list.finish();
//
// with `using Stub = helloworld::Greeter::Stub`. call() is one name for the four kinds; what it takes and gives follows from the method:
//
//   unary              call(ctx, async, method, c, request, &reply)   grpc::Status
//   server streaming   call(ctx, async, method, c, request)           client_reader<Reply>
//   client streaming   call(ctx, async, method, c, &reply)            client_writer<Request>
//   bidirectional      call(ctx, async, method, c)                    client_stream<Request, Reply>
//   no stub            call(ctx, generic_stub, "/pkg.Service/Method", c, request, &reply), and without the messages: a
//                      client_stream<grpc::ByteBuffer, grpc::ByteBuffer>
//
// What parks. A unary call until it has ended; read(), write(), writes_done() until gRPC says that the operation is done; finish(), and the
// destructors of what has not been finished, until the call has ended. Nothing blocks a thread.
//
// The context. ctx is a warren::context (a server_context is one): the call has its deadline, if that is earlier than the ClientContext's
// own, and is cancelled when it ends. A call whose context is over already ends with CANCELLED or DEADLINE_EXCEEDED.
// ClientContext::TryCancel works as ever, from any thread.
//
// Ownership. The ClientContext, the request and the reply are the caller's and must stay where they are until the call has ended: the unary
// form has seen to that when it returns, the others when finish() or the destructor has returned. They belong on the goroutine's stack or
// in malloc's memory, not in collected objects. A message given to write() may go when write() has returned. The stub must outlive the
// call.
//
// Threads. The operations start on the caller's thread and end on one of gRPC's, which does no more than make the goroutine ready. A stream
// is read by one goroutine at a time and written by one at a time; these may be two. finish() and the destructor are called when neither
// does.
//
// Errors are grpc::Status, as gRPC has them. std::bad_alloc may be thrown before a call has begun.
#pragma once
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <warren/context.h>
#include <warren/grpcpp/transport.h>

namespace warren::grpcpp {

namespace detail {

// What a call waits for, and its tie to a context. One block of malloc's memory.
class waiting {
 public:
  enum what { reading, writing, ending };

  // Gives c the context's deadline and cancels c when the context ends. On a goroutine.
  waiting(const context& ctx, ::grpc::ClientContext& c);
  // REQUIRES: the call has ended, or was never begun. Parks until the context's end, if it comes now, has been dealt with.
  ~waiting();
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;

  void happened(what w) noexcept;  // any thread; the object may be gone when it returns
  void wait(what w);               // parks until happened(w) was called since the last wait
  // The call's status as the context has it: what was cancelled because the deadline had passed before it began is DEADLINE_EXCEEDED.
  ::grpc::Status outcome(::grpc::Status s) const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// What the three kinds of stream have in common. AddHold before the call starts and RemoveHold at its end: operations are started from
// outside of reactions, and without the hold gRPC would take the call for ended between two of them.
template <class Reactor>
class stream_base : protected Reactor {
 public:
  stream_base(const stream_base&) = delete;
  stream_base& operator=(const stream_base&) = delete;

  // Says that no more will be written, passes over what was not read, parks until the call has ended and tells how. The same each time.
  ::grpc::Status finish() {
    if (std::exchange(held_, false)) {
      wind_up();
      this->RemoveHold();
      waits_.wait(waiting::ending);
      status_ = waits_.outcome(std::move(status_));
    }
    return status_;
  }

 protected:
  stream_base(const context& ctx, ::grpc::ClientContext& c) : context_(c), waits_(ctx, c) {}
  ~stream_base() override = default;
  void begin() {
    this->AddHold();
    this->StartCall();
  }
  // For the destructors of what is derived.
  void abandon() {
    if (!held_) return;
    context_.TryCancel();
    finish();
  }

  virtual void wind_up() = 0;
  void OnDone(const ::grpc::Status& s) override {
    status_ = s;
    waits_.happened(waiting::ending);
  }

  ::grpc::ClientContext& context_;
  waiting waits_;
  bool held_ = true;
  ::grpc::Status status_;
};

// write and writes_done, of the kinds that send a stream.
template <class Reactor, class Req>
class writing_base : public stream_base<Reactor> {
 public:
  // Parks until gRPC has taken the message, which it does while the server's window is open. false: the call is over; finish() tells why.
  bool write(const Req& message, ::grpc::WriteOptions options = {}) {
    if (half_closed_) return false;
    this->StartWrite(&message, options);
    this->waits_.wait(waiting::writing);
    return write_ok_;
  }
  // No more will be written. false: the call is over.
  bool writes_done() {
    if (std::exchange(half_closed_, true)) return write_ok_;
    this->StartWritesDone();
    this->waits_.wait(waiting::writing);
    return write_ok_;
  }

 protected:
  using stream_base<Reactor>::stream_base;
  void wind_up() override { writes_done(); }

 private:
  void written(bool ok) {
    write_ok_ = ok;
    this->waits_.happened(waiting::writing);
  }
  void OnWriteDone(bool ok) override { written(ok); }
  void OnWritesDoneDone(bool ok) override { written(ok); }

  bool write_ok_ = true;
  bool half_closed_ = false;
};

// What reads a stream of replies, on top of either.
template <class Base, class Res>
class reading_base : public Base {
 public:
  // Parks until the next reply has come. false: there is none; finish() tells why.
  bool read(Res* message) {
    if (!read_ok_) return false;
    this->StartRead(message);
    this->waits_.wait(waiting::reading);
    return read_ok_;
  }

 protected:
  using Base::Base;
  void read_the_rest() {
    for (Res rest; read(&rest);) {
    }
  }

 private:
  void OnReadDone(bool ok) override {
    read_ok_ = ok;
    this->waits_.happened(waiting::reading);
  }
  bool read_ok_ = true;
};

}  // namespace detail

// A call with a stream of replies.
template <class Res>
class client_reader final : public detail::reading_base<detail::stream_base<::grpc::ClientReadReactor<Res>>, Res> {
 public:
  // start(reactor) hands the reactor to a stub's method. Throws std::bad_alloc.
  template <class Start>
  client_reader(const context& ctx, ::grpc::ClientContext& c, Start&& start) : client_reader::reading_base(ctx, c) {
    start(static_cast<::grpc::ClientReadReactor<Res>*>(this));
    this->begin();
  }
  // Cancels the call if it was not finished; parks until it has ended.
  ~client_reader() override { this->abandon(); }

 private:
  void wind_up() override { this->read_the_rest(); }
};

// A call with a stream of requests. finish() is OK when the reply has come.
template <class Req>
class client_writer final : public detail::writing_base<::grpc::ClientWriteReactor<Req>, Req> {
 public:
  template <class Start>
  client_writer(const context& ctx, ::grpc::ClientContext& c, Start&& start) : client_writer::writing_base(ctx, c) {
    start(static_cast<::grpc::ClientWriteReactor<Req>*>(this));
    this->begin();
  }
  ~client_writer() override { this->abandon(); }
};

// A call with both.
template <class Req, class Res>
class client_stream final : public detail::reading_base<detail::writing_base<::grpc::ClientBidiReactor<Req, Res>, Req>, Res> {
 public:
  template <class Start>
  client_stream(const context& ctx, ::grpc::ClientContext& c, Start&& start) : client_stream::reading_base(ctx, c) {
    start(static_cast<::grpc::ClientBidiReactor<Req, Res>*>(this));
    this->begin();
  }
  ~client_stream() override { this->abandon(); }

 private:
  void wind_up() override {
    this->writes_done();
    this->read_the_rest();
  }
};

// The four kinds by a stub's async(), see above. Async is the class of *stub->async(), method the address of one of its functions.
template <class Async, class Owner, class Req, class Res>
::grpc::Status call(const context& ctx, Async& async,
                    void (Owner::*method)(::grpc::ClientContext*, const Req*, Res*, std::function<void(::grpc::Status)>),
                    ::grpc::ClientContext& c, const std::type_identity_t<Req>& request, std::type_identity_t<Res>* reply) {
  detail::waiting w(ctx, c);
  ::grpc::Status status;
  (async.*method)(&c, &request, reply, [&w, &status](::grpc::Status s) {
    status = std::move(s);
    w.happened(detail::waiting::ending);
  });
  w.wait(detail::waiting::ending);
  return w.outcome(std::move(status));
}

template <class Async, class Owner, class Req, class Res>
client_reader<Res> call(const context& ctx, Async& async,
                        void (Owner::*method)(::grpc::ClientContext*, const Req*, ::grpc::ClientReadReactor<Res>*),
                        ::grpc::ClientContext& c, const std::type_identity_t<Req>& request) {
  return client_reader<Res>(ctx, c, [&](auto* reactor) { (async.*method)(&c, &request, reactor); });
}

template <class Async, class Owner, class Req, class Res>
client_writer<Req> call(const context& ctx, Async& async,
                        void (Owner::*method)(::grpc::ClientContext*, Res*, ::grpc::ClientWriteReactor<Req>*), ::grpc::ClientContext& c,
                        std::type_identity_t<Res>* reply) {
  return client_writer<Req>(ctx, c, [&](auto* reactor) { (async.*method)(&c, reply, reactor); });
}

template <class Async, class Owner, class Req, class Res>
client_stream<Req, Res> call(const context& ctx, Async& async,
                             void (Owner::*method)(::grpc::ClientContext*, ::grpc::ClientBidiReactor<Req, Res>*),
                             ::grpc::ClientContext& c) {
  return client_stream<Req, Res>(ctx, c, [&](auto* reactor) { (async.*method)(&c, reactor); });
}

// The same by a method's name: grpc::GenericStub, whose messages are grpc::ByteBuffer, or a TemplatedGenericStub.
template <class Req, class Res>
::grpc::Status call(const context& ctx, ::grpc::TemplatedGenericStub<Req, Res>& stub, const std::string& method, ::grpc::ClientContext& c,
                    const std::type_identity_t<Req>& request, std::type_identity_t<Res>* reply) {
  detail::waiting w(ctx, c);
  ::grpc::Status status;
  stub.UnaryCall(&c, method, {}, &request, reply, [&w, &status](::grpc::Status s) {
    status = std::move(s);
    w.happened(detail::waiting::ending);
  });
  w.wait(detail::waiting::ending);
  return w.outcome(std::move(status));
}

template <class Req, class Res>
client_stream<Req, Res> call(const context& ctx, ::grpc::TemplatedGenericStub<Req, Res>& stub, const std::string& method,
                             ::grpc::ClientContext& c) {
  return client_stream<Req, Res>(ctx, c, [&](auto* reactor) { stub.PrepareBidiStreamingCall(&c, method, {}, reactor); });
}

}  // namespace warren::grpcpp
