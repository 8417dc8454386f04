package main

import (
	"net"
	"testing"
	"time"
)

func TestAnOpenPortAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := Wait(listener.Addr().String(), time.Second); err != nil {
		t.Fatal(err)
	}
}
