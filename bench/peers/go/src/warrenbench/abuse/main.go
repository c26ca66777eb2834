// Twin of bench/bench_abuse.cpp, for the scenarios that can be written in Go: the same prober, the same JSON.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	every    = time.Millisecond
	blockers = 8
)

var (
	stop     int32
	workDone uint64
)

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func computeUntilStopped() {
	x := uint64(1)
	for atomic.LoadInt32(&stop) == 0 {
		x = x*6364136223846793005 + 1
	}
	atomic.AddUint64(&workDone, x|1)
}

// A system call, which Go's compiler and library declare for the programmer.
func sleepInKernel() {
	for atomic.LoadInt32(&stop) == 0 {
		ts := syscall.NsecToTimespec(100e6)
		syscall.Nanosleep(&ts, nil)
		atomic.AddUint64(&workDone, 1)
	}
}

func probe(seconds float64) []time.Duration {
	var samples []time.Duration
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	due := time.Now()
	end := due.Add(time.Duration(seconds * 1e9))
	for due.Before(end) {
		due = due.Add(every)
		time.Sleep(time.Until(due))
		there <- 1
		<-back
		now := time.Now()
		samples = append(samples, now.Sub(due))
		if now.After(due.Add(every)) {
			due = now // what was missed is one sample, not many
		}
	}
	close(there)
	return samples
}

func run(name string, abuse func(), n int, seconds float64) {
	atomic.StoreInt32(&stop, 0)
	atomic.StoreUint64(&workDone, 0)
	if name == "idle" {
		time.Sleep(time.Second)
		before := cpuSeconds()
		time.Sleep(time.Duration(seconds * 1e9))
		fmt.Printf("{\"scenario\":\"idle\",\"ps\":%d,\"seconds\":%g,\"cpu_percent\":%.3f}\n", runtime.GOMAXPROCS(0), seconds,
			(cpuSeconds()-before)/seconds*100)
		return
	}
	var wg sync.WaitGroup
	if abuse != nil {
		for i := 0; i < n; i++ {
			wg.Add(1)
			go func() {
				abuse()
				wg.Done()
			}()
		}
	}
	samples := probe(seconds)
	atomic.StoreInt32(&stop, 1)
	wg.Wait()
	if abuse != nil && atomic.LoadUint64(&workDone) == 0 {
		panic("nobody did anything in " + name)
	}
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := func(q float64) float64 { return float64(samples[int(q*float64(len(samples)-1))].Nanoseconds()) / 1e3 }
	fmt.Printf("{\"scenario\":%q,\"ps\":%d,\"samples\":%d,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
		name, runtime.GOMAXPROCS(0), len(samples), at(0.5), at(0.99), at(0.999), at(1))
}

func main() {
	seconds := flag.Float64("seconds", 5, "how long each scenario lasts")
	flag.Parse()
	wanted := flag.Args()
	if len(wanted) == 0 {
		wanted = []string{"none", "loops", "sleeps", "idle"}
	}
	for _, name := range wanted {
		switch name {
		case "none", "idle":
			run(name, nil, 0, *seconds)
		case "loops":
			run(name, computeUntilStopped, runtime.GOMAXPROCS(0), *seconds)
		case "sleeps":
			run(name, sleepInKernel, blockers, *seconds)
		default:
			fmt.Fprintf(os.Stderr, "go_abuse: unknown scenario %q: none, loops, sleeps or idle\n", name)
			os.Exit(2)
		}
	}
}
