// golog.go - zerolog and zap: a write for each line, and 64 KiB buffers (zerolog: bufio under a mutex).
// Arguments, output and the lines are those of driver.h.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	logger  = "shop.orders"
	message = "order stored, the confirmation is on its way"
	stamp   = "2006-01-02T15:04:05.000000Z07:00"
	buffer  = 65536
	pace    = 5 * time.Microsecond
)

type order struct {
	number, ms int
	user       string
}

var users = [...]string{
	"maria.santos@example.org", "li.wei@example.org", "jürgen@example.org", "\"tim\" <tim@example.org>",
	"olivia@example.org", "noah.fischer@example.org", "amara.okafor@example.org", "b@example.org",
}

func orderOf(n int) order {
	return order{n, n * 7919 % 1000, users[n&7]}
}

// ---- the loggers -----------------------------------------------------------------------------------

type contestant struct {
	line, below func(order)
	close       func()
}

var cases = []string{"zerolog-direct", "zerolog-buffered", "zap-direct", "zap-buffered"}

func open(name string, f *os.File) contestant {
	switch name {
	case "zerolog-direct":
		return openZerolog(f, f)
	case "zerolog-buffered":
		return openZerolog(&locked{w: bufio.NewWriterSize(f, buffer)}, f)
	case "zap-direct":
		return openZap(zapcore.Lock(f), func() {})
	default:
		w := &zapcore.BufferedWriteSyncer{WS: f, Size: buffer}
		return openZap(w, func() { w.Stop() })
	}
}

type locked struct {
	mutex sync.Mutex
	w     *bufio.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.w.Write(p)
}

type writer interface{ Write([]byte) (int, error) }

func openZerolog(w writer, f *os.File) contestant {
	zerolog.TimestampFieldName = "timestamp"
	zerolog.TimeFieldFormat = stamp
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	log := zerolog.New(w).Level(zerolog.InfoLevel).With().Timestamp().Str("logger", logger).Logger()
	write := func(e *zerolog.Event, o order) {
		e.Dict("context", zerolog.Dict().Int("order", o.number).Str("user", o.user).Int("ms", o.ms)).Msg(message)
	}
	return contestant{
		func(o order) { write(log.Info(), o) },
		func(o order) {
			if e := log.Debug(); e.Enabled() {
				write(e, o)
			}
		},
		func() {
			if l, ok := w.(*locked); ok {
				l.w.Flush()
			}
			f.Close()
		},
	}
}

type utc struct{}

func (utc) Now() time.Time                         { return time.Now().UTC() }
func (utc) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

func openZap(w zapcore.WriteSyncer, stop func()) contestant {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "timestamp", LevelKey: "level", NameKey: "logger", MessageKey: "message",
		EncodeTime: zapcore.TimeEncoderOfLayout(stamp), EncodeLevel: zapcore.CapitalLevelEncoder,
	})
	log := zap.New(zapcore.NewCore(encoder, w, zapcore.InfoLevel), zap.WithClock(utc{})).Named(logger)
	return contestant{
		func(o order) {
			log.Info(message, zap.Namespace("context"), zap.Int("order", o.number), zap.String("user", o.user), zap.Int("ms", o.ms))
		},
		func(o order) {
			log.Debug(message, zap.Namespace("context"), zap.Int("order", o.number), zap.String("user", o.user), zap.Int("ms", o.ms))
		},
		stop,
	}
}

// ---- running, as driver.h does ------------------------------------------------------------------------

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func runTimed(c contestant, first int, took []time.Duration, pace time.Duration) {
	for n := range took {
		o := orderOf(first + n)
		began := time.Now()
		c.line(o)
		took[n] = time.Since(began)
		for pace > 0 && time.Since(began) < pace {
		}
	}
}

func part(took []time.Duration, p float64) int64 {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	return took[int(p*float64(len(took)-1))].Nanoseconds()
}

func write(c contestant, mode string, threads, lines int) {
	var took []time.Duration
	var wait sync.WaitGroup
	each, start, apart := lines/threads, make(chan bool), time.Duration(0)
	if mode != "rate" {
		took = make([]time.Duration, each*threads)
	}
	if mode == "paced" {
		apart = pace
	}
	for i := 0; i < threads; i++ {
		wait.Add(1)
		go func(first int) {
			defer wait.Done()
			<-start
			if took != nil {
				runTimed(c, first, took[first:first+each], apart)
				return
			}
			for n := first; n < first+each; n++ {
				c.line(orderOf(n))
			}
		}(i * each)
	}
	used, began := cpu(), time.Now()
	close(start)
	wait.Wait()
	c.close()
	wall := time.Since(began)
	used = cpu() - used
	lines = each * threads
	fmt.Printf(`{"lines":%d,"wall":%.2f,"cpu":%.2f`, lines, float64(wall)/float64(lines), float64(used)/float64(lines))
	if took != nil {
		empty := make([]time.Duration, 10001)
		runTimed(contestant{line: func(order) {}}, 0, empty, 0)
		fmt.Printf(`,"p50":%d,"p99":%d,"p99.9":%d,"timer":%d`, part(took, 0.5), part(took, 0.99), part(took, 0.999), part(empty, 0.5))
	}
	fmt.Println("}")
}

func runBelow(c contestant, calls int) {
	o, began := orderOf(1), time.Now()
	for n := 0; n < calls; n++ {
		o.number = n
		c.below(o)
	}
	fmt.Printf("{\"below\":%.3f}\n", float64(time.Since(began))/float64(calls))
}

func main() {
	if len(os.Args) != 6 {
		for _, name := range cases {
			fmt.Println(name)
		}
		os.Exit(64)
	}
	f, err := os.OpenFile(os.Args[3], os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0640)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	threads, _ := strconv.Atoi(os.Args[4])
	lines, _ := strconv.Atoi(os.Args[5])
	c := open(os.Args[1], f)
	if os.Args[2] == "below" {
		runBelow(c, lines)
	} else {
		write(c, os.Args[2], threads, lines)
	}
}
