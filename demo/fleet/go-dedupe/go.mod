module example.org/fleet/go-dedupe

go 1.20
