// fault WHAT: what a Go program does with faults of its own, of C's and with signals.
package main

/*
#include <signal.h>
#include <stdlib.h>
extern void fromC(int);
static void null(void) { *(volatile int *)0 = 1; }
static void call(int n) { fromC(n); }
static void illegal(void) { __builtin_trap(); }
*/
import "C"

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

type node struct{ value int }

var nothing *node

//export fromC
func fromC(n C.int) {
	defer func() { fmt.Println("in a callback:", recover()) }()
	fmt.Println(nothing.value + int(n))
}

func recovered() (err error) {
	defer func() { err, _ = recover().(error) }()
	fmt.Println(nothing.value)
	return nil
}

func deep(n int) int { return deep(n+1) + n }

func inGoroutines() {
	var group sync.WaitGroup
	for i := 0; i < 200; i++ {
		group.Add(1)
		go func() { defer group.Done(); recovered() }()
	}
	group.Wait()
	fmt.Println("all recovered")
}

func notified() {
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGUSR1)
	for i := 0; i < 3; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		fmt.Println(<-seen)
	}
}

func locked() {
	runtime.LockOSThread()
	debug.SetPanicOnFault(true)
	defer func() { fmt.Println("fault:", recover() != nil) }()
	_, _, errno := syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0)
	fmt.Println(errno)
	C.call(1)
	fmt.Println(recovered())
}

func child() {
	err := exec.Command("sh", "-c", "kill -SEGV $$").Run()
	fmt.Println(err)
}

func main() {
	switch os.Args[1] {
	case "nil":
		fmt.Println(nothing.value)
	case "recovered":
		fmt.Println(recovered())
	case "goroutines":
		inGoroutines()
	case "c":
		C.null()
	case "c-illegal":
		C.illegal()
	case "callback":
		C.call(3)
	case "notified":
		notified()
	case "locked":
		locked()
	case "overflow":
		debug.SetMaxStack(1 << 20)
		deep(0)
	case "abort":
		C.abort()
	case "child":
		child()
	case "exit":
		time.AfterFunc(time.Millisecond, func() { os.Exit(5) })
		select {}
	case "deadlock":
		var mutex sync.Mutex
		mutex.Lock()
		mutex.Lock()
	}
}
