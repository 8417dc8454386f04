package main

import (
	"strings"
	"testing"
)

func TestTheFirstOfEachLineStays(t *testing.T) {
	var out strings.Builder
	if err := Dedupe(strings.NewReader("b\na\nb\n"), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "b\na\n" {
		t.Fatalf("got %q", out.String())
	}
}
