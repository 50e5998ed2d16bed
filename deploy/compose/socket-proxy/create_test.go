package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// As docker-py writes it for the executor.
const good = `{"ExposedPorts": {}, "User": "10001:10001", "Tty": false, "OpenStdin": false, "StdinOnce": false,
 "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Env": ["NEXTHOS_PIPELINE=a", "NATS_URL=nats://n"],
 "Image": "nexthos/runner:dev", "Volumes": {"/run/nexthos": {}}, "NetworkDisabled": false,
 "HostConfig": {"Memory": 1000, "MemorySwap": 1000, "ReadonlyRootfs": true, "NetworkMode": "nexthos",
  "RestartPolicy": {"Name": "no"}, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Binds": [],
  "PortBindings": {}, "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
  "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
  "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=16m,mode=1777"}, "PidsLimit": 256, "Init": true, "NanoCpus": 5},
 "Labels": {"nexthos.namespace": "nexthos", "nexthos.installation": "one", "nexthos.pipeline": "a",
  "nexthos.replica": "0", "nexthos.revision": "3", "nexthos.version": "1",
  "nexthos.digest": "sha256:aaaaaaaaaaaaaaaa", "nexthos.spec-hash": "bbbbbbbb", "nexthos.stop-timeout": "10",
  "nexthos.made-with": "{}", "nexthos.made": "sha256:cccccccccccccccc"}}`

func flags(t *testing.T, arguments ...string) *policy {
	t.Helper()
	p, err := readFlags(append([]string{"-networks=nexthos"}, arguments...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(p *policy, body string) error {
	_, _, err := p.readCreated([]byte(body))
	return err
}

func TestWhatTheExecutorSendsIsReadAndSentAgainAsTheSame(t *testing.T) {
	_, encoded, err := flags(t).readCreated([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	given, _ := readTree([]byte(good))
	sent, err := readTree(encoded)
	if err != nil || difference("", given, sent) != "" {
		t.Fatal(err, string(encoded))
	}
}

// In HostConfig, each beside what the executor sends.
var moreOfHost = []string{
	`"Privileged": true`, `"privileged": true`, `"Privileged": false`, `"Pri\u0076ileged": true`,
	`"CapAdd": "ALL"`, `"CapAdd": ["ALL"]`, `"CapAdd": []`, `"capadd": ["SYS_ADMIN"]`, `"CapAdd": null`,
	`"Mounts": [{"Type": "bind", "Source": "/", "Target": "/h"}]`,
	`"Mounts": [{"Type": "volume", "Target": "/h", "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}}}}]`,
	`"Mounts": []`, `"VolumeDriver": "local"`, `"VolumesFrom": ["x"]`, `"VolumesFrom": "x"`,
	`"PidMode": "host"`, `"IpcMode": "host"`, `"IpcMode": "container:x"`, `"UTSMode": "host"`, `"UsernsMode": "host"`,
	`"CgroupnsMode": "host"`, `"Cgroup": "x"`, `"CgroupParent": "/"`, `"Isolation": "process"`,
	`"Devices": [{"PathOnHost": "/dev/vda", "PathInContainer": "/dev/vda", "CgroupPermissions": "rwm"}]`,
	`"Device\u017f": [{"PathOnHost": "/dev/vda"}]`, "\"Device\u017f\": [{\"PathOnHost\": \"/dev/vda\"}]",
	`"DeviceRequests": [{"Driver": "nvidia", "Count": -1}]`, `"DeviceCgroupRules": ["a *:* rwm"]`,
	`"Runtime": "other"`, `"Runtime": ""`, `"runtime": "runc"`, `"Annotations": {"a": "b"}`, `"Sysctls": {"net.core.somaxconn": "1"}`,
	`"OomScoreAdj": -1000`, `"OomKillDisable": true`, `"ShmSize": 1`, `"MaskedPaths": []`, `"ReadonlyPaths": []`,
	`"StorageOpt": {"size": "1G"}`, `"Links": ["x:y"]`, `"ExtraHosts": ["nats:1.2.3.4"]`, `"Dns": ["1.1.1.1"]`,
	`"DnsOptions": ["x"]`, `"DnsSearch": ["x"]`, `"GroupAdd": ["0"]`, `"AutoRemove": true`, `"PublishAllPorts": true`,
	`"ContainerIDFile": "/x"`, `"CpuShares": 1`, `"CpusetCpus": "0"`, `"CpuRealtimeRuntime": 1`, `"BlkioWeight": 1`,
	`"KernelMemory": 1`, `"MemoryReservation": 1`, `"MemorySwappiness": 0`, `"LxcConf": []`, `"ConsoleSize": [1, 1]`,
	`"Binds": ["/:/host:rw"]`, `"binds": ["/:/host:rw"]`, `"ReadonlyRootfs": false`, `"CapDrop": []`, `"capDrop": ["ALL"]`,
}

var moreOfAll = []string{
	`"Hostname": "nats"`, `"Domainname": "x"`, `"Cmd": ["sh"]`, `"Cmd": "sh"`, `"Entrypoint": ["sh"]`, `"Entrypoint": null`,
	`"WorkingDir": "/"`, `"MacAddress": "x"`, `"OnBuild": ["RUN x"]`, `"StopSignal": "SIGKILL"`, `"StopTimeout": 1`,
	`"Shell": ["sh"]`, `"Healthcheck": {"Test": ["CMD", "x"]}`, `"ArgsEscaped": true`, `"Runtime": "runc"`, `"CpuShares": 1`,
	`"NetworkingConfig": {"EndpointsConfig": {"docker-api": {}}}`, `"NetworkingConfig": {}`, `"Memory": 1`,
	`"HostConfig": {"Privileged": true}`, `"hostconfig": {"Privileged": true}`, `"HostConf\u0069g": {"Privileged": true}`,
	`"HOSTCONFIG": {}`, `"Host\u212Aonfig": {}`, `"user": "0"`, `"User": "0"`, `"image": "evil"`, `"env": []`, `"": 1`,
}

func TestNothingCanBeAdded(t *testing.T) {
	p := flags(t)
	for _, more := range moreOfHost {
		if body := strings.Replace(good, `"HostConfig": {`, `"HostConfig": {`+more+", ", 1); read(p, body) == nil {
			t.Error("HostConfig, first:", more)
		}
		if body := strings.Replace(good, `"Init": true`, `"Init": true, `+more, 1); read(p, body) == nil {
			t.Error("HostConfig, last:", more)
		}
	}
	for _, more := range append(moreOfAll, moreOfHost...) {
		if read(p, strings.Replace(good, `{`, `{`+more+", ", 1)) == nil {
			t.Error("first:", more)
		}
		if read(p, strings.TrimSuffix(good, `}`)+", "+more+"}") == nil {
			t.Error("last:", more)
		}
	}
}

// What stands there, and what must not stand there instead.
var others = [][2]string{
	{`"10001:10001"`, `"0"`}, {`"10001:10001"`, `""`}, {`"10001:10001"`, `"root"`}, {`"10001:10001"`, `"10001:0"`},
	{`"10001:10001"`, `"00:1"`}, {`"10001:10001"`, `"4294967296"`}, {`"10001:10001"`, `"2147483648:1"`},
	{`"10001:10001"`, `"1:1\n"`}, {`"10001:10001"`, `10001`}, {`"10001:10001"`, `"-1"`}, {`"10001:10001"`, `"+1"`},
	{`"Tty": false`, `"Tty": true`}, {`"OpenStdin": false`, `"OpenStdin": true`}, {`"AttachStdin": false`, `"AttachStdin": true`},
	{`"NEXTHOS_PIPELINE=a"`, `"LD_PRELOAD=/x.so"`}, {`"NEXTHOS_PIPELINE=a"`, `"PATH=/x"`}, {`"NEXTHOS_PIPELINE=a"`, `"NEXTHOS_PIPELINE"`},
	{`"NEXTHOS_PIPELINE=a"`, `"\nNATS_X=a"`}, {`"NEXTHOS_PIPELINE=a"`, `"NATS_X=a\u0000b"`}, {`"NEXTHOS_PIPELINE=a"`, `null`},
	{`{"/run/nexthos": {}}`, `{}`}, {`{"/run/nexthos": {}}`, `{"/run/nexthos": {}, "/opt": {}}`},
	{`{"/run/nexthos": {}}`, `{"/run/nexthos": {"a": 1}}`}, {`{"/run/nexthos": {}}`, `["/run/nexthos"]`},
	{`"ReadonlyRootfs": true`, `"ReadonlyRootfs": false`}, {`"ReadonlyRootfs": true, `, ``}, {`"ReadonlyRootfs": true`, `"readonlyRootfs": true`},
	{`"NetworkMode": "nexthos"`, `"NetworkMode": "host"`}, {`"NetworkMode": "nexthos"`, `"NetworkMode": "container:x"`},
	{`"NetworkMode": "nexthos"`, `"NetworkMode": "docker-api"`}, {`"NetworkMode": "nexthos"`, `"NetworkMode": ""`},
	{`"NetworkMode": "nexthos"`, `"NetworkMode": "default"`}, {`"NetworkMode": "nexthos"`, `"NetworkMode": "HOST"`},
	{`"RestartPolicy": {"Name": "no"}`, `"RestartPolicy": {"Name": "always"}`},
	{`"RestartPolicy": {"Name": "no"}`, `"RestartPolicy": {"Name": "no", "MaximumRetryCount": 1}`},
	{`"CapDrop": ["ALL"]`, `"CapDrop": []`}, {`"CapDrop": ["ALL"]`, `"CapDrop": "ALL"`}, {`"CapDrop": ["ALL"]`, `"CapDrop": ["NET_RAW"]`},
	{`"CapDrop": ["ALL"], `, ``}, {`["no-new-privileges"]`, `[]`}, {`["no-new-privileges"]`, `["no-new-privileges", "seccomp=unconfined"]`},
	{`["no-new-privileges"]`, `["no-new-privileges:false"]`}, {`["no-new-privileges"]`, `["apparmor=unconfined"]`},
	{`["no-new-privileges"]`, `["label=disable"]`}, {`["no-new-privileges"]`, `null`},
	{`"Binds": []`, `"Binds": ["data:/data:rw"]`}, {`"Binds": []`, `"Binds": ["/:/host:rw"]`}, {`"Binds": []`, `"Binds": ["\/:/host:rw"]`},
	{`"Binds": []`, `"Binds": "/:/host"`}, {`"Binds": []`, `"Binds": [["/:/host"]]`}, {`"Binds": []`, `"Binds": null`},
	{`"PortBindings": {}`, `"PortBindings": {"22/tcp": [{"HostIp": "", "HostPort": "22"}]}`},
	{`"Soft": 1024`, `"Soft": -1`}, {`"nofile"`, `"core"`}, {`"Hard": 1024}`, `"Hard": 1024}, {"Name": "memlock", "Soft": 1, "Hard": 1}`},
	{`"json-file"`, `"syslog"`}, {`"json-file"`, `"gelf"`}, {`"max-file": "2"`, `"max-file": "2", "syslog-address": "udp://1.2.3.4"`},
	{`"max-size": "10m", `, ``}, {`"10m"`, `"99999g"`}, {`"/tmp": "`, `"/tmp": "exec,`}, {`"Tmpfs": {`, `"Tmpfs": {"/x": "", `},
	{`"PidsLimit": 256`, `"PidsLimit": -1`}, {`"PidsLimit": 256`, `"PidsLimit": 0`}, {`"PidsLimit": 256`, `"PidsLimit": 2.56e2`},
	{`"Init": true`, `"Init": false`}, {`"MemorySwap": 1000`, `"MemorySwap": -1`}, {`"NanoCpus": 5`, `"NanoCpus": -5`},
	{`"Memory": 1000, `, ``}, {`"nexthos.namespace": "nexthos"`, `"nexthos.namespace": "other"`},
	{`"nexthos.namespace": "nexthos", `, ``}, {`"nexthos.installation": "one", `, ``}, {`"nexthos.pipeline": "a"`, `"nexthos.pipeline": "A"`},
	{`"nexthos.replica"`, `"com.docker.compose.project": "nexthos", "nexthos.replica"`}, {`"nexthos.made-with"`, `"Nexthos.made-with"`},
	{`"Image": "nexthos/runner:dev"`, `"Image": "nexthos/runner:dev", "Image": "x"`},
	{`"Init": true`, `"Init": true, "Init": true`}, {`"nexthos.pipeline": "a"`, `"nexthos.pipeline": "a", "nexthos.pipeline": "a"`},
	{`"HostConfig": {`, `"HostConfig": {}, "HostConfig": {`}, {`"HostConfig": {`, `"HostConfig": [{`}, {`"Tty": false`, `"Tty": 0`},
	{`"Env": [`, `"Env": {`}, {`"ExposedPorts": {}`, `"ExposedPorts": {"22/tcp": {}}`},
}

func TestNothingCanBeOtherwise(t *testing.T) {
	p := flags(t)
	for _, pair := range others {
		body := strings.Replace(good, pair[0], pair[1], 1)
		if body == good {
			t.Error("does not occur:", pair[0])
		} else if read(p, body) == nil {
			t.Error(pair[1])
		}
	}
}

func TestNothingCanBeLeftOut(t *testing.T) {
	p := flags(t)
	for _, host := range []bool{false, true} {
		for _, name := range namesOf(t, host) {
			body := without(t, name, host)
			optional := name == "NanoCpus" // Memory and MemorySwap only together
			if err := read(p, body); (err == nil) != optional {
				t.Error(name, err)
			}
		}
	}
}

func namesOf(t *testing.T, host bool) []string {
	tree := treeOf(t)
	if host {
		tree = tree["HostConfig"].(map[string]any)
	}
	var names []string
	for name := range tree {
		names = append(names, name)
	}
	return names
}

func without(t *testing.T, name string, host bool) string {
	tree := treeOf(t)
	if host {
		delete(tree["HostConfig"].(map[string]any), name)
	} else {
		delete(tree, name)
	}
	body, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func treeOf(t *testing.T) map[string]any {
	tree, err := readTree([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	return tree.(map[string]any)
}

func TestNoBodyButOneJSONObjectIsRead(t *testing.T) {
	p := flags(t)
	for _, body := range []string{"", "null", "[]", "{}", "1", `"x"`, "{", good + "{}", good + " null", good + "\x00", good + ";",
		"\ufeff" + good, "[" + good + "]", strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000),
		strings.Replace(good, "nats://n", "\xff", 1), good[:len(good)-1]} {
		if read(p, body) == nil {
			t.Errorf("%.80q", body)
		}
	}
	if err := read(p, good+" \n\t\r"); err != nil {
		t.Error(err)
	}
}

func TestFlagsAllowVolumesPortsAndRuntimes(t *testing.T) {
	p := flags(t, "-volumes=data,shared-*,/srv/in,/srv/out:rw", "-ports=*:8000-8010,127.0.0.1:9000/udp", "-runtimes=runsc")
	allowed := [][2]string{
		{`"Binds": []`, `"Binds": ["data:/data:rw", "shared-x:/x:ro", "/srv/in:/in:ro", "/srv/in/a:/in2:ro", "/srv/out:/var/lib/out:rw"]`},
		{`"Init": true`, `"Init": true, "Runtime": "runsc"`},
	}
	for _, pair := range allowed {
		if err := read(p, strings.Replace(good, pair[0], pair[1], 1)); err != nil {
			t.Error(pair[1], err)
		}
	}
	for _, bind := range []string{"dat:/data:rw", "data2:/data:rw", "/srv:/x:rw", "/srv/in2:/x:rw", "/srv/in/../..:/x:rw", "/srv/in/:/x:rw",
		"/srv/in:/x:rw", "/srv/in/a.sock:/x:ro", "/srv/out/a:/x:ro", "/srv/out/a:/x:rw", "/srv:/x:ro", "/:/x:ro", "data:/opt:rw", "data:/lib64:ro",
		"data:/var:rw", "data:/a:rw\", \"data:/a/b:rw", "data:/data", "data:/data:rw,z", "data:/data:rslave", "data:/run/nexthos:rw", "data:/run:rw", "data:/:rw", "data:/opt/nexthos:rw",
		"data:/usr/local/bin:rw", "data:/etc:ro", "data:/proc/sys:rw", "data:/data/../etc:rw", "data:data:rw", "data://etc:rw", "data:/a:b:rw",
		"data:/var/run/nexthos:rw", ":/x:rw", "data::rw", "shared-/..:/x:rw", "/srv/in:/a:ro\", \"data:/a:rw"} {
		if read(p, strings.Replace(good, `"Binds": []`, `"Binds": ["`+bind+`"]`, 1)) == nil {
			t.Error(bind)
		}
	}
}

func withPort(port, address, host string) string {
	body := strings.Replace(good, `"ExposedPorts": {}`, `"ExposedPorts": {"`+port+`": {}}`, 1)
	return strings.Replace(body, `"PortBindings": {}`,
		`"PortBindings": {"`+port+`": [{"HostIp": "`+address+`", "HostPort": "`+host+`"}]}`, 1)
}

func TestPortsAreThoseOfTheFlagAndTheEnginesOwnOnLoopback(t *testing.T) {
	none, some := flags(t), flags(t, "-ports=*:8000-8010,127.0.0.1:9000/udp,[::1]:9001")
	if err := read(none, withPort("4195/tcp", "127.0.0.1", "")); err != nil {
		t.Error(err)
	}
	for _, port := range [][3]string{{"80/tcp", "", "8000"}, {"80/tcp", "10.0.0.1", "8010"}, {"53/udp", "127.0.0.1", "9000"}, {"80/tcp", "::1", "9001"}, {"80/tcp", "[0:0::1]", "9001"}} {
		if err := read(some, withPort(port[0], port[1], port[2])); err != nil {
			t.Error(port, err)
		}
		if read(none, withPort(port[0], port[1], port[2])) == nil {
			t.Error(port)
		}
	}
	for _, port := range [][3]string{{"4195/tcp", "", ""}, {"4195/tcp", "0.0.0.0", ""}, {"4195/udp", "127.0.0.1", ""}, {"80/tcp", "", "22"},
		{"80/tcp", "", "8000-8010"}, {"80/tcp", "", "08000"}, {"80/tcp", "", ""}, {"53/udp", "", "9000"}, {"53/tcp", "127.0.0.1", "9000"},
		{"80/tcp", "x", "8000"}, {"80/tcp", "::1%lo", "9001"}, {"80/tcp", "::2", "9001"}, {"80/sctp", "", "8000"}, {"80-81/tcp", "", "8000"}, {"80", "", "8000"}, {"80/TCP", "", "8000"}} {
		if read(some, withPort(port[0], port[1], port[2])) == nil {
			t.Error(port)
		}
	}
}

func TestFlagsThatWouldOpenEverythingAreRefused(t *testing.T) {
	for _, flag := range []string{"-volumes=/", "-volumes=/var", "-volumes=/run", "-volumes=/var/run/docker.sock", "-volumes=/var/lib/docker",
		"-volumes=/var/lib/docker/volumes", "-volumes=/srv/..", "-volumes=/etc/x", "-volumes=/root:rw", "-volumes=/:rw", "-volumes=/dev/vda", "-volumes=/srv/", "-volumes=*", "-networks=container:x", "-images=../x",
		"-ports=8080", "-ports=*:0", "-ports=*:2-1", "-ports=*:1-70000", "-ports=1.2:80", "-namespace=", "-what", "more"} {
		if _, err := readFlags([]string{flag}, io.Discard); err == nil {
			t.Error(flag)
		}
	}
}
