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

// The three trees below are fork and join without end: every call is a goroutine, most of them parked while their children run.

// Sums the numbers [first, first + size) at a million leaves, ten children to a node, over one unbuffered channel each.
func skynetNode(up chan int, first, size int) {
	if size == 1 {
		up <- first
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynetNode(children, first+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	up <- sum
}

func skynet(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		result := make(chan int)
		go skynetNode(result, 0, 1000000)
		if <-result != 499999500000 {
			panic("skynet: a wrong sum")
		}
	}
	t.Stop()
}

// Fibonacci's number 30, each of the 2.7 million calls a goroutine.
func fib(n int, result *int) {
	if n < 2 {
		*result = n
		return
	}
	var a, b int
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		fib(n-1, &a)
		wg.Done()
	}()
	go func() {
		fib(n-2, &b)
		wg.Done()
	}()
	wg.Wait()
	*result = a + b
}

func fib30(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		var result int
		fib(30, &result)
		if result != 832040 {
			panic("fib30: a wrong number")
		}
	}
	t.Stop()
}

// Ten queens on a board of ten by ten: a goroutine for each square that the next row's queen may stand on, 35 000 of them.
const queensOnBoard = 10

type placedQueens struct {
	row    int
	column [queensOnBoard]int8
}

func (b *placedQueens) allows(c int) bool {
	for r := 0; r < b.row; r++ {
		if int(b.column[r]) == c || int(b.column[r])-c == b.row-r || c-int(b.column[r]) == b.row-r {
			return false
		}
	}
	return true
}

func queens(board *placedQueens, solutions *int) {
	if board.row == queensOnBoard {
		*solutions = 1
		return
	}
	var found [queensOnBoard]int
	var wg sync.WaitGroup
	for c := 0; c < queensOnBoard; c++ {
		if !board.allows(c) {
			continue
		}
		next := *board
		next.column[next.row] = int8(c)
		next.row++
		wg.Add(1)
		count := &found[c]
		go func() {
			queens(&next, count)
			wg.Done()
		}()
	}
	wg.Wait()
	for _, f := range found {
		*solutions += f
	}
}

func nqueens10(t *harness.Timer, n int) {
	t.Start()
	for i := 0; i < n; i++ {
		solutions := 0
		queens(&placedQueens{}, &solutions)
		if solutions != 724 {
			panic("nqueens10: a wrong number of solutions")
		}
	}
	t.Stop()
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
		{Name: "skynet", Run: skynet},
		{Name: "fib30", Run: fib30},
		{Name: "nqueens10", Run: nqueens10},
		{Name: "park_million", Run: parkMillion, Once: true},
		{Name: "spawn_million_newborn", Run: spawnMillionNewborn, Once: true},
	})
}
