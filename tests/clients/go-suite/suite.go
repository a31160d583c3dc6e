// Package suite runs the cases of one Go client and prints a line for each. It is shared by the
// suites franz-go, sarama and kafka-go and knows no client.
package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A case may take this long; then it has failed.
const caseMax = 30 * time.Second

// Cases that run at a time. They wait more than they work.
const parallelMax = 4

// Case is one thing a client does. It shares no topic and no group with another one.
type Case struct {
	Name string
	Run  func(*T)
}

// T is what a case gets: the broker, names of its own, and a way to fail.
type T struct {
	context.Context
	Bootstrap string
	name      string
	cleanups  []func()
}

type failed string
type skipped string

// Topic is a topic or group name that no other case and no other run has. It is the same before
// and after a restart.
func (t *T) Topic(suffix string) string {
	return fmt.Sprintf("%s-%s-%s", os.Getenv("RUN_ID"), t.name, suffix)
}

// Failf ends the case.
func (t *T) Failf(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) }

// Skip ends the case without a verdict: this client cannot do it.
func (t *T) Skip(reason string) { panic(skipped(reason)) }

// Cleanup is called when the case has ended, the last one first.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *T) clean() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

// Check fails the case if there is an error.
func (t *T) Check(err error, what string) {
	if err != nil {
		t.Failf("%s: %v", what, err)
	}
}

// Equal fails the case if the two differ.
func (t *T) Equal(got, want any, what string) {
	if !reflect.DeepEqual(got, want) {
		t.Failf("%s: got %v, expected %v", what, got, want)
	}
}

// IsError fails the case if err is not the expected one.
func (t *T) IsError(err, want error, what string) {
	if !errors.Is(err, want) {
		t.Failf("%s: got error %v, expected %v", what, err, want)
	}
}

// Until asks again and again, until the answer is yes or the case is over its time. For what
// becomes true a little after an answer, as a group's state after a leave does.
func (t *T) Until(what string, condition func() bool) {
	for !condition() {
		select {
		case <-t.Done():
			t.Failf("never saw: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Main runs the cases of the phase that the environment names, prints a line for each, and ends
// the process.
func Main(all, before, after []Case) {
	cases := map[string][]Case{"": all, "all": all, "before": before, "after": after}[os.Getenv("PHASE")]
	var (
		lines sync.Mutex
		bad   bool
		ran   int
		group sync.WaitGroup
		slots = make(chan struct{}, parallelMax)
	)
	for _, c := range cases {
		if !strings.Contains(c.Name, os.Getenv("CASE")) {
			continue
		}
		ran++
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; group.Done() }()
			line, ok := verdict(c)
			lines.Lock()
			defer lines.Unlock()
			fmt.Println(line)
			bad = bad || !ok
		}()
	}
	group.Wait()
	if bad || ran == 0 {
		os.Exit(1)
	}
}

func verdict(c Case) (line string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), caseMax)
	defer cancel()
	ended := make(chan any, 1)
	go func() {
		t := &T{Context: ctx, Bootstrap: os.Getenv("BOOTSTRAP"), name: c.Name}
		defer func() { ended <- recover() }()
		defer t.clean()
		c.Run(t)
	}()
	var result any
	select {
	case result = <-ended:
	case <-time.After(caseMax + time.Second): // A client that does not look at its context.
		result = failed(fmt.Sprintf("no end after %v", caseMax))
	}
	switch reason := result.(type) {
	case nil:
		return "ok " + c.Name, true
	case skipped:
		return fmt.Sprintf("skip %s: %s", c.Name, string(reason)), true
	case failed:
		return fmt.Sprintf("not ok %s: %s", c.Name, string(reason)), false
	default:
		return fmt.Sprintf("not ok %s: panic: %v", c.Name, reason), false
	}
}
