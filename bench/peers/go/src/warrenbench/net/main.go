// Twin of bench/bench_net.cpp: an echo server and its clients in one process, over loopback TCP.
// One operation is one message of 64 bytes there and back.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"warrenbench/harness"
)

const messageBytes = 64

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err = conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func client(conn net.Conn, messages int) {
	var out, in [messageBytes]byte
	for i := 0; i < messages; i++ {
		out[0] = byte(i)
		_, err := conn.Write(out[:])
		must(err)
		_, err = io.ReadFull(conn, in[:])
		must(err)
		if in[0] != byte(i) {
			must(fmt.Errorf("echo: message %d came back wrong", i))
		}
	}
}

// n messages over that many connections, each with a goroutine at both ends.
func echo(connections int) func(t *harness.Timer, n int) {
	return func(t *harness.Timer, n int) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
		var ready, finished, closed sync.WaitGroup
		begin, over := make(chan struct{}), make(chan struct{})
		for c := 0; c < connections; c++ {
			share := n / connections
			if c < n%connections {
				share++
			}
			ready.Add(1)
			finished.Add(1)
			closed.Add(1)
			go func() {
				conn, err := net.Dial("tcp", listener.Addr().String())
				must(err)
				client(conn, 1) // the server's goroutine for it exists from here on
				ready.Done()
				<-begin
				client(conn, share)
				finished.Done()
				<-over // closing is not part of the work
				conn.Close()
				closed.Done()
			}()
			if c%64 == 63 {
				ready.Wait() // stay under the listen backlog
			}
		}
		ready.Wait()
		t.Start()
		close(begin)
		finished.Wait()
		t.Stop()
		close(over)
		closed.Wait()
		listener.Close()
	}
}

func main() {
	harness.Main([]harness.Benchmark{
		{Name: "echo/1", Run: echo(1)},
		{Name: "echo/1000", Run: echo(1000)},
	})
}
