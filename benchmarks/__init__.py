"""Figures of nexthos, measured side by side with the same thing done without it: `make bench`.

    figures        values measured, their medians and spread, and the target that they are held to
    machine        on what, with which versions and under which load it was measured
    ground         a nats-server, a connection and a folder; nothing is left when it is closed
    publish_ready  a definition is put: until its engine is ready, against the engine started by hand
    publish_ready_docker  the same in containers, against `docker run`; the runner alone; sizes of images
    starts         what both have in common
    scale          boot, resync, memory and puts by the number of stored pipelines (scale_child runs there)
    restart        a controller is killed: until another one has taken over everything that runs
    report         the table and the JSON document

docs/performance.md says what each figure means and what would make it unfair.
"""

import sys
from pathlib import Path

# The tests' servers and processes are used here too; they are no package that is installed.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
