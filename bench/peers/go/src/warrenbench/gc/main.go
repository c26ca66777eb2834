// Twin of bench/bench_gc.cpp.
package main

import (
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"warrenbench/harness"
)

type tree struct{ left, right *tree }

func bottomUp(depth int) *tree {
	if depth <= 0 {
		return &tree{}
	}
	return &tree{bottomUp(depth - 1), bottomUp(depth - 1)}
}

func (t *tree) check() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.check() + t.right.check()
}

func binaryTrees(most int) func(t *harness.Timer, n int) {
	return func(t *harness.Timer, n int) {
		t.Start()
		for k := 0; k < n; k++ {
			const least = 4
			if bottomUp(most+1).check() != 1<<(most+2)-1 {
				panic("a tree lost nodes")
			}
			longLived := bottomUp(most)
			for depth := least; depth <= most; depth += 2 {
				iterations := 1 << (most - depth + least)
				sum := 0
				for i := 0; i < iterations; i++ {
					sum += bottomUp(depth).check()
				}
				if sum != iterations*(1<<(depth+1)-1) {
					panic("a tree lost nodes")
				}
			}
			if longLived.check() != 1<<(most+1)-1 {
				panic("a tree lost nodes")
			}
		}
		t.Stop()
	}
}

type node struct { // 64 bytes
	next    [4]*node
	payload [4]int64
}

func largeHeap(bytes int) []*node {
	n := bytes / (64 + 8)
	all := make([]*node, n)
	seed := uint64(88172645463325252)
	for i := range all {
		made := &node{}
		for k := range made.next {
			seed ^= seed << 13
			seed ^= seed >> 7
			seed ^= seed << 17
			if i > 0 {
				made.next[k] = all[seed%uint64(i)]
			}
		}
		all[i] = made
	}
	return all
}

func markRate(t *harness.Timer, n int) {
	heap := largeHeap(1 << 30)
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	begin := time.Now()
	t.Start()
	for i := 0; i < n; i++ {
		runtime.GC()
	}
	t.Stop()
	seconds := time.Since(begin).Seconds() / float64(n)
	t.Counters = map[string]float64{"bytes_per_second": float64(stats.HeapAlloc) / seconds}
	runtime.KeepAlive(heap)
}

type crowd struct {
	end  chan struct{}
	done sync.WaitGroup
}

func park(n int) *crowd {
	c := &crowd{end: make(chan struct{})}
	c.done.Add(n)
	var begun int64
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt64(&begun, 1)
			<-c.end
			c.done.Done()
		}()
	}
	for atomic.LoadInt64(&begun) < int64(n) {
		runtime.Gosched()
	}
	return c
}

func (c *crowd) leave() {
	close(c.end)
	c.done.Wait()
}

var sink [2]*node

func pauses(t *harness.Timer, n int) {
	heap := largeHeap(1 << 30)
	parked := park(100000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	t.Start()
	var wg sync.WaitGroup
	for g := 0; g < 2; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			const bytesEach = 100000000
			begin := time.Now()
			for made := 0; ; {
				for i := 0; i < 1000; i++ {
					sink[g] = &node{}
					made += 64
				}
				due := time.Duration(int64(made) * 1000000000 / bytesEach)
				now := time.Since(begin)
				if now > 10*time.Second {
					return
				}
				if due > now {
					time.Sleep(due - now)
				}
			}
		}(g)
	}
	wg.Wait()
	t.Stop()
	runtime.ReadMemStats(&after)
	// PauseNs has one figure per cycle: both stops together.
	var ns []uint64
	for i := before.NumGC; i < after.NumGC; i++ {
		ns = append(ns, after.PauseNs[i%256])
	}
	sort.Slice(ns, func(i, k int) bool { return ns[i] < ns[k] })
	at := func(q float64) float64 {
		if len(ns) == 0 {
			return 0
		}
		return float64(ns[int(q*float64(len(ns)-1))]) / 1000
	}
	t.Counters = map[string]float64{"pauses": float64(len(ns)), "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1)}
	runtime.KeepAlive(heap)
	parked.leave()
}

func collectMillionParked(t *harness.Timer, n int) {
	parked := park(1000000)
	runtime.GC()
	t.Start()
	for i := 0; i < n; i++ {
		runtime.GC()
	}
	t.Stop()
	parked.leave()
}

func main() {
	harness.Main([]harness.Benchmark{
		{Name: "binary_trees/16", Run: binaryTrees(16)},
		{Name: "binary_trees/21", Run: binaryTrees(21), Once: true},
		{Name: "mark_rate", Run: markRate},
		{Name: "pauses", Run: pauses, Once: true},
		{Name: "collect_million_parked", Run: collectMillionParked},
	})
}
