package main

import "testing"

func TestLinksToOtherHostsAreLeftOut(t *testing.T) {
	got := Links("[a](docs/a.md) [b](https://example.org/) [c](b.md#top)")
	if len(got) != 2 || got[0] != "docs/a.md" || got[1] != "b.md" {
		t.Fatalf("got %q", got)
	}
}
