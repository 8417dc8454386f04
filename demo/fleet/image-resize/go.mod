module example.org/fleet/image-resize

go 1.21
