"""Many pipelines as streams of few engines in streams mode ("hosts"), which survive the controller.

An execution is a folder `<state>/streams/<name>/` and, while it runs, a stream of that name in a host. The
engine forgets everything when it restarts; the folders remember. A host is a folder `<state>/hosts/<n>/`
and a session of processes: the shim that notes how the engine ended, and the engine.

Place: the machine. A host that runs and does not answer says nothing of its streams, so whoever asks for
a pipeline that has one there is told ExecutorUnreachable (Unknown: nothing is started or removed); all
other pipelines are answered. After a bounded time of silence it is killed. A host that has died is known
to have died (pidfd, boot id), and so is known of all its streams that they ended.

    executor    the contract, in terms of the rest
    settings    what `executors.streams` of the controller's settings may say
    body        from a configuration to a stream: what is dropped, what is refused
    shares      what an engine has once for all its streams: refused, or told apart
    refusals    what is known of bytes alone, for whoever asks
    api         the REST API of one host
    host        one host as it is stored, and what it is started with
    hosts       all of them: found, started, watched, filled, emptied
    lost        hosts that run and that no folder tells of
    handle      what is stored of an execution
    record      one execution as it is known here at this moment
    stock       all records, kept equal to their folders
    creating    a stream's body, a host, the request, and what is noted before and after it
    watch       what of a host's streams runs and is connected
    endings     drain, kill, and what is kept of a life that is over
    suspicion   who is to blame when a host dies, and who shares a host with whom then
    tending     ending empty hosts, keeping logs small
    reading     lines and metrics of an execution
    lines       the lines of one stream, from its host's log
    metrics     the metrics of one stream, from its host's

Sessions, folders and logs themselves are `executors.local`; the engine's
substitution is `executors.shared.variables`.
"""

from nexthos_controller.executors.streams.executor import StreamsExecutor

__all__ = ["StreamsExecutor"]
