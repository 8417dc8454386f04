module example.org/fleet/go-portwait

go 1.20
