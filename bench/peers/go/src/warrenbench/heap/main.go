// Twin of bench/bench_heap.cpp: objects that are garbage as soon as the next one is made; the collector is on, with its default GOGC.
package main

import (
	"runtime"

	"warrenbench/harness"
)

type node struct { // 16 bytes, the first word a pointer
	next  *node
	value int64
}

type block64 struct{ bytes [64]byte }

type block1k struct{ bytes [1024]byte }

// Not inlined, so that escape analysis cannot keep the object on the stack.

//go:noinline
func makeNode(v int64) *node { return &node{value: v} }

//go:noinline
func makeBlock64() *block64 { return &block64{} }

//go:noinline
func makeBlock1k() *block1k { return &block1k{} }

func make16(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		runtime.KeepAlive(makeNode(int64(i)))
	}
	t.Stop()
}

func make64Noscan(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		runtime.KeepAlive(makeBlock64())
	}
	t.Stop()
}

func make1kNoscan(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		runtime.KeepAlive(makeBlock1k())
	}
	t.Stop()
}

func main() {
	harness.Main([]harness.Benchmark{
		{Name: "make16", Run: make16},
		{Name: "make64_noscan", Run: make64Noscan},
		{Name: "make1k_noscan", Run: make1kNoscan},
	})
}
