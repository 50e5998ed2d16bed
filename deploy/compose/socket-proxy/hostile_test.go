package main

import (
	"archive/tar"
	"fmt"
	"strings"
	"testing"
)

// Each is refused, and nothing of it reaches the daemon.
func hostile(t *testing.T) map[string]string {
	bad := strings.Replace(good, `"Init": true`, `"Init": true, "Privileged": true`, 1)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(bad), bad)
	list := "/containers/json?filters="
	found := map[string]string{
		"chunked":                     "POST " + createPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"chunked, and a length":       "POST " + createPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"identity":                    "POST " + createPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n" + bad,
		"two lengths":                 "POST " + createPath + fmt.Sprintf(" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nContent-Length: 4\r\n\r\n", len(bad)) + bad,
		"no length":                   "POST " + createPath + " HTTP/1.1\r\nHost: x\r\n\r\n" + bad,
		"a sign before the length":    "POST " + createPath + fmt.Sprintf(" HTTP/1.1\r\nHost: x\r\nContent-Length: +%d\r\n\r\n", len(bad)) + bad,
		"a space before the colon":    "POST " + createPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n" + chunked,
		"HTTP/1.0":                    "POST " + createPath + fmt.Sprintf(" HTTP/1.0\r\nContent-Length: %d\r\n\r\n", len(good)) + good,
		"HTTP/2 by prior knowledge":   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"HTTP/2 in the line":          "POST " + createPath + fmt.Sprintf(" HTTP/2.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(good)) + good,
		"h2c":                         request("GET", "/_ping", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", ""),
		"an upgrade":                  request("POST", "/v1.41/containers/ours/start", "Connection: Upgrade\r\nUpgrade: tcp\r\n", ""),
		"gzip":                        request("POST", createPath, "Content-Encoding: gzip\r\n", good),
		"expect":                      request("POST", createPath, "Expect: 100-continue\r\n", good),
		"trailers":                    request("POST", createPath, "Trailer: X\r\n", good),
		"a dropped header":            request("POST", createPath, "Connection: Content-Length\r\n", good),
		"padding":                     request("POST", createPath, "", strings.Repeat(" ", 300_000)+bad),
		"too long":                    request("POST", createPath, "", strings.Repeat(" ", 1<<20)+good),
		"no name":                     request("POST", "/containers/create", "", good),
		"two names":                   request("POST", createPath+"&name=nexthos-a-0-12345678", "", good),
		"a name of the network":       request("POST", "/containers/create?name=nats", "", good),
		"another pipeline's name":     request("POST", "/containers/create?name=nexthos-b-0-12345678", "", good),
		"a platform":                  request("POST", createPath+"&platform=x", "", good),
		"another image":               request("POST", createPath, "", strings.Replace(good, "nexthos/runner:dev", "evil", 1)),
		"another digest":              request("POST", createPath, "", strings.Replace(good, "nexthos/runner:dev", "nexthos/runner@sha256:"+strings.Repeat("1", 64), 1)),
		"an image by its id":          request("POST", createPath, "", strings.Replace(good, "nexthos/runner:dev", "sha256:"+strings.Repeat("1", 64), 1)),
		"settings at the start":       request("POST", "/containers/ours/start", "", `{"Privileged": true}`),
		"an absolute address":         request("POST", "http://x/containers/ours/start", "", ""),
		"another tag":                 request("POST", "/images/create?fromImage=nexthos%2Frunner&tag=x", "", ""),
		"an import":                   request("POST", "/images/create?fromSrc=-&tag=dev&fromImage=nexthos%2Frunner", "", ""),
		"no tag, so all":              request("POST", "/images/create?fromImage=nexthos%2Frunner", "", ""),
		"a parameter that is unknown": request("GET", list+labels(`{}`)+"&x=1", "", ""),
		"a list of all":               request("GET", "/containers/json", "", ""),
		"another filter":              request("GET", list+labels(`{"name": ["x"]}`), "", ""),
		"a filter that negates":       request("GET", list+labels(`{"label!": ["nexthos.namespace=nexthos"]}`), "", ""),
		"labels as an object":         request("GET", list+labels(`{"label": {"nexthos.namespace=nexthos": false}}`), "", ""),
		"events of images":            request("GET", "/events?filters="+labels(`{"type": ["image"]}`), "", ""),
		"another signal":              request("POST", "/containers/ours/kill?signal=SIGSTOP", "", ""),
		"a file elsewhere":            request("GET", "/containers/ours/archive?path=%2Fetc%2Fshadow", "", ""),
		"credentials":                 request("GET", "/containers/ours/archive?path=%2Frun%2Fnexthos%2Fstore.creds", "", ""),
		"a way out":                   request("GET", "/containers/ours/archive?path=%2Frun%2Fnexthos%2F..%2F..%2Fetc", "", ""),
		"a form instead of a query":   request("POST", "/containers/ours/kill", "Content-Type: application/x-www-form-urlencoded\r\n", "signal=SIGKILL"),
		"no tar":                      request("PUT", archive, "", "x"),
		"another folder":              request("PUT", "/containers/ours/archive?path=%2F", "", packed(t, file("nats.creds", nil))),
		"a folder replaced":           request("PUT", archive+"&noOverwriteDirNonDir=0", "", packed(t, file("nats.creds", nil))),
	}
	for what, header := range map[string]tar.Header{
		"another file": file("config.yaml", nil), "a way out of the tar": file("../nats.creds", nil), "an absolute path": file("/etc/nats.creds", nil),
		"a link":      file("nats.creds", func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/shadow" }),
		"a hard link": file("nats.creds", func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "/etc/shadow" }),
		"a device":    file("nats.creds", func(h *tar.Header) { h.Typeflag, h.Devmajor = tar.TypeBlock, 8 }),
		"setuid":      file("nats.creds", func(h *tar.Header) { h.Mode = 0o4755 }),
		"root's":      file("nats.creds", func(h *tar.Header) { h.Uid = 0 }),
	} {
		found["tar: "+what] = request("PUT", archive, "", packed(t, header))
	}
	for _, line := range strings.Split(strings.TrimSpace(notOurs+otherCalls), "\n") {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[line] = request(method, path, "", "")
	}
	return found
}

const notOurs = `
POST /containers/other/start
POST /containers/other/kill?signal=SIGKILL
POST /containers/other/unpause
POST /containers/other/rename?name=nexthos-a-0-12345678.altered-abcdef
POST /containers/ours/rename?name=nats
DELETE /containers/other?v=True&link=False&force=False
DELETE /containers/ours?force=True
GET /containers/other/json
GET /containers/other/logs?stdout=1
GET /containers/other/archive?path=%2Frun%2Fnexthos%2Fconfig.yaml
GET /containers/none/json
GET /images/evil/json
POST /images/create?fromImage=evil&tag=latest
`

const otherCalls = `POST /containers/ours/wait
POST /containers/ours/stop
POST /containers/ours/restart
POST /containers/ours/pause
POST /containers/ours/exec
POST /v1.41/containers/ours/exec
POST /exec/x/start
POST /containers/ours/attach?stream=1
GET /containers/ours/attach/ws
POST /containers/ours/update
POST /containers/ours/resize
POST /containers/prune
GET /containers/ours/export
GET /containers/ours/top
GET /containers/ours/stats
GET /containers/ours/changes
HEAD /containers/ours/archive?path=%2Frun%2Fnexthos
GET /containers/..%2fimages/json
GET /containers/ours%2fjson
GET /containers/../images/json
GET //containers/ours/json
GET /containers//ours/json
GET /containers/ours/json/
GET /containers/ours/./json
GET /CONTAINERS/ours/json
GET /containers/ou%72s/json
GET /containers/ours/json#x
GET /_ping%00
GET /v1.41/v1.41/info
GET /v1.23/info
GET /v2.41/info
GET /v01.41/info
GET /v1.410/info
POST /v1.23/containers/ours/start
POST /build
POST /commit?container=ours
POST /session
POST /grpc
POST /auth
GET /images/json
GET /images/nexthos/runner:dev/get
GET /images/nexthos/runner:dev/history
DELETE /images/nexthos/runner:dev
POST /images/nexthos/runner:dev/tag?repo=x
POST /images/nexthos/runner:dev/push
POST /images/load
GET /volumes
POST /volumes/create
DELETE /volumes/x
GET /networks
GET /networks/nexthos
POST /networks/create
POST /networks/nexthos/connect
GET /secrets
GET /configs
GET /services
POST /swarm/init
GET /nodes
GET /plugins
POST /plugins/pull?remote=x
GET /distribution/x/json
GET /system/df
OPTIONS *
TRACE /info
CONNECT x:1
get /info
GET /info?x=1
GET /info?x;y`
