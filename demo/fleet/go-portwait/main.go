// Command go-portwait waits until a TCP address accepts connections.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

// Wait dials address until it answers or the limit is over.
func Wait(address string, limit time.Duration) error {
	end := time.Now().Add(limit)
	for {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return connection.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not answer within %s: %w", address, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	limit := flag.Duration("limit", 30*time.Second, "longest wait")
	flag.Parse()
	if err := Wait(flag.Arg(0), *limit); err != nil {
		fmt.Fprintln(os.Stderr, "go-portwait:", err)
		os.Exit(1)
	}
}
