// Twin of bench/bench_gc.cpp.
package main

import (
	"os"
	"runtime"
	"runtime/metrics"
	"sort"
	"strconv"
	"strings"
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

func quantileUs(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))]) / 1000
}

// How late a goroutine is that is due every millisecond.
type prober struct {
	end  int32
	late []int64
	done sync.WaitGroup
}

func probe() *prober {
	p := &prober{}
	p.done.Add(1)
	go func() {
		due := time.Now()
		for atomic.LoadInt32(&p.end) == 0 {
			due = due.Add(time.Millisecond)
			if now := time.Now(); due.After(now) {
				time.Sleep(due.Sub(now))
			}
			p.late = append(p.late, int64(time.Since(due)))
		}
		p.done.Done()
	}()
	return p
}

func (p *prober) sorted() []int64 {
	atomic.StoreInt32(&p.end, 1)
	p.done.Wait()
	sort.Slice(p.late, func(i, k int) bool { return p.late[i] < p.late[k] })
	return p.late
}

// Two goroutines that allocate nodes at so many bytes a second together.
func allocateFor(duration time.Duration, bytesPerSecond int64) {
	var wg sync.WaitGroup
	for g := 0; g < 2; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			begin := time.Now()
			for made := int64(0); ; {
				for i := 0; i < 1000; i++ {
					sink[g] = &node{}
					made += 64
				}
				due := time.Duration(float64(made) / float64(bytesPerSecond/2) * 1e9)
				now := time.Since(begin)
				if now > duration {
					return
				}
				if due > now {
					time.Sleep(due - now)
				}
			}
		}(g)
	}
	wg.Wait()
}

// The runtime's histogram of pauses has each stop of the world by itself, as buckets; the larger end of a bucket counts.
func readPauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64Histogram()
}

func pauses(t *harness.Timer, n int) {
	heap := largeHeap(1 << 30)
	parked := park(100000)
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	cycles := stats.NumGC
	before := append([]uint64(nil), readPauses().Counts...)
	late := probe()
	t.Start()
	allocateFor(30*time.Second, 200000000)
	t.Stop()
	delays := late.sorted()
	runtime.ReadMemStats(&stats)
	after := readPauses()
	var ns []int64
	for i, count := range after.Counts {
		for k := before[i]; k < count; k++ {
			ns = append(ns, int64(after.Buckets[i+1]*1e9))
		}
	}
	t.Counters = map[string]float64{
		"cycles": float64(stats.NumGC - cycles), "pauses": float64(len(ns)),
		"p50_us": quantileUs(ns, 0.5), "p99_us": quantileUs(ns, 0.99), "max_us": quantileUs(ns, 1),
		"delay_p50_us": quantileUs(delays, 0.5), "delay_p99_us": quantileUs(delays, 0.99),
		"delay_p999_us": quantileUs(delays, 0.999), "delay_max_us": quantileUs(delays, 1),
	}
	runtime.KeepAlive(heap)
	parked.leave()
}

type block struct {
	next  *block
	bytes []byte
}

func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		panic(err)
	}
	return float64(pages * os.Getpagesize())
}

func churn(t *harness.Timer, n int) {
	const places, steps, phases = 200000, 10000000, 20
	var worst, last float64
	t.Start()
	all := make([]*block, places)
	sizes := make([]uint32, places)
	seed, live := uint64(88172645463325252), uint64(0)
	for phase := 0; phase < phases; phase++ {
		most := uint64(4096)
		if phase%2 == 0 {
			most = 512
		}
		for i := 0; i < steps/phases; i++ {
			seed ^= seed << 13
			seed ^= seed >> 7
			seed ^= seed << 17
			at := seed % places
			size := uint32(16 + (seed>>32)%most)
			live += uint64(size) - uint64(sizes[at])
			sizes[at] = size
			all[at] = &block{bytes: make([]byte, size)}
		}
		// 24 bytes: what a block has in C++.
		last = residentBytes() / float64(live+places*(24+8))
		if phase > 1 && last > worst {
			worst = last
		}
	}
	t.Stop()
	t.Counters = map[string]float64{"resident_over_live": last, "worst_resident_over_live": worst}
	runtime.KeepAlive(all)
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
		{Name: "churn", Run: churn, Once: true},
		{Name: "collect_million_parked", Run: collectMillionParked},
	})
}
