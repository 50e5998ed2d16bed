package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"time"
)

// Bytes that the heap may grow by, whatever GOGC says, before it is collected; not set: GOGC alone decides.
const headroomVariable = "NEXTHOS_GC_HEADROOM"

// Below this the runtime's own least heap, 4 MiB at 100 %, scales with the percentage and would exceed the
// headroom.
const leastBase = 4 << 20

// While what lives grows, by an eighth and more from one collection to the next, it may double before it is
// collected, since all of it is looked through each time: 250 streams from NATS hold 1 GB, nearly all of it
// buffers that nobody has touched, and with 50 % two fifths of what it takes to create them is collecting.
// What that leaves behind is given back once, when nothing has grown for some time.
const (
	growthPercent = 100
	settledAfter  = 15 * time.Second
)

// keepHeadroom lets the heap grow by max(GOGC %, headroom) between two garbage collections.
//
// A percentage serves one size of heap. One host with 250 streams takes 25 MB less with GOGC=50 than with
// Go's own 100, but one with a single stream then collects every few MB, and passes an eighth fewer messages.
// GOMEMLIMIT is no way out: where what lives comes near it the collector never rests, and one pipeline with
// a large heap would slow down all its neighbours.
func keepHeadroom() {
	headroom, err := strconv.ParseUint(os.Getenv(headroomVariable), 10, 63)
	percent := read("/gc/gogc:percent")
	if err != nil || percent > math.MaxInt32 { // as the runtime passes over a bad GOGC; and GOGC=off
		return
	}
	var last atomic.Uint64 // what the collection before found
	last.Store(math.MaxUint64)
	settled := time.AfterFunc(math.MaxInt64, func() {
		last.Store(math.MaxUint64) // the one that this forces is not compared with what was before
		debug.FreeOSMemory()
	})
	var afterEach func(struct{})
	afterEach = func(struct{}) {
		// What the runtime takes its percentage of, as the last collection found it.
		base := max(read("/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes"), leastBase)
		wanted := max(percent, headroom/(base/100))
		if before := last.Swap(base); base/9 > before/8 {
			wanted = max(wanted, growthPercent)
			settled.Reset(settledAfter)
		}
		debug.SetGCPercent(int(min(wanted, math.MaxInt32)))
		// The runtime tells nobody of a collection, but it runs this after one that found the object dead.
		runtime.AddCleanup(new(*byte), afterEach, struct{}{})
	}
	afterEach(struct{}{})
}

// read is the sum of these metrics of the runtime.
func read(names ...string) (sum uint64) {
	samples := make([]metrics.Sample, len(names))
	for n, name := range names {
		samples[n].Name = name
	}
	metrics.Read(samples)
	for _, sample := range samples {
		sum += sample.Value.Uint64()
	}
	return sum
}
