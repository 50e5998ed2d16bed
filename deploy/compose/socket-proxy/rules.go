package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const mostBody = 1 << 20 // bytes; variables of a definition, or credentials

// call is one call of the Docker API that the docker executor makes (daemon.py).
type call struct {
	method  string
	path    *regexp.Regexp            // group 1: the version; group 2: what it is about
	query   map[string]*regexp.Regexp // parameters by name, each at most once
	needs   []string                  // those of them that must be there
	body    bool
	prepare func(*proxy, context.Context, *asked) error // checks the rest, and says what is sent
}

// asked is a request that has the form of its call; `prepare` makes of it what the daemon is sent.
type asked struct {
	call    *call
	version string // such as /v1.41, or empty
	about   string // a container, or an image
	path    string // without the version
	query   url.Values
	body    []byte
	header  http.Header // what is sent; nothing of the client's gets in by itself
}

func form(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// Before 1.24 a start could bring settings of its own.
func at(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`^(/v1\.(?:2[4-9]|[3-9][0-9]))?` + pattern + `$`)
}

const (
	container = `/containers/([A-Za-z0-9][A-Za-z0-9_.-]{0,127})`
	image     = `/images/([a-z0-9][A-Za-z0-9._:/-]{0,255}(?:(?:@|%40)sha256:[0-9a-f]{64})?)`
)

var (
	flagForm   = form(`[01]`)
	offForm    = form(`0|False|false`)
	momentForm = form(`[0-9]{1,12}(?:\.[0-9]{1,9})?`)
	filterForm = form(`[ -~]+`)
)

var calls = []*call{
	{method: "GET", path: at(`/_ping`), prepare: asItIs},
	{method: "GET", path: at(`/version`), prepare: asItIs},
	{method: "GET", path: at(`/info`), prepare: asItIs},
	{method: "GET", path: at(`/events`), needs: []string{"filters"}, prepare: ofOurs,
		query: map[string]*regexp.Regexp{"since": momentForm, "until": momentForm, "filters": filterForm}},
	{method: "GET", path: at(`/containers/json`), needs: []string{"filters"}, prepare: ofOurs,
		query: map[string]*regexp.Regexp{"limit": form(`-1`), "all": flagForm, "size": form(`0`), "trunc_cmd": form(`0`),
			"filters": filterForm}},
	{method: "GET", path: at(container + `/json`), prepare: lookAtOurs},
	{method: "GET", path: at(container + `/logs`), prepare: toOurs,
		query: map[string]*regexp.Regexp{"stderr": flagForm, "stdout": flagForm, "timestamps": flagForm, "follow": flagForm,
			"tail": form(`[0-9]{1,9}|all`), "since": momentForm}},
	{method: "GET", path: at(container + `/archive`), needs: []string{"path"}, prepare: toOurs,
		query: map[string]*regexp.Regexp{"path": form(folder + `/(?:config\.yaml|metrics\.prom)`)}},
	{method: "PUT", path: at(container + `/archive`), needs: []string{"path"}, body: true, prepare: filesToOurs,
		query: map[string]*regexp.Regexp{"path": form(folder)}},
	{method: "POST", path: at(`/containers/create`), needs: []string{"name"}, body: true, prepare: create,
		query: map[string]*regexp.Regexp{"name": form(executionName)}},
	{method: "POST", path: at(container + `/start`), prepare: toOurs},
	{method: "POST", path: at(container + `/unpause`), prepare: toOurs},
	{method: "POST", path: at(container + `/kill`), needs: []string{"signal"}, prepare: toOurs,
		query: map[string]*regexp.Regexp{"signal": form(`SIGTERM|SIGKILL`)}},
	{method: "POST", path: at(container + `/rename`), needs: []string{"name"}, prepare: rename,
		query: map[string]*regexp.Regexp{"name": form(executionName + `\.altered-[0-9a-f]{6}`)}},
	{method: "DELETE", path: at(container), prepare: toOurs,
		query: map[string]*regexp.Regexp{"v": form(`[01]|True|False|true|false`), "link": offForm, "force": offForm}},
	{method: "GET", path: at(image + `/json`), prepare: imageOfOurs},
	{method: "POST", path: at(`/images/create`), needs: []string{"fromImage", "tag"}, prepare: pull,
		query: map[string]*regexp.Regexp{"fromImage": form(`[a-z0-9][A-Za-z0-9._:/-]{0,255}`),
			"tag": form(`[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64}`)}},
}

// <namespace>-<pipeline>-<replica>-<hash8>: no other name can be taken, which others may find in a network's DNS.
const executionName = `[a-z0-9-]{1,80}-[0-9]{1,9}-[0-9a-f]{8}`

// ---- how each is prepared

func asItIs(*proxy, context.Context, *asked) error { return nil }

// toOurs names the container by its id from here on: whose a name is may change, whose an id is may not.
func toOurs(p *proxy, ctx context.Context, a *asked) error {
	id, err := p.ours(ctx, a.about)
	if err != nil {
		return err
	}
	a.path = strings.Replace(a.path, "/containers/"+a.about, "/containers/"+id, 1)
	a.about = id
	return nil
}

// lookAtOurs: a name that is somebody else's is not there for the executor, which then sees at the create
// that it is taken.
func lookAtOurs(p *proxy, ctx context.Context, a *asked) error {
	err := toOurs(p, ctx, a)
	if refused, is := err.(*refusal); is && refused.status == http.StatusForbidden {
		return &refusal{http.StatusNotFound, refused.words}
	}
	return err
}

func filesToOurs(p *proxy, ctx context.Context, a *asked) error {
	files, err := repacked(a.body)
	if err != nil {
		return forbidden("%s", err)
	}
	a.body = files
	a.header.Set("Content-Type", "application/x-tar")
	return toOurs(p, ctx, a)
}

func create(p *proxy, ctx context.Context, a *asked) error {
	made, encoded, err := p.policy.readCreated(a.body)
	if err != nil {
		return forbidden("%s", err)
	}
	name := fmt.Sprintf("%s-%s-%s-", p.policy.namespace, made.Labels[labelPipeline], made.Labels["nexthos.replica"])
	if begin, hash := a.query.Get("name"), 8; begin[:len(begin)-hash] != name {
		return forbidden("name: %s is not the name of that execution", shown(begin))
	}
	if err := p.checkImage(ctx, made.Image); err != nil {
		return err
	}
	a.body = encoded
	a.header.Set("Content-Type", "application/json")
	return nil
}

func rename(p *proxy, ctx context.Context, a *asked) error {
	if !strings.HasPrefix(a.query.Get("name"), p.policy.namespace+"-") {
		return forbidden("name: %s is none of this namespace", shown(a.query.Get("name")))
	}
	return toOurs(p, ctx, a)
}

func imageOfOurs(p *proxy, _ context.Context, a *asked) error {
	name := strings.Replace(a.about, "%40", "@", 1)
	if !slices.Contains(p.policy.images, tagged(name)) {
		return forbidden("image %s is not allowed (-images)", shown(name))
	}
	a.path = "/images/" + name + "/json"
	return nil
}

func pull(p *proxy, _ context.Context, a *asked) error {
	name, tag := a.query.Get("fromImage"), a.query.Get("tag")
	separator := ":"
	if strings.HasPrefix(tag, "sha256:") {
		separator = "@"
	}
	if !slices.Contains(p.policy.images, name+separator+tag) {
		return forbidden("image %s%s%s is not allowed (-images)", shown(name), separator, shown(tag))
	}
	return nil
}

var (
	labelFilter = form(`nexthos\.(?:namespace|installation|pipeline)=[A-Za-z0-9._-]{1,128}`)
	idFilter    = form(`[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`)
)

// filters of the lists that the executor asks for.
type filters struct {
	Label     []string `json:"label,omitempty"`
	Type      []string `json:"type,omitempty"`
	Event     []string `json:"event,omitempty"`
	Container []string `json:"container,omitempty"`
}

// ofOurs narrows a list, or the events, to containers of this namespace.
func ofOurs(p *proxy, _ context.Context, a *asked) error {
	found := new(filters)
	if _, err := readStrictly([]byte(a.query.Get("filters")), found); err != nil {
		return forbidden("filters: %s", err)
	}
	isEvents := a.path == "/events"
	if isEvents != slices.Equal(found.Type, []string{"container"}) || !isEvents && (found.Event != nil || found.Container != nil) ||
		found.Event != nil && !slices.Equal(found.Event, []string{"kill"}) || len(found.Container) > 1 ||
		slices.ContainsFunc(found.Container, func(id string) bool { return !idFilter.MatchString(id) }) ||
		slices.ContainsFunc(found.Label, func(label string) bool { return !labelFilter.MatchString(label) }) {
		return forbidden("filters: not those of the executor")
	}
	own := []string{labelNamespace + "=" + p.policy.namespace}
	if p.policy.installation != "" {
		own = append(own, labelInstallation+"="+p.policy.installation)
	}
	for _, label := range own { // all labels must fit, so another namespace's finds nothing
		if !slices.Contains(found.Label, label) {
			found.Label = append(found.Label, label)
		}
	}
	encoded, err := json.Marshal(found)
	if err != nil {
		return err
	}
	a.query.Set("filters", string(encoded))
	return nil
}
