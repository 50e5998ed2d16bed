package main

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	labelNamespace    = "nexthos.namespace"
	labelInstallation = "nexthos.installation"
	labelPipeline     = "nexthos.pipeline"
)

// policy is what the flags allow. Whatever leads to the host is empty unless somebody writes it.
type policy struct {
	listen, socket          string
	namespace, installation string
	images                  []string // with their tag or digest
	networks                []string
	runtimes                []string
	volumes                 []string // NAME, NAME*, /FOLDER, or /FOLDER:rw
	ports                   []portRange
}

// portRange: ports of the host at one address, or at every one.
type portRange struct {
	address  string // empty: every one
	from, to int
	kind     string // tcp, udp
}

const usage = `socket-proxy [healthcheck] [flags]: what a controller's docker executor may ask of this Docker daemon.
Lists have commas between their entries.
`

// readFlags returns flag.ErrHelp, among others, when it has already said why.
func readFlags(arguments []string, errors io.Writer) (*policy, error) {
	p := new(policy)
	flags := flag.NewFlagSet("socket-proxy", flag.ContinueOnError)
	flags.SetOutput(errors)
	flags.Usage = func() {
		fmt.Fprint(errors, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&p.listen, "listen", ":2375", "`address` to listen on")
	flags.StringVar(&p.socket, "socket", "/var/run/docker.sock", "`path` of the Docker socket")
	flags.StringVar(&p.namespace, "namespace", "nexthos", "the controller's `namespace`: no other container is touched or shown")
	flags.StringVar(&p.installation, "installation", "", "its `installation`, where several share the daemon and the namespace")
	p.images, p.networks = []string{"nexthos/runner:dev"}, []string{"bridge"}
	list(flags, "images", "`images` that containers are made of and that may be pulled (default nexthos/runner:dev)",
		&p.images, readImage)
	list(flags, "networks", "`networks` that containers may join (default bridge); host is the host's own: everything that listens there can be reached",
		&p.networks, readNetwork)
	list(flags, "runtimes", "OCI `runtimes` besides the daemon's default", &p.runtimes, readWord)
	list(flags, "volumes", "`volumes` that containers may have: NAME, NAME* for all that begin so, /FOLDER of the host and what is below it to read, /FOLDER:rw for that one to write",
		&p.volumes, p.readVolume)
	list(flags, "ports", "`ports` of the host that may be published: ADDRESS:FROM[-TO][/udp]; * is every address",
		&p.ports, readPorts)
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if !wordForm.MatchString(p.namespace) || p.namespace == "" || !wordForm.MatchString(p.installation) {
		return nil, fmt.Errorf("-namespace, -installation: not of their form")
	}
	return p, nil
}

// list defines a flag whose entries replace the default.
func list[T any](flags *flag.FlagSet, name, words string, to *[]T, read func(string) (T, error)) {
	flags.Func(name, words, func(text string) error {
		var entries []T
		for entry := range strings.SplitSeq(text, ",") {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			value, err := read(entry)
			if err != nil {
				return err
			}
			entries = append(entries, value)
		}
		*to = entries
		return nil
	})
}

func (p *policy) String() string {
	return fmt.Sprintf("namespace %s, images %v, networks %v, runtimes %v, volumes %v, ports %v",
		p.namespace, p.images, p.networks, p.runtimes, p.volumes, p.ports)
}

// ---- reading entries

var (
	nameForm      = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
	volumeForm    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\*?$`)
	anonymous     = regexp.MustCompile(`^[0-9a-f]{64}$`) // a volume without a name: another container's
	imageForm     = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?$`)
	portRangeForm = regexp.MustCompile(`^(\*|[0-9.]+|\[[0-9a-fA-F:]+\]):([0-9]+)(?:-([0-9]+))?(?:/(tcp|udp))?$`)
	numberForm    = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
)

func readWord(text string) (string, error) {
	if !nameForm.MatchString(text) {
		return "", fmt.Errorf("%q is no name", text)
	}
	return text, nil
}

// container:NAME would be a look into any container, and has a colon, which no name has.
func readNetwork(text string) (string, error) { return readWord(text) }

func readImage(text string) (string, error) {
	if !imageForm.MatchString(text) {
		return "", fmt.Errorf("%q is no image", text)
	}
	return tagged(text), nil
}

// tagged is an image's name with the tag that Docker takes where there is none.
func tagged(image string) string {
	if strings.Contains(image, "@") || strings.Contains(path.Base(image), ":") {
		return image
	}
	return image + ":latest"
}

func (p *policy) readVolume(text string) (string, error) {
	if !strings.HasPrefix(text, "/") {
		if !volumeForm.MatchString(text) {
			return "", fmt.Errorf("%q is neither a volume's name nor a folder", text)
		}
		return text, nil
	}
	folder := strings.TrimSuffix(text, ":rw")
	if path.Clean(folder) != folder || strings.ContainsAny(folder, ":,") {
		return "", fmt.Errorf("%q: must be a folder of the host, written without . and ..", text)
	}
	for _, own := range append(notSources, p.socket) {
		if isBelow(own, folder) || isBelow(folder, own) {
			return "", fmt.Errorf("%q: whoever has %s has the whole host", text, own)
		}
	}
	return text, nil
}

func readPorts(text string) (portRange, error) {
	parts := portRangeForm.FindStringSubmatch(text)
	if parts == nil {
		return portRange{}, fmt.Errorf("%q is not ADDRESS:FROM[-TO][/udp]", text)
	}
	ports := portRange{address: parts[1], kind: parts[4]}
	ports.from, _ = strconv.Atoi(parts[2])
	ports.to = ports.from
	if parts[3] != "" {
		ports.to, _ = strconv.Atoi(parts[3])
	}
	if ports.kind == "" {
		ports.kind = "tcp"
	}
	if ports.from < 1 || ports.to > 65535 || ports.from > ports.to {
		return portRange{}, fmt.Errorf("%q: a port is from 1 to 65535", text)
	}
	if ports.address == "*" {
		ports.address = ""
	} else if address, err := netip.ParseAddr(strings.Trim(ports.address, "[]")); err != nil {
		return portRange{}, err
	} else {
		ports.address = address.String()
	}
	return ports, nil
}

// ---- asking

// owns: whether a container with these labels is the controller's.
func (p *policy) owns(labels map[string]string) bool {
	installation := labels[labelInstallation]
	return labels[labelNamespace] == p.namespace && installation != "" && labels[labelPipeline] != "" &&
		(p.installation == "" || installation == p.installation)
}

// allowsSource: a folder that may be written is mounted as a whole, and what may be mounted in part is only
// read: who may write in a folder can put a link there, which the daemon would follow at the next mount.
func (p *policy) allowsSource(source, mode string) bool {
	for _, entry := range p.volumes {
		begin, isPrefix := strings.CutSuffix(entry, "*")
		folder, isWritten := strings.CutSuffix(entry, ":rw")
		switch {
		case isWritten:
			if source == folder {
				return true
			}
		case strings.HasPrefix(entry, "/"):
			if mode == "ro" && path.Clean(source) == source && isBelow(source, entry) && !strings.HasSuffix(source, ".sock") {
				return true
			}
		case source == entry, isPrefix && nameForm.MatchString(source) && strings.HasPrefix(source, begin) &&
			!anonymous.MatchString(source):
			return true
		}
	}
	return false
}

// isBelow: whether inner is outer, or lies in it.
func isBelow(inner, outer string) bool {
	return outer == "/" || inner == outer || strings.HasPrefix(inner, outer+"/")
}

// Of the host: they hold the Docker socket, what Docker keeps, or what makes somebody root.
var notSources = []string{"/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/run", "/var/lib/docker"}

// Of the container: what stands in the image, what the kernel shows, and the execution's own.
var notTargets = []string{"/bin", "/boot", "/dev", "/etc", "/opt/nexthos", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr",
	"/var/lock", "/var/run", "/var/tmp"}

func isTarget(target string) bool {
	return strings.HasPrefix(target, "/") && path.Clean(target) == target && !strings.HasPrefix(target, "/lib") &&
		!slices.ContainsFunc(notTargets, func(own string) bool { return isBelow(target, own) || isBelow(own, target) })
}

func (p *policy) allowsPort(address, port, kind string) bool {
	if address != "" { // every one, as 0.0.0.0
		parsed, err := netip.ParseAddr(strings.Trim(address, "[]"))
		if err != nil || parsed.Zone() != "" {
			return false
		}
		address = parsed.String()
	}
	if !numberForm.MatchString(port) {
		return false
	}
	number, _ := strconv.Atoi(port)
	return slices.ContainsFunc(p.ports, func(r portRange) bool {
		return (r.address == "" || r.address == address) && r.kind == kind && r.from <= number && number <= r.to
	})
}
