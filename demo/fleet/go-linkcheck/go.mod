module example.org/fleet/go-linkcheck

go 1.20
