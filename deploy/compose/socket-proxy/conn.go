package main

import (
	"net"
	"sync"
)

// A listener with a bound: who would be one too many waits in the system's queue.
type boundedListener struct {
	net.Listener
	free chan struct{}
}

func bounded(listener net.Listener, most int) net.Listener {
	return &boundedListener{listener, make(chan struct{}, most)}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &boundedConn{Conn: conn, free: l.free}, nil
}

// boundedConn gives its place back when it is closed, once.
type boundedConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}
