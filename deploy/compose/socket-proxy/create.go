package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What the docker executor creates (container.py), field for field. One that is not here is refused, and
// one without `omitempty` must be there.
type created struct {
	ExposedPorts    map[string]struct{}
	User            string
	Tty             bool
	OpenStdin       bool
	StdinOnce       bool
	AttachStdin     bool
	AttachStdout    bool
	AttachStderr    bool
	Env             []string
	Image           string
	Volumes         map[string]struct{}
	NetworkDisabled bool
	HostConfig      hostConfig
	Labels          map[string]string
}

type hostConfig struct {
	Memory         *int64 `json:",omitempty"`
	MemorySwap     *int64 `json:",omitempty"`
	NanoCpus       *int64 `json:",omitempty"`
	Runtime        string `json:",omitempty"`
	ReadonlyRootfs bool
	NetworkMode    string
	RestartPolicy  struct{ Name string }
	CapDrop        []string
	SecurityOpt    []string
	Binds          []string
	PortBindings   map[string][]binding
	Ulimits        []ulimit
	LogConfig      logConfig
	Tmpfs          map[string]string
	PidsLimit      int64
	Init           bool
}

type binding struct{ HostIp, HostPort string }

type ulimit struct {
	Name       string
	Soft, Hard int64
}

type logConfig struct {
	Type   string
	Config map[string]string
}

const (
	folder   = "/run/nexthos"
	tmpfs    = "rw,noexec,nosuid,nodev,size=16m,mode=1777"
	ownPort  = "4195/tcp" // of the engine's own HTTP, which `reach: loopback` publishes
	mostPids = 1 << 22
)

var (
	// Of the runner and the engine's NATS; the definition's own variables come inside one of these.
	envNames = regexp.MustCompile(`^(NEXTHOS|NATS)_[A-Z0-9_]+$`)
	userForm = regexp.MustCompile(`^([1-9][0-9]{0,9})(?::([1-9][0-9]{0,9}))?$`)
	portForm = regexp.MustCompile(`^([1-9][0-9]{0,4})/(tcp|udp)$`)
	sizeForm = regexp.MustCompile(`^[1-9][0-9]{0,3}[kmg]$`)
	hashForm = regexp.MustCompile(`^(sha256:)?[0-9a-f]{8,64}$`)
	idForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?$`)
	anyForm  = regexp.MustCompile(`(?s)^.*$`)
	wordForm = regexp.MustCompile(`^[A-Za-z0-9._=-]{0,128}$`)
	realForm = regexp.MustCompile(`^[0-9][0-9.e+-]{0,20}$`)
)

// All labels of a container of ours; the namespace and the installation are the policy's.
var labelForms = map[string]*regexp.Regexp{
	labelNamespace:         wordForm,
	labelInstallation:      wordForm,
	labelPipeline:          idForm,
	"nexthos.replica":      realForm,
	"nexthos.revision":     realForm,
	"nexthos.version":      wordForm,
	"nexthos.digest":       hashForm,
	"nexthos.spec-hash":    wordForm,
	"nexthos.stop-timeout": realForm,
	"nexthos.made-with":    anyForm,
	"nexthos.made":         hashForm,
}

// readCreated reads the body of a create, and returns it with what the daemon is to be sent.
func (p *policy) readCreated(body []byte) (*created, []byte, error) {
	made := new(created)
	encoded, err := readStrictly(body, made)
	if err != nil {
		return nil, nil, err
	}
	for _, check := range []func(*created) error{p.checkWho, p.checkLabels, p.checkHost, p.checkBinds, p.checkPorts} {
		if err := check(made); err != nil {
			return nil, nil, err
		}
	}
	return made, encoded, nil
}

// checkWho: its user and variables. The image is looked at by the proxy, since it asks the daemon.
func (p *policy) checkWho(made *created) error {
	parts := userForm.FindStringSubmatch(made.User)
	if parts == nil || !isID(parts[1]) || (parts[2] != "" && !isID(parts[2])) {
		return fmt.Errorf("User: %s is not a numeric user (and group) other than 0", shown(made.User))
	}
	if made.Tty || made.OpenStdin || made.StdinOnce || made.AttachStdin || made.NetworkDisabled {
		return fmt.Errorf("Tty, OpenStdin, StdinOnce, AttachStdin, NetworkDisabled: must be false")
	}
	for _, pair := range made.Env {
		name, value, found := strings.Cut(pair, "=")
		if !found || !envNames.MatchString(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("Env: %s is no variable of the runner", shown(name))
		}
	}
	if len(made.Volumes) != 1 || !has(made.Volumes, folder) {
		return fmt.Errorf("Volumes: must be %s and no other", folder)
	}
	return nil
}

func isID(digits string) bool {
	number, err := strconv.ParseInt(digits, 10, 32)
	return err == nil && number > 0
}

func (p *policy) checkLabels(made *created) error {
	for name, value := range made.Labels {
		if form, known := labelForms[name]; !known || !form.MatchString(value) {
			return fmt.Errorf("Labels: %s is not one of an execution, or not of its form", shown(name))
		}
	}
	for name := range labelForms {
		if !has(made.Labels, name) {
			return fmt.Errorf("Labels: %s is missing", name)
		}
	}
	if !p.owns(made.Labels) {
		return fmt.Errorf("Labels: namespace or installation is not that of this proxy (-namespace, -installation)")
	}
	return nil
}

func (p *policy) checkHost(made *created) error {
	host := &made.HostConfig
	switch {
	case !host.ReadonlyRootfs:
		return fmt.Errorf("HostConfig.ReadonlyRootfs: must be true")
	case !host.Init:
		return fmt.Errorf("HostConfig.Init: must be true")
	case host.RestartPolicy.Name != "no":
		return fmt.Errorf("HostConfig.RestartPolicy: must be no")
	case !slices.Equal(host.CapDrop, []string{"ALL"}):
		return fmt.Errorf("HostConfig.CapDrop: must be ALL")
	case !slices.Equal(host.SecurityOpt, []string{"no-new-privileges"}):
		return fmt.Errorf("HostConfig.SecurityOpt: must be no-new-privileges")
	case !maps.Equal(host.Tmpfs, map[string]string{"/tmp": tmpfs}):
		return fmt.Errorf("HostConfig.Tmpfs: must be /tmp: %s", tmpfs)
	case !slices.Contains(p.networks, host.NetworkMode):
		return fmt.Errorf("HostConfig.NetworkMode: %s is not allowed (-networks)", shown(host.NetworkMode))
	case host.Runtime != "" && !slices.Contains(p.runtimes, host.Runtime):
		return fmt.Errorf("HostConfig.Runtime: %s is not allowed (-runtimes)", shown(host.Runtime))
	}
	return checkLimits(host)
}

func checkLimits(host *hostConfig) error {
	if host.PidsLimit < 1 || host.PidsLimit > mostPids {
		return fmt.Errorf("HostConfig.PidsLimit: must be from 1 to %d", mostPids)
	}
	if (host.Memory == nil) != (host.MemorySwap == nil) ||
		host.Memory != nil && (*host.Memory < 1 || *host.Memory != *host.MemorySwap) {
		return fmt.Errorf("HostConfig.Memory and MemorySwap: must be equal, and above 0")
	}
	if host.NanoCpus != nil && *host.NanoCpus < 1 {
		return fmt.Errorf("HostConfig.NanoCpus: must be above 0")
	}
	if len(host.Ulimits) != 1 || host.Ulimits[0].Name != "nofile" ||
		host.Ulimits[0].Soft < 1 || host.Ulimits[0].Soft != host.Ulimits[0].Hard {
		return fmt.Errorf("HostConfig.Ulimits: must be nofile, with one number")
	}
	config := host.LogConfig.Config
	if host.LogConfig.Type != "json-file" || len(config) != 2 ||
		!sizeForm.MatchString(config["max-size"]) || config["max-file"] != "2" {
		return fmt.Errorf("HostConfig.LogConfig: must be json-file, with max-size, and max-file 2")
	}
	return nil
}

func (p *policy) checkBinds(made *created) error {
	var targets []string
	for _, bind := range made.HostConfig.Binds {
		parts := strings.Split(bind, ":")
		if len(parts) != 3 || (parts[2] != "ro" && parts[2] != "rw") {
			return fmt.Errorf("HostConfig.Binds: %s is not SOURCE:PATH:ro or SOURCE:PATH:rw", shown(bind))
		}
		if !p.allowsSource(parts[0], parts[2]) {
			return fmt.Errorf("HostConfig.Binds: %s is not allowed (-volumes)", shown(parts[0]))
		}
		// A link in an outer one would lead an inner one anywhere.
		touches := func(other string) bool { return isBelow(other, parts[1]) || isBelow(parts[1], other) }
		if !isTarget(parts[1]) || slices.ContainsFunc(targets, touches) {
			return fmt.Errorf("HostConfig.Binds: %s is no path that a volume may have in the container", shown(parts[1]))
		}
		targets = append(targets, parts[1])
	}
	return nil
}

func (p *policy) checkPorts(made *created) error {
	bound := made.HostConfig.PortBindings
	if len(bound) != len(made.ExposedPorts) {
		return fmt.Errorf("ExposedPorts and HostConfig.PortBindings: must name the same ports")
	}
	for port, bindings := range bound {
		form := portForm.FindStringSubmatch(port)
		if form == nil || !has(made.ExposedPorts, port) || len(bindings) != 1 {
			return fmt.Errorf("HostConfig.PortBindings: %s is no port that is exposed and bound once", shown(port))
		}
		to := bindings[0]
		if port == ownPort && to == (binding{"127.0.0.1", ""}) {
			continue
		}
		if !p.allowsPort(to.HostIp, to.HostPort, form[2]) {
			return fmt.Errorf("HostConfig.PortBindings: %s:%s is not allowed (-ports)", shown(to.HostIp), shown(to.HostPort))
		}
	}
	return nil
}

func has[V any](of map[string]V, name string) bool {
	_, there := of[name]
	return there
}
