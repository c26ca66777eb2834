// helloworld.Greeter, warren.bench.Load and warren.bench.Shipping on grpc-go, with the library's defaults and generated code.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"benchload"
	"benchshipment"
	"helloworld"
)

type greeter struct {
	helloworld.UnimplementedGreeterServer
}

func (*greeter) SayHello(_ context.Context, request *helloworld.HelloRequest) (*helloworld.HelloReply, error) {
	return &helloworld.HelloReply{Message: request.Name}, nil
}

type load struct {
	benchload.UnimplementedLoadServer
}

func (*load) Sleep(ctx context.Context, job *benchload.Job) (*benchload.Job, error) {
	timer := time.NewTimer(time.Duration(job.Milliseconds) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return job, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (*load) Stream(job *benchload.Job, out benchload.Load_StreamServer) error {
	for i := int32(0); i < job.Count; i++ {
		if err := out.Send(job); err != nil {
			return err
		}
	}
	return nil
}

func (*load) Chat(io_ benchload.Load_ChatServer) error {
	for {
		job, err := io_.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := io_.Send(job); err != nil {
			return err
		}
	}
}

type shipping struct {
	benchshipment.UnimplementedShippingServer
}

func (*shipping) Ship(_ context.Context, request *benchshipment.ShipRequest) (*benchshipment.ShipReply, error) {
	return &benchshipment.ShipReply{Shipment: request.Shipment}, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "ADDR:PORT to serve on")
	workers := flag.Uint("stream-workers", 0, "goroutines that serve streams (grpc.NumStreamWorkers); 0: one new goroutine per stream")
	certificate := flag.String("tls-cert", "", "serve TLS with this certificate chain, PEM")
	key := flag.String("tls-key", "", "its private key, PEM")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		fail(err)
	}
	options := []grpc.ServerOption{grpc.NumStreamWorkers(uint32(*workers))}
	if *certificate != "" {
		secure, err := credentials.NewServerTLSFromFile(*certificate, *key)
		if err != nil {
			fail(err)
		}
		options = append(options, grpc.Creds(secure))
	}
	server := grpc.NewServer(options...)
	helloworld.RegisterGreeterServer(server, &greeter{})
	benchload.RegisterLoadServer(server, &load{})
	benchshipment.RegisterShippingServer(server, &shipping{})
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		server.GracefulStop()
	}()
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); err != nil {
		fail(err)
	}
}
