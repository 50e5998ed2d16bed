"""Pipelines as containers of the runner image, on one Docker daemon, local or remote.

An execution is a container with an anonymous volume at /run/nexthos. What it is stands in its labels,
so a controller that knows nothing finds everything: there is no handle of ours beside it.

    /run/nexthos/config.yaml    the pinned bytes, put there by the runner at the first start, and kept
    /run/nexthos/metrics.prom   the engine's last metrics
    /run/nexthos/*.creds        NATS credentials, put there before each start, where there are any

    executor    the contract, in terms of the rest
    settings    what `executors.docker` of the controller's settings may say
    allowed     which volumes and ports the settings let a definition ask for
    options     `executor_options` of a definition, and what is refused
    variables   `env` of a definition, on its way to the engine alone
    labels      what a container says of itself
    container   what a container is created with
    life        one life of it, read from the daemon's answer
    ending      SIGTERM, the grace, SIGKILL
    exits       how a life ended
    logs        its lines, as the daemon has them
    stock       what is known of all of them, kept equal to what the daemon says
    watch       the daemon's events, over its restarts
    daemon      docker-py in threads, its errors translated; nothing else calls it
    unix_socket a connection to the daemon that leaves no socket open
    archive     the few files that go in and out
    images      having an image, with a pull where it is missing
"""

from nexthos_controller.executors.docker.executor import DockerExecutor

__all__ = ["DockerExecutor"]
