"""Figures of nexthos, measured side by side with the same thing done without it: `make bench`.

    figures    values measured, their medians and spread, and the target that they are held to
    machine    on what, with which versions and under which load it was measured
    extent     how much of it is measured: quick, usual, full
    ground     a nats-server, a connection and a folder; nothing is left when it is closed
    report     the table and the JSON document
    plot       curves over the number of pipelines, from such a document: `python -m benchmarks.plot`
    profile    where a controller's time goes: `python -m benchmarks.profile`

What is measured, each with what it is compared with:

    publish_ready          a definition is put: until its engine is ready; the engine started by hand
    publish_ready_streams  the same as a stream of a host, and the executor alone; the raw POST
    publish_ready_docker   the same in containers, the runner alone, sizes of images; `docker run`
    throughput             messages through a pipeline; the same engine by hand
    restart                a controller is killed: until the next has taken over; one without pipelines
    streams                hundreds of streams: memory, rate, deaths; a process each
    idle                   CPU and NATS traffic while nothing happens; a controller without pipelines
    scale                  boot, restart, resync, memory, puts; by the number of stored pipelines

And what they are made of:

    starts            what each publish -> ready has in common
    boot              one start of a controller, read from outside
    engines           engines and hosts that somebody starts by hand
    chorus            many pipelines, judged by the messages that come out
    processes         CPU and memory, from /proc
    monitoring        what the nats-server counts
    stored, puts      thousands of definitions; puts, and when they are acted on
    scale_controller, scale_child   a controller over a fake executor, in a process of its own

docs/performance.md says what each figure means and what would make it unfair.
"""

import sys
from pathlib import Path

# The tests' servers and processes are used here too; they are no package that is installed.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
