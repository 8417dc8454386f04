module example.org/fleet/go-tailcut

go 1.20
