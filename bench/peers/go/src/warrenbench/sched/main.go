// Twin of bench/bench_sched.cpp: loop for loop.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"warrenbench/harness"
)

// One goroutine at a time: start it, wait for it.
func spawnJoin(t *harness.Timer, n int) {
	var wg sync.WaitGroup
	t.Start()
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() { wg.Done() }()
		wg.Wait()
	}
	t.Stop()
}

// Two goroutines that do nothing but yield; the count is of the first one's.
func yield(t *harness.Timer, n int) {
	var end int32
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		for atomic.LoadInt32(&end) == 0 {
			runtime.Gosched()
		}
		wg.Done()
	}()
	runtime.Gosched()
	t.Start()
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
	t.Stop()
	atomic.StoreInt32(&end, 1)
	wg.Wait()
}

// A round trip between two goroutines over two unbuffered channels.
func pingpong(t *harness.Timer, n int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v
		}
		close(pong)
	}()
	t.Start()
	for i := 0; i < n; i++ {
		ping <- i
		<-pong
	}
	t.Stop()
	close(ping)
	<-pong
}

// A value from a producer to a consumer over a channel of 128.
func chanBuffered(t *harness.Timer, n int) {
	c := make(chan int, 128)
	begin := make(chan struct{})
	go func() {
		<-begin
		for i := 0; i < n; i++ {
			c <- i
		}
	}()
	runtime.Gosched()
	t.Start()
	close(begin)
	for i := 0; i < n; i++ {
		<-c
	}
	t.Stop()
}

// A value received by a select over two unbuffered channels, which one producer serves in turn.
func select2(t *harness.Timer, n int) {
	a, b := make(chan int), make(chan int)
	begin := make(chan struct{})
	go func() {
		<-begin
		for i := 0; i < n; i++ {
			if i&1 == 0 {
				a <- i
			} else {
				b <- i
			}
		}
	}()
	runtime.Gosched()
	sum := 0
	t.Start()
	close(begin)
	for i := 0; i < n; i++ {
		select {
		case v := <-a:
			sum += v
		case v := <-b:
			sum -= v
		}
	}
	t.Stop()
	runtime.KeepAlive(sum)
}

// Arms a timer for an hour from now and disarms it.
func timerStartStop(t *harness.Timer, n int) {
	timer := time.AfterFunc(time.Hour, func() {})
	timer.Stop()
	t.Start()
	for i := 0; i < n; i++ {
		timer.Reset(time.Hour)
		timer.Stop()
	}
	t.Stop()
}

// Eight goroutines that take one mutex, add one and give it back; the count is of all of them together.
func mutexContended(t *harness.Timer, n int) {
	const goroutines = 8
	var mu sync.Mutex
	var wg sync.WaitGroup
	counter := 0
	begin := make(chan struct{})
	for g := 0; g < goroutines; g++ {
		share := n / goroutines
		if g < n%goroutines {
			share++
		}
		wg.Add(1)
		go func() {
			<-begin
			for i := 0; i < share; i++ {
				mu.Lock()
				counter++
				mu.Unlock()
			}
			wg.Done()
		}()
	}
	runtime.Gosched()
	t.Start()
	close(begin)
	wg.Wait()
	t.Stop()
	if counter != n {
		panic("mutex_contended: lost an increment")
	}
}

func main() {
	harness.Main([]harness.Benchmark{
		{Name: "spawn_join", Run: spawnJoin},
		{Name: "yield", Run: yield},
		{Name: "pingpong", Run: pingpong},
		{Name: "chan_buffered", Run: chanBuffered},
		{Name: "select2", Run: select2},
		{Name: "timer_start_stop", Run: timerStartStop},
		{Name: "mutex_contended", Run: mutexContended},
		{Name: "park_million", Run: parkMillion, Once: true},
		{Name: "spawn_million_newborn", Run: spawnMillionNewborn, Once: true},
	})
}
