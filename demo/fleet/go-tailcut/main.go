// Command go-tailcut cuts lines longer than a width and marks the cut.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
)

// Cut returns line with at most width runes; a cut line ends in an ellipsis.
func Cut(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width || width < 1 {
		return line
	}
	return string(runes[:width-1]) + "…"
}

func main() {
	width := flag.Int("width", 80, "longest line in characters")
	flag.Parse()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(Cut(lines.Text(), *width))
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "go-tailcut:", err)
		os.Exit(1)
	}
}
