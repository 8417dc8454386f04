// Command go-dedupe copies standard input without repeated lines.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// Dedupe copies lines from in to out, each only the first time it comes.
func Dedupe(in io.Reader, out io.Writer) error {
	seen := make(map[string]struct{})
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if _, known := seen[line]; known {
			continue
		}
		seen[line] = struct{}{}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := Dedupe(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "go-dedupe:", err)
		os.Exit(1)
	}
}
