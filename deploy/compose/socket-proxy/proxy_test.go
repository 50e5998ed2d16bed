package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDaemon notes what reaches the socket. Containers: ours and other, which has another namespace's labels.
type fakeDaemon struct {
	mutex sync.Mutex
	seen  []string
	body  []byte
	free  chan struct{} // an event may be sent
}

const ourID, otherID = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"

func (d *fakeDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mutex.Lock()
	d.seen, d.body = append(d.seen, r.Method+" "+r.RequestURI), body
	d.mutex.Unlock()
	namespace := map[string]string{"ours": "nexthos", ourID: "nexthos", "other": "else", otherID: "else"}
	id := map[string]string{"ours": ourID, ourID: ourID, "other": otherID, otherID: otherID}
	path := strings.TrimPrefix(r.URL.Path, "/v1.41")
	name, isLook := strings.CutSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
	isLook = isLook && strings.HasPrefix(path, "/containers/") && path != "/containers/json"
	switch {
	case isLook && id[name] != "":
		fmt.Fprintf(w, `{"Id": %q, "Config": {"Labels": {"nexthos.namespace": %q, "nexthos.installation": "one", "nexthos.pipeline": "a"}}}`,
			id[name], namespace[name])
	case isLook:
		w.WriteHeader(http.StatusNotFound)
	case strings.HasSuffix(r.URL.Path, "/events"):
		for range 2 {
			fmt.Fprintln(w, `{"Action": "start"}`)
			_ = http.NewResponseController(w).Flush()
			<-d.free
		}
	default:
		fmt.Fprintf(w, `{"RepoDigests": ["nexthos/runner@sha256:%064d"]}`, 0)
	}
}

// acted is what reached the daemon besides the proxy's own looks.
func (d *fakeDaemon) acted() []string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(d.seen), func(request string) bool {
		return strings.HasPrefix(request, "GET /containers/") || strings.HasPrefix(request, "GET /images/")
	})
}

// stand is a proxy before a daemon, and its address.
func stand(t *testing.T, arguments ...string) (*fakeDaemon, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &fakeDaemon{free: make(chan struct{}, 10)}
	behind := &httptest.Server{Listener: listener, Config: &http.Server{Handler: daemon}}
	behind.Start()
	t.Cleanup(behind.Close)
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(newProxy(flags(t, append(arguments, "-socket="+socket)...), log), log)
	go server.Serve(bounded(front, 16))
	t.Cleanup(func() { server.Close() })
	return daemon, front.Addr().String()
}

// raw sends bytes as they are, and returns the status and body of the first answer.
func raw(t *testing.T, address, text string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(conn, text)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

func request(method, path, headers, body string) string {
	length := ""
	if body != "" {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + length + headers + "\r\n" + body
}

const (
	createPath = "/v1.41/containers/create?name=nexthos-a-0-12345678"
	archive    = "/v1.41/containers/ours/archive?path=%2Frun%2Fnexthos"
)

func packed(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, header := range headers {
		content := []byte("secret")
		if header.Typeflag != 0 && header.Typeflag != tar.TypeReg {
			content = nil
		}
		header.Size = int64(len(content))
		if err := writer.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	writer.Close()
	return buffer.String()
}

func file(name string, change func(*tar.Header)) tar.Header {
	header := tar.Header{Name: name, Mode: 0o600, Uid: 10001, Gid: 10001}
	if change != nil {
		change(&header)
	}
	return header
}

func labels(values string) string { return url.QueryEscape(values) }

func TestWhatTheExecutorAsksReachesTheDaemon(t *testing.T) {
	daemon, address := stand(t)
	ours := labels(`{"label": ["nexthos.namespace=nexthos", "nexthos.installation=one"]}`)
	sent := labels(`{"label":["nexthos.namespace=nexthos","nexthos.installation=one"]}`)
	id := "/v1.41/containers/" + ourID
	for _, call := range [][3]string{
		{"GET", "/_ping", ""}, {"GET", "/version", ""}, {"GET", "/v1.41/info", ""},
		{"GET", "/v1.41/containers/json?limit=-1&all=1&size=0&trunc_cmd=0&filters=" + ours,
			"/v1.41/containers/json?all=1&filters=" + sent + "&limit=-1&size=0&trunc_cmd=0"},
		{"GET", "/v1.41/containers/ours/json", id + "/json"},
		{"GET", "/v1.41/containers/ours/logs?stderr=1&stdout=1&timestamps=1&follow=0&tail=50&since=1.5",
			id + "/logs?follow=0&since=1.5&stderr=1&stdout=1&tail=50&timestamps=1"},
		{"GET", "/v1.41/containers/ours/archive?path=%2Frun%2Fnexthos%2Fconfig.yaml", id + "/archive?path=%2Frun%2Fnexthos%2Fconfig.yaml"},
		{"POST", "/v1.41/containers/ours/start", id + "/start"}, {"POST", "/containers/ours/unpause", "/containers/" + ourID + "/unpause"},
		{"POST", "/v1.41/containers/ours/kill?signal=SIGTERM", id + "/kill?signal=SIGTERM"},
		{"POST", "/v1.41/containers/ours/rename?name=nexthos-a-0-12345678.altered-abcdef", id + "/rename?name=nexthos-a-0-12345678.altered-abcdef"},
		{"DELETE", "/v1.41/containers/ours?v=True&link=False&force=False", id + "?force=False&link=False&v=True"},
		{"GET", "/v1.41/images/nexthos/runner:dev/json", ""},
		{"POST", "/v1.41/images/create?tag=dev&fromImage=nexthos%2Frunner", "/v1.41/images/create?fromImage=nexthos%2Frunner&tag=dev"},
	} {
		if status, words := raw(t, address, request(call[0], call[1], "", "")); status != 200 {
			t.Error(call, status, words)
		}
		want := call[2]
		if want == "" {
			want = call[1]
		}
		if got := daemon.seen[len(daemon.seen)-1]; got != call[0]+" "+want {
			t.Error(got, "is not", want)
		}
	}
}

func TestABodyIsMadeAnewFromWhatWasRead(t *testing.T) {
	daemon, address := stand(t)
	spaced := good + strings.Repeat(" ", 300_000)
	if status, words := raw(t, address, request("POST", createPath, "Content-Type: text/plain\r\nX-Other: 1\r\n", spaced)); status != 200 {
		t.Fatal(status, words)
	}
	if bytes.Contains(daemon.body, []byte(" ")) || !json.Valid(daemon.body) {
		t.Errorf("%.200q", daemon.body)
	}
	digest := fmt.Sprintf("nexthos/runner@sha256:%064d", 0)
	if status, words := raw(t, address, request("POST", createPath, "", strings.Replace(good, "nexthos/runner:dev", digest, 1))); status != 200 {
		t.Error(status, words)
	}
	put := packed(t, file("nats.creds", nil), file("store.creds", nil)) + strings.Repeat("x", 100)
	if status, words := raw(t, address, request("PUT", archive, "", put)); status != 200 {
		t.Fatal(status, words)
	}
	header, err := tar.NewReader(bytes.NewReader(daemon.body)).Next()
	if err != nil || header.Name != "nats.creds" || bytes.Contains(daemon.body, []byte("xxx")) {
		t.Error(header, err)
	}
}

func TestEventsComeAtOnce(t *testing.T) {
	daemon, address := stand(t)
	query := labels(`{"type": ["container"], "label": ["nexthos.namespace=nexthos"]}`)
	answer, err := http.Get("http://" + address + "/v1.41/events?filters=" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for range 2 { // the second is only sent when the first was read
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		daemon.free <- struct{}{}
	}
}

func TestListsAndEventsAreOfThisNamespaceWhateverIsAsked(t *testing.T) {
	daemon, address := stand(t, "-installation=one")
	for _, filters := range []string{`{"label": ["nexthos.namespace=else"]}`, `{"label": ["nexthos.pipeline=a"]}`, `{}`} {
		raw(t, address, request("GET", "/containers/json?filters="+labels(filters), "", ""))
		if got := daemon.seen[len(daemon.seen)-1]; !strings.Contains(got, "nexthos.namespace%3Dnexthos") ||
			!strings.Contains(got, "nexthos.installation%3Done") {
			t.Error(got)
		}
	}
}

func TestEverythingElseIsRefusedAndReachesNoDaemon(t *testing.T) {
	daemon, address := stand(t)
	for what, text := range hostile(t) {
		status, words := raw(t, address, text)
		if status < 400 || status > 505 {
			t.Error(what, status)
		}
		// What net/http itself can't read is answered by it; the rest is told in words.
		if status == http.StatusForbidden && !strings.HasPrefix(text, "HEAD") && !strings.Contains(words, `{"message":"the socket proxy refuses: `) {
			t.Error(what, words)
		}
		if acted := daemon.acted(); len(acted) > 0 {
			t.Fatal(what, acted)
		}
	}
}

func TestANameOfSomebodyElseIsNotThereForALook(t *testing.T) {
	_, address := stand(t)
	status, words := raw(t, address, request("GET", "/containers/other/json", "", ""))
	if status != http.StatusNotFound || strings.Contains(words, "Labels") {
		t.Error(status, words)
	}
	if status, _ := raw(t, address, request("GET", "/containers/other/logs?stdout=1", "", "")); status != http.StatusForbidden {
		t.Error(status)
	}
}

func TestNothingThatFollowsARefusedRequestIsRead(t *testing.T) {
	daemon, address := stand(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, request("POST", "/build", "", "")+request("POST", "/containers/ours/start", "", ""))
	answers, _ := io.ReadAll(conn)
	if bytes.Count(answers, []byte("HTTP/1.1 ")) != 1 || len(daemon.acted()) > 0 {
		t.Errorf("%q %v", answers, daemon.acted())
	}
}

func TestADaemonThatIsAwayIsAConnectionThatEnds(t *testing.T) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	front := httptest.NewServer(newProxy(flags(t, "-socket="+filepath.Join(t.TempDir(), "none")), log))
	defer front.Close()
	for _, path := range []string{"/_ping", "/containers/ours/json"} {
		if answer, err := http.Get(front.URL + path); err == nil {
			t.Error(answer.Status)
		}
	}
}

func TestARefusalIsOneLineOfTheLogWhateverIsInIt(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&lines, nil))
	front := httptest.NewServer(newProxy(flags(t), log))
	raw(t, front.Listener.Addr().String(), request("POST", "/build?\x1b]0;x\x07"+strings.Repeat("x", 5000), "", ""))
	raw(t, front.Listener.Addr().String(), request("GET", "/containers/json?filters=%7B%22%0A%1B%22:1%7D", "", ""))
	front.Close()
	if text := lines.String(); strings.Count(text, "\n") > 2 || strings.ContainsAny(text, "\x1b\x07") || len(text) > 2000 {
		t.Errorf("%q", text)
	}
}
