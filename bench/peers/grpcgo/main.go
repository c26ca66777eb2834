// helloworld.Greeter on grpc-go, with the library's defaults and generated code.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	"helloworld"
)

type greeter struct {
	helloworld.UnimplementedGreeterServer
}

func (*greeter) SayHello(_ context.Context, request *helloworld.HelloRequest) (*helloworld.HelloReply, error) {
	return &helloworld.HelloReply{Message: request.Name}, nil
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "ADDR:PORT to serve on")
	workers := flag.Uint("stream-workers", 0, "goroutines that serve streams (grpc.NumStreamWorkers); 0: one new goroutine per stream")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := grpc.NewServer(grpc.NumStreamWorkers(uint32(*workers)))
	helloworld.RegisterGreeterServer(server, &greeter{})
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		server.GracefulStop()
	}()
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
