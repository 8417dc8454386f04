// Command go-linkcheck lists links to missing local files in Markdown files.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)`)

// Links returns the local targets of the links in a Markdown text.
func Links(text string) []string {
	var found []string
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(match[1], ":") {
			found = append(found, match[1])
		}
	}
	return found
}

func main() {
	missing := 0
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "go-linkcheck:", err)
			os.Exit(2)
		}
		for _, target := range Links(string(text)) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), target)); err != nil {
				fmt.Printf("%s: %s is missing\n", name, target)
				missing++
			}
		}
	}
	if missing > 0 {
		os.Exit(1)
	}
}
