// Twin of bench/bench_sched_memory.cpp.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"warrenbench/harness"
)

const million = 1000000

type footprint struct{ bytes, mappings int64 }

func measure() (f footprint) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kilobytes int64
		for _, format := range []string{"VmRSS: %d kB", "VmPTE: %d kB"} {
			if n, _ := fmt.Sscanf(line, format, &kilobytes); n == 1 {
				f.bytes += kilobytes * 1024
			}
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	f.mappings = int64(bytes.Count(maps, []byte{'\n'}))
	return f
}

func report(t *harness.Timer, before, after footprint) {
	t.Counters = map[string]float64{
		"bytes_each":    float64(after.bytes-before.bytes) / million,
		"more_mappings": float64(after.mappings - before.mappings),
	}
}

// One million goroutines that wait to receive from a channel.
func parkMillion(t *harness.Timer, n int) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	var begun int64
	before := measure()
	t.Start()
	wg.Add(million)
	for i := 0; i < million; i++ {
		go func() {
			atomic.AddInt64(&begun, 1)
			<-end
			wg.Done()
		}()
	}
	for atomic.LoadInt64(&begun) != million {
		runtime.Gosched()
	}
	t.Stop()
	report(t, before, measure())
	close(end)
	wg.Wait()
}

// One million goroutines that have been started. Go ends the spawner's time slice, so some have run; they wait then.
func spawnMillionNewborn(t *harness.Timer, n int) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	var begun int64
	before := measure()
	t.Start()
	wg.Add(million)
	for i := 0; i < million; i++ {
		go func() {
			atomic.AddInt64(&begun, 1)
			<-end
			wg.Done()
		}()
	}
	after := measure()
	t.Stop()
	report(t, before, after)
	t.Counters["had_run"] = float64(atomic.LoadInt64(&begun))
	close(end)
	wg.Wait()
}
