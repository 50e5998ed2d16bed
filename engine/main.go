// The default engine of nexthos: Bento with the components that pipelines in NATS need.
//
// Each import below registers a family of components. To add one, import its package and run
// `make setup`.
package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/nats"
	_ "github.com/warpstreamlabs/bento/public/components/prometheus"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/pure/extended"
)

const bento = "github.com/warpstreamlabs/bento"

// Set by hatch_build.py through -ldflags; a plain `go build` leaves them as they are.
var (
	version = "(unreleased)"
	built   = "not-recorded"
)

func main() {
	keepHeadroom()
	stated := fmt.Sprintf("nexthos-engine %s (bento %s)", version, bentoVersion())
	service.RunCLI(context.Background(), service.CLIOptSetVersion(stated, built))
}

// bentoVersion is what the linker took, not what somebody wrote down beside it.
func bentoVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == bento {
			return module.Version
		}
	}
	return "unknown"
}
