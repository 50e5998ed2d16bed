// The socket proxy stands between a controller and the Docker socket. It is an allow list of what the docker
// executor does, and nothing else: which calls, on which containers, with which values.
//
//	socket-proxy [flags]               serve; -help lists the flags
//	socket-proxy healthcheck [flags]   exit code 0 if the proxy at -listen and the daemon behind it answer
//
// Each file has one part: rules.go the calls, create.go what a container may be, files.go what may be put into
// one, policy.go what the flags allow, strict.go how JSON is read, proxy.go what is done with a request.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	headWithin = 10 * time.Second // for the head of a request, and as long again for its body
	idle       = 2 * time.Minute  // a connection without a request
	headSize   = 64 << 10         // bytes; net/http adds 4 kB of its own
	maxConns   = 256              // at once; more wait to be accepted
)

func main() {
	arguments := os.Args[1:]
	check := len(arguments) > 0 && arguments[0] == "healthcheck"
	if check {
		arguments = arguments[1:]
	}
	given, err := readFlags(arguments, os.Stderr)
	if err == nil {
		if check {
			err = healthcheck(given.listen)
		} else {
			err = serve(given)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "socket-proxy:", err)
		os.Exit(1)
	}
}

// serve answers until a signal asks it to end; then open streams are cut.
func serve(given *policy) error {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	listener, err := net.Listen("tcp", given.listen)
	if err != nil {
		return err
	}
	server := newServer(newProxy(given, log), log)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		server.Close()
	}()
	log.Info("listening", "address", listener.Addr().String(), "allowed", given.String())
	if err := server.Serve(bounded(listener, maxConns)); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      handler,
		Protocols:                    protocols, // HTTP/2 would be read by other rules
		ReadHeaderTimeout:            headWithin,
		IdleTimeout:                  idle,
		MaxHeaderBytes:               headSize,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

func healthcheck(listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:"+port+"/_ping", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the daemon answered %s", answer.Status)
	}
	return nil
}
