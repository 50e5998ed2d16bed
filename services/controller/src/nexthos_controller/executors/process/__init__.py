"""Pipelines as processes of this machine, which survive the controller.

An execution is a folder `<state_dir>/executions/<name>/` and, while it runs, a session of processes:
a small /bin/sh that records how the engine ended, and the engine.

    config.yaml    the pinned bytes, as stored
    handle.json    whose it is, what shaped it, and its last life; prepared.json: the same, as prepared
    exit           written by the shim: exit code, whether the group was signalled, the shim's PID
    engine.log     stdout and stderr; engine.log.1: what was moved out of it
    metrics.prom   the engine's last metrics

    executor    the contract, in terms of the rest
    record      one execution as it is known here at this moment
    handle      what is stored of it
    stock       all records, kept equal to their folders
    command     what a definition asks for, and the argv and environment of its engine
    adopt       after a restart: handles, and what runs, brought together
    shim        argv of a session
    exits       how a life ended, from what it left behind

Sessions, folders and logs themselves are `executors.local`.
"""

from nexthos_controller.executors.process.executor import ProcessExecutor

__all__ = ["ProcessExecutor"]
