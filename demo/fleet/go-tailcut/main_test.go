package main

import "testing"

func TestCutsRunesNotBytes(t *testing.T) {
	if got := Cut("grün und blau", 5); got != "grün…" {
		t.Fatalf("got %q", got)
	}
}
