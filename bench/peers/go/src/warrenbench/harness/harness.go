// Package harness measures Go functions as Google Benchmark measures ours: the same calibration, the same clock, the same JSON.
// (testing.B calibrates and reports in ways of its own.)
package harness

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// Timer measures one run. Code before Start and after Stop is not counted.
type Timer struct {
	begin       time.Time
	beginCPU    int64
	real, cpuNs int64
	// Counters are reported with the times, as Google Benchmark's are.
	Counters map[string]float64
}

func cpuNow() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// Start begins the measured part.
func (t *Timer) Start() {
	t.beginCPU = cpuNow()
	t.begin = time.Now()
}

// Stop ends it.
func (t *Timer) Stop() {
	t.real = time.Since(t.begin).Nanoseconds()
	t.cpuNs = cpuNow() - t.beginCPU
}

// Benchmark is a name of ours and the function that does the same work n times. Once: n is 1, whatever time that takes.
type Benchmark struct {
	Name string
	Run  func(t *Timer, n int)
	Once bool
}

type result struct {
	Name       string  `json:"name"`
	RunName    string  `json:"run_name"`
	RunType    string  `json:"run_type"`
	Iterations int     `json:"iterations"`
	RealTime   float64 `json:"real_time"`
	CPUTime    float64 `json:"cpu_time"` // of the whole process, its collector included
	TimeUnit   string  `json:"time_unit"`
	counters   map[string]float64
}

// MarshalJSON puts the counters beside the other fields, where Google Benchmark has them.
func (r result) MarshalJSON() ([]byte, error) {
	type plain result
	text, err := json.Marshal(plain(r))
	if err != nil || len(r.counters) == 0 {
		return text, err
	}
	counters, err := json.Marshal(r.counters)
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), counters[1:]...), nil
}

type report struct {
	Context    map[string]interface{} `json:"context"`
	Benchmarks []result               `json:"benchmarks"`
}

const maxIterations = 1000000000

func measure(b Benchmark, minTime float64) result {
	for n := 1; ; {
		var t Timer
		b.Run(&t, n)
		seconds := float64(t.real) / 1e9
		if seconds >= minTime || n >= maxIterations || b.Once {
			return result{b.Name, b.Name, "iteration", n, float64(t.real) / float64(n), float64(t.cpuNs) / float64(n), "ns", t.Counters}
		}
		grow := minTime * 1.4 / (seconds + 1e-9)
		if seconds/minTime <= 0.1 && grow > 10 {
			grow = 10
		}
		if grow <= 1 {
			grow = 2
		}
		next := int(grow*float64(n) + 0.5)
		if next <= n {
			next = n + 1
		}
		if next > maxIterations {
			next = maxIterations
		}
		n = next
	}
}

// Main runs the benchmarks that the command line asks for and prints the report. The flags are Google Benchmark's.
func Main(all []Benchmark) {
	filter := flag.String("benchmark_filter", ".", "regular expression of the names to run")
	minTime := flag.Float64("benchmark_min_time", 0.5, "seconds each measured run takes at least")
	format := flag.String("benchmark_format", "console", "console or json")
	flag.Parse()
	wanted, err := regexp.Compile(*filter)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	out := report{Context: map[string]interface{}{
		"executable": os.Args[0], "go": runtime.Version(), "maxprocs": runtime.GOMAXPROCS(0), "num_cpus": runtime.NumCPU(),
	}}
	for _, b := range all {
		if !wanted.MatchString(b.Name) {
			continue
		}
		r := measure(b, *minTime)
		out.Benchmarks = append(out.Benchmarks, r)
		if *format == "console" {
			fmt.Printf("%-24s %12.1f ns %12.1f ns %12d", r.Name, r.RealTime, r.CPUTime, r.Iterations)
			for name, value := range r.counters {
				fmt.Printf(" %s=%.6g", name, value)
			}
			fmt.Println()
		}
	}
	if *format == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(out); err != nil {
			panic(err)
		}
	}
}
