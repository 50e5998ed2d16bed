package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// proxy judges each request by the calls of rules.go, and sends the daemon a new one that is made of what was
// read. Nothing that a client wrote is passed on as it was written.
type proxy struct {
	policy  *policy
	log     *slog.Logger
	daemon  *http.Transport
	reverse *httputil.ReverseProxy
}

// refusal is what a client is told: a status, and what was refused.
type refusal struct {
	status int
	words  string
}

func (r *refusal) Error() string { return r.words }

func forbidden(words string, values ...any) error {
	return &refusal{http.StatusForbidden, fmt.Sprintf(words, values...)}
}

// errAway: the daemon does not answer. The client's connection is closed then, as the daemon's is.
var errAway = errors.New("the daemon does not answer")

func newProxy(given *policy, log *slog.Logger) *proxy {
	var dialer net.Dialer
	p := &proxy{policy: given, log: log}
	p.daemon = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", given.socket)
		},
		DisableCompression: true,
		DisableKeepAlives:  true, // a call that acts must not meet a connection which the daemon just closed
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:       func(*httputil.ProxyRequest) {}, // forward has made all of it
		Transport:     p.daemon,
		FlushInterval: -1, // events and followed logs, line by line
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandler:  func(_ http.ResponseWriter, r *http.Request, err error) { p.away(r.Context(), err) },
	}
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := p.judge(w, r)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		p.refuse(w, r, refused)
	case err != nil:
		p.away(r.Context(), err)
	default:
		p.forward(w, r, a)
	}
}

func (p *proxy) away(ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.log.Warn("the daemon does not answer", "error", err.Error())
	}
	panic(http.ErrAbortHandler)
}

func (p *proxy) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	p.log.Warn("refused", "method", shown(r.Method), "request", shown(r.RequestURI), "why", refused.words, "from", r.RemoteAddr)
	if r.Header.Get("Expect") == "" { // or the answer would be lost with a connection that is closed before all is read
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headWithin / 2))
		_, _ = io.CopyN(io.Discard, r.Body, mostBody)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close") // what follows on it was written for a request that we did not read
	w.WriteHeader(refused.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": "the socket proxy refuses: " + refused.words})
}

func (p *proxy) forward(w http.ResponseWriter, r *http.Request, a *asked) {
	to := url.URL{Scheme: "http", Host: "docker", Path: a.version + a.path, RawQuery: a.query.Encode()}
	var body io.Reader
	if a.body != nil {
		body = bytes.NewReader(a.body)
	}
	sent, err := http.NewRequestWithContext(r.Context(), a.call.method, to.String(), body)
	if err != nil {
		p.refuse(w, r, &refusal{http.StatusForbidden, err.Error()})
		return
	}
	sent.Header = a.header
	p.reverse.ServeHTTP(w, sent)
}

// ---- judging

func (p *proxy) judge(w http.ResponseWriter, r *http.Request) (*asked, error) {
	if err := checkHead(r); err != nil {
		return nil, err
	}
	a, err := match(r)
	if err != nil {
		return nil, err
	}
	if a.body, err = readBody(w, r, a.call.body); err != nil {
		return nil, err
	}
	if auth := r.Header.Get("X-Registry-Auth"); a.path == "/images/create" && auth != "" {
		if !authForm.MatchString(auth) {
			return nil, forbidden("X-Registry-Auth: not of its form")
		}
		a.header.Set("X-Registry-Auth", auth)
	}
	return a, a.call.prepare(p, r.Context(), a)
}

var (
	authForm = form(`[A-Za-z0-9_+/=-]+`)
	pathForm = form(`(?:/[A-Za-z0-9_.:@-]+(?:%40[A-Za-z0-9:]+)?)+`)
	rawForm  = form(`[A-Za-z0-9_.~%+=&*:/@,-]*`)
)

// Headers with which a connection, or the reading of a body, would become something else.
var notHeaders = []string{"Upgrade", "Http2-Settings", "Transfer-Encoding", "Content-Encoding", "Te", "Trailer", "Expect"}

func checkHead(r *http.Request) error {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return forbidden("%s: only HTTP/1.1 is spoken", shown(r.Proto))
	}
	for _, name := range notHeaders {
		if _, there := r.Header[name]; there {
			return forbidden("the header %s", name)
		}
	}
	if len(r.TransferEncoding) > 0 || r.ContentLength < 0 {
		return forbidden("a body without a Content-Length")
	}
	for _, value := range r.Header["Connection"] {
		if !strings.EqualFold(value, "keep-alive") && !strings.EqualFold(value, "close") {
			return forbidden("the header Connection: %s", shown(value))
		}
	}
	return nil
}

// match finds the call that has this method, path and query.
func match(r *http.Request) (*asked, error) {
	path, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	if !pathForm.MatchString(path) || strings.Contains(path, "..") {
		return nil, forbidden("the path %s", shown(path))
	}
	for _, c := range calls {
		parts := c.path.FindStringSubmatch(path)
		if parts == nil || c.method != r.Method {
			continue
		}
		query, err := readQuery(c, rawQuery)
		if err != nil {
			return nil, err
		}
		a := &asked{call: c, version: parts[1], path: path[len(parts[1]):], query: query, header: http.Header{}}
		if len(parts) > 2 {
			a.about = parts[2]
		}
		return a, nil
	}
	return nil, forbidden("%s %s is no call of the docker executor", shown(r.Method), shown(path))
}

func readQuery(c *call, raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil || !rawForm.MatchString(raw) {
		return nil, forbidden("the query %s", shown(raw))
	}
	for name, values := range query {
		var form *regexp.Regexp = c.query[name]
		if form == nil || len(values) != 1 || !form.MatchString(values[0]) {
			return nil, forbidden("the parameter %s=%s", shown(name), shown(strings.Join(values, ",")))
		}
	}
	if i := slices.IndexFunc(c.needs, func(name string) bool { return !query.Has(name) }); i >= 0 {
		return nil, forbidden("the parameter %s is missing", c.needs[i])
	}
	return query, nil
}

func readBody(w http.ResponseWriter, r *http.Request, takes bool) ([]byte, error) {
	switch {
	case !takes && r.ContentLength > 0:
		return nil, forbidden("a body, where the executor sends none")
	case takes && r.ContentLength == 0:
		return nil, forbidden("no body, or none with a Content-Length")
	case r.ContentLength > mostBody:
		return nil, forbidden("a body of %d bytes; %d are the most", r.ContentLength, mostBody)
	case !takes:
		return nil, nil
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(headWithin)); err != nil {
		return nil, err
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, &refusal{http.StatusBadRequest, "a body shorter than its Content-Length, or too slow"}
	}
	return body, control.SetReadDeadline(time.Time{})
}

// ---- asking the daemon

// ours is the id of a container that the controller owns, by its id or name.
func (p *proxy) ours(ctx context.Context, container string) (string, error) {
	var found struct {
		Id     string
		Config struct{ Labels map[string]string }
	}
	there, err := p.look(ctx, "/containers/"+container+"/json", &found)
	switch {
	case err != nil:
		return "", err
	case !there:
		return "", &refusal{http.StatusNotFound, "there is no container " + shown(container)}
	case !p.policy.owns(found.Config.Labels):
		return "", forbidden("container %s is none of this controller's", shown(container))
	}
	return found.Id, nil
}

// checkImage: one of the policy's, by its name or by a digest that it has here.
func (p *proxy) checkImage(ctx context.Context, reference string) error {
	if slices.Contains(p.policy.images, tagged(reference)) {
		return nil
	}
	for _, name := range p.policy.images {
		var found struct{ RepoDigests []string }
		there, err := p.look(ctx, "/images/"+name+"/json", &found)
		if err != nil {
			return err
		}
		if there && slices.Contains(found.RepoDigests, reference) {
			return nil
		}
	}
	return forbidden("Image: %s is not allowed (-images)", shown(reference))
}

// look asks the daemon for one thing; false if there is none.
func (p *proxy) look(ctx context.Context, path string, out any) (bool, error) {
	to := url.URL{Scheme: "http", Host: "docker", Path: path}
	ask, err := http.NewRequestWithContext(ctx, "GET", to.String(), nil)
	if err != nil {
		return false, err
	}
	answer, err := p.daemon.RoundTrip(ask)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errAway, err)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return true, json.NewDecoder(answer.Body).Decode(out)
	case http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("%w: %s", errAway, answer.Status)
}
