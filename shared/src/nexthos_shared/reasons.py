"""Every reason that a condition, event, error or reply may carry, with what it means and what to do.

`nexthos explain REASON` prints a row of this table. A reason that is not here can't be used: code
refers to `Reason`, and a test keeps `Reason` and `EXPLANATIONS` equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """CamelCase, as Kubernetes users know them."""

    # definition and configuration
    VALID = "Valid"
    INVALID_NAME = "InvalidName"
    INVALID_DEFINITION = "InvalidDefinition"
    UNKNOWN_STATUS = "UnknownStatus"
    CONFIG_MISSING = "ConfigMissing"
    CONFIG_CHANGED = "ConfigChanged"
    CONFIG_UNAVAILABLE = "ConfigUnavailable"
    CONFIG_TOO_LARGE = "ConfigTooLarge"
    CONFIG_DAMAGED = "ConfigDamaged"
    CONFIG_NOT_TEXT = "ConfigNotText"
    DIGEST_MISMATCH = "DigestMismatch"
    LINT_FAILED = "LintFailed"
    NOT_LINTED = "NotLinted"
    COMPONENT_MISSING = "ComponentMissing"
    VARIABLE_MISSING = "VariableMissing"
    UNKNOWN_EXECUTOR = "UnknownExecutor"
    UNKNOWN_ENGINE = "UnknownEngine"
    UNKNOWN_CONNECTION = "UnknownConnection"
    CANNOT_RUN_HERE = "CannotRunHere"
    ENGINE_MISSING = "EngineMissing"
    # running
    READY = "Ready"
    STARTING = "Starting"
    NOT_CONNECTED = "NotConnected"
    ERRORING = "Erroring"
    NOT_DELIVERING = "NotDelivering"
    READINESS_UNKNOWN = "ReadinessUnknown"
    EXITED = "Exited"
    EXITED_CLEANLY = "ExitedCleanly"
    KILLED = "Killed"
    OOM_KILLED = "OOMKilled"
    VANISHED = "Vanished"
    CRASH_LOOP = "CrashLoop"
    COMPLETED = "Completed"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    START_FAILED = "StartFailed"
    IMAGE_MISSING = "ImageMissing"
    PORT_IN_USE = "PortInUse"
    STILL_RUNNING = "StillRunning"
    UPDATING = "Updating"
    READY_TIMEOUT = "ReadyTimeout"
    ROLLED_BACK = "RolledBack"
    DRIFTED = "Drifted"
    DELETED = "Deleted"
    STOPPING = "Stopping"
    PAUSED = "Paused"
    DRAFT = "Draft"
    # knowing
    NAME_CONFLICT = "NameConflict"
    ORPHANED = "Orphaned"
    EXECUTOR_UNREACHABLE = "ExecutorUnreachable"
    PLACE_LOST = "PlaceLost"
    METRICS_NOT_SCRAPED = "MetricsNotScraped"
    SHARED_HTTP_ADDRESS = "SharedHttpAddress"
    FINITE_INPUT = "FiniteInput"
    HARDLY_MEANT = "HardlyMeant"
    OUTDATED = "Outdated"
    ENGINES_AS_ROOT = "EnginesAsRoot"
    CREDENTIALS_SHARED = "CredentialsShared"
    CREDENTIALS_WITHHELD = "CredentialsWithheld"
    # store, control plane, settings
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_REFUSED = "StoreRefused"
    STORE_MISSING = "StoreMissing"
    STORE_CONFLICT = "StoreConflict"
    NOT_PERMITTED = "NotPermitted"
    NOT_FOUND = "NotFound"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_SETTINGS = "InvalidSettings"
    MESSAGE_SKIPPED = "MessageSkipped"
    WATCH_BEHIND = "WatchBehind"
    INSTALLATION_DIFFERS = "InstallationDiffers"
    OTHER_INSTALLATION = "OtherInstallation"
    ANOTHER_CONTROLLER = "AnotherController"
    LEASE_LOST = "LeaseLost"
    TAKEN_OVER = "TakenOver"
    NO_CONTROLLER = "NoController"
    TIMED_OUT = "TimedOut"
    TOO_MANY_REQUESTS = "TooManyRequests"
    REPLY_TOO_LARGE = "ReplyTooLarge"
    TEMPORARY = "Temporary"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, in a sentence. Values of variables never stand in `message`."""

    reason: Reason
    message: str
    field: str | None = None  # dotted path in the definition, e.g. "resources.memory"
    file: str | None = None
    line: int | None = None  # 1-based
    column: int | None = None  # 1-based

    @property
    def where(self) -> str:
        """`file:line:column`, as far as known; empty if nothing is."""
        parts = [self.file or "", *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(p for p in parts if p)


class Doctor(StrEnum):
    """What `nexthos doctor` makes of a reason."""

    FAILS = (
        "fails"  # exit 1: a pipeline can't do what its entry says, and a condition has the reason
    )
    CHECKS = "checks"  # a line of its own about the store, the controller or what runs
    NOTICE = "notice"  # not shown: nothing is wrong, or it is worth knowing and no more
    PASSES = "passes"  # not shown: it is over by itself
    REPLY = "reply"  # not shown: it ends a command or a request, and no condition has it


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row: what a reason means, and what the reader can do next."""

    meaning: str
    remedy: str


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.VALID: Explanation(
        "The definition and its configuration are understood and can run.", "Nothing to do."
    ),
    Reason.INVALID_NAME: Explanation(
        "An id, version, namespace or key breaks its rule.",
        "Ids are 1 to 36 lower-case letters, digits and inner hyphens; delete the key and put it "
        "under a valid one.",
    ),
    Reason.INVALID_DEFINITION: Explanation(
        "The entry is not JSON, or a field is unknown or has the wrong type.",
        "Correct the field that the message names and put the entry again; "
        "`nexthos apply --dry-run` checks it beforehand.",
    ),
    Reason.UNKNOWN_STATUS: Explanation(
        "`status` is missing or none of published, paused, draft: nothing was changed.",
        "Set `status` to published, paused or draft.",
    ),
    Reason.CONFIG_MISSING: Explanation(
        "No object `<id>/<version>` is in the configuration bucket.",
        "Put the configuration; the pipeline starts when it arrives, the entry needs no new put.",
    ),
    Reason.CONFIG_CHANGED: Explanation(
        "The object was overwritten after its digest had been pinned; the old bytes run on.",
        "Put the new bytes under a new version and name that version in the entry.",
    ),
    Reason.CONFIG_UNAVAILABLE: Explanation(
        "The configuration could not be read just now.", "It is tried again; check NATS."
    ),
    Reason.CONFIG_TOO_LARGE: Explanation(
        "The configuration is larger than 1 MiB.",
        "Split the pipeline, or move data such as lookup tables out of the configuration.",
    ),
    Reason.CONFIG_DAMAGED: Explanation(
        "The object's meta can't be used (no JSON, a field that is missing or out of bounds), or it is cut "
        "into more chunks than are read.",
        "Put the configuration again, with `nexthos apply` or a client's defaults (chunks of 128 KiB).",
    ),
    Reason.CONFIG_NOT_TEXT: Explanation(
        "The configuration is not UTF-8 text.", "Save the file as UTF-8 and put it again."
    ),
    Reason.DIGEST_MISMATCH: Explanation(
        "The object's SHA-256 is not the `digest` of the entry.",
        "Put the right bytes, or correct or leave out `digest`.",
    ),
    Reason.LINT_FAILED: Explanation(
        "The engine refuses the configuration at the line given.",
        "Correct that line; `nexthos lint FILE` runs the same check.",
    ),
    Reason.NOT_LINTED: Explanation(
        "The engine that will run this can't be asked from here.",
        "Nothing, if it runs; otherwise read the pipeline's logs.",
    ),
    Reason.COMPONENT_MISSING: Explanation(
        "The engine was built without a component that the configuration uses.",
        "Use another engine (`engine:` in the entry, or NEXTHOS_ENGINE), or add the component to "
        "engine/main.go and rebuild.",
    ),
    Reason.VARIABLE_MISSING: Explanation(
        "The configuration uses a ${VARIABLE} that nobody gives it.",
        "Set it with `nexthos apply -e NAME=VALUE` or in `env`, or write a default: ${NAME:value}.",
    ),
    Reason.UNKNOWN_EXECUTOR: Explanation(
        "The controller does not offer the executor that the entry names.",
        "Leave `executor` out, or use one that `nexthos status` lists.",
    ),
    Reason.UNKNOWN_ENGINE: Explanation(
        "The controller's settings have no engine of that name.",
        "Leave `engine` out, or add the engine to the controller's settings.",
    ),
    Reason.UNKNOWN_CONNECTION: Explanation(
        "The controller's settings have no connection of that name.",
        "Leave `connection` out, or add the connection to the controller's settings.",
    ),
    Reason.CANNOT_RUN_HERE: Explanation(
        "The executor can't do what the definition asks.",
        "Remove the field that the message names, or choose another executor.",
    ),
    Reason.ENGINE_MISSING: Explanation(
        "No engine binary is where the settings say.",
        "Install the nexthos-engine package, or point NEXTHOS_ENGINE at an engine.",
    ),
    Reason.READY: Explanation(
        "Every input and output is connected, or the job has finished.", "Nothing to do."
    ),
    Reason.STARTING: Explanation(
        "It runs, and its inputs and outputs are not all connected yet.", "Wait, or read its logs."
    ),
    Reason.NOT_CONNECTED: Explanation(
        "It runs, but an input or output is not connected now.",
        "Check what the configuration connects to; the engine retries for ever by itself.",
    ),
    Reason.EXITED: Explanation(
        "The engine ended with an error; it is started again after a growing delay.",
        "Read `nexthos logs`; the last error line is in the message.",
    ),
    Reason.EXITED_CLEANLY: Explanation(
        "A `lifecycle: service` ended with exit code 0, for example because its input ended.",
        "If it is meant to end, set `lifecycle: job`.",
    ),
    Reason.KILLED: Explanation(
        "The engine was killed from outside, or by the system for want of memory.",
        "Check who kills it, and the machine's memory.",
    ),
    Reason.VANISHED: Explanation(
        "The execution was running and its place no longer knows it.",
        "Find out who removed it; it is started again after a growing delay.",
    ),
    Reason.OOM_KILLED: Explanation(
        "The kernel killed it because it used more memory than `resources.memory` allows.",
        "Raise `resources.memory`, or let it hold less: smaller batches, fewer in flight.",
    ),
    Reason.CRASH_LOOP: Explanation(
        "It ended soon after its start several times in a row; starts are now five minutes apart.",
        "Read the last error line; a corrected version starts at once.",
    ),
    Reason.COMPLETED: Explanation(
        "The job finished; it runs again only with a new version or definition.", "Nothing to do."
    ),
    Reason.RETRIES_EXHAUSTED: Explanation(
        "The job failed more often than `retries` allows.",
        "Correct the cause; publish a new version or raise `restart_nonce`.",
    ),
    Reason.IMAGE_MISSING: Explanation(
        "The image is not on the Docker host and can't be pulled; it is tried again after a delay.",
        "Build or pull it there, or correct `engines.<name>.image` in the controller's settings.",
    ),
    Reason.START_FAILED: Explanation(
        "The platform refused to start it; it is tried again after a growing delay.",
        "The message names the cause, such as a full disk or too many processes.",
    ),
    Reason.PORT_IN_USE: Explanation(
        "Another program has the port of the engine's own HTTP, or of a server in the configuration.",
        "Free the address that the message names, then `nexthos restart ID`; the engine's own HTTP gets "
        "another port at its next start.",
    ),
    Reason.STILL_RUNNING: Explanation(
        "It did not end, not even after a kill.", "Look at the process or container by hand."
    ),
    Reason.UPDATING: Explanation("A newer definition is being put in place.", "Wait."),
    Reason.READY_TIMEOUT: Explanation(
        "It was not ready within `update.ready_timeout`, and there is no version to go back to.",
        "Read why in the condition Ready and in `nexthos logs`; correct it and apply it again.",
    ),
    Reason.ROLLED_BACK: Explanation(
        "An update was never ready, so the definition that was good before runs again.",
        "Correct it and apply it again; `nexthos restart ID` tries the same once more.",
    ),
    Reason.DRIFTED: Explanation(
        "Something was found otherwise than the controller left it, and was put right.",
        "Find out who changes what runs behind the controller's back.",
    ),
    Reason.DELETED: Explanation("No trace of it is left, as asked.", "Nothing to do."),
    Reason.STOPPING: Explanation("It was told to end and has not ended yet.", "Wait."),
    Reason.PAUSED: Explanation(
        "Stopped and kept, as asked.", "`nexthos publish ID` lets it run again."
    ),
    Reason.DRAFT: Explanation(
        "Stored, and nothing of it runs, as asked.", "`nexthos publish ID` starts it."
    ),
    Reason.NAME_CONFLICT: Explanation(
        "Something that this controller does not own carries the execution's name.",
        "Remove or rename it by hand; it is never touched from here.",
    ),
    Reason.ORPHANED: Explanation(
        "Executions exist whose key is gone without a delete marker: they are left alone.",
        "Put the pipeline again to own them, or remove them with `nexthos rm --orphans`.",
    ),
    Reason.EXECUTOR_UNREACHABLE: Explanation(
        "The executor did not answer: what runs there is unknown, so nothing is started or removed.",
        "Bring it back; see `nexthos doctor`.",
    ),
    Reason.PLACE_LOST: Explanation(
        "The machine or daemon on which it ran does not answer.",
        "Bring it back, or declare it gone with `nexthos abandon PLACE`.",
    ),
    Reason.METRICS_NOT_SCRAPED: Explanation(
        "The configuration sends its metrics elsewhere, so they can't be read here.",
        "Nothing, if that is meant; otherwise remove `metrics` from the configuration.",
    ),
    Reason.SHARED_HTTP_ADDRESS: Explanation(
        "An http_server in the configuration has no address of its own and shares the engine's.",
        "Give the http_server an `address` if others are to reach it.",
    ),
    Reason.ENGINES_AS_ROOT: Explanation(
        "The controller runs as root and starts engines as root: who writes a pipeline is root there.",
        "Name another user in NEXTHOS_ENGINE_USER (a name, or uid:gid), and restart the controller.",
    ),
    Reason.CREDENTIALS_SHARED: Explanation(
        "Pipelines get the credentials file of the controller itself, and so all that it may do in NATS.",
        "Give them a NATS user of their own: `connections: {default: {url: ..., creds: ...}}` in the "
        "file that NEXTHOS_CONFIG names.",
    ),
    Reason.ERRORING: Explanation(
        "It runs, and messages fail again and again: the last error and its component are named.",
        "Correct what the message names; `nexthos logs ID` shows the others.",
    ),
    Reason.NOT_DELIVERING: Explanation(
        "It runs and takes messages in, and for a minute none has come out.",
        "See the outputs in `nexthos logs ID`; a pipeline that drops all of them by intention is right.",
    ),
    Reason.READINESS_UNKNOWN: Explanation(
        "A `dynamic` input never counts as connected for the engine, whatever its inputs do.",
        "Nothing: it is judged by its log, and never rolled back for want of readiness.",
    ),
    Reason.CREDENTIALS_WITHHELD: Explanation(
        "The controller signs in to NATS by a password, token, nkey or certificate, and pipelines have none: "
        "those that use ${NATS_URL} are refused (Authorization Violation) and never become ready.",
        "Give them a user of their own with a credentials file: `connections: {default: {url: ..., creds: "
        "FILE}}` in the file that NEXTHOS_CONFIG names; or write `NATS_URL: nats://USER:PASSWORD@HOST` into "
        "a pipeline's `env`.",
    ),
    Reason.FINITE_INPUT: Explanation(
        "The input is known to end, and a `lifecycle: service` runs for ever: each end counts as one.",
        "Set `lifecycle: job` if it is meant to end; otherwise use an input that does not.",
    ),
    Reason.HARDLY_MEANT: Explanation(
        "The configuration can run, and will hardly do what it was written for.",
        "Write what the message says in the line that it names, or leave it if it is meant.",
    ),
    Reason.OUTDATED: Explanation(
        "It was started with another engine or other settings than the controller has now.",
        "`nexthos rollout` renews such executions at a pace; until then they run on.",
    ),
    Reason.STORE_UNAVAILABLE: Explanation(
        "NATS or JetStream did not answer in time.", "Check the server; it is tried again."
    ),
    Reason.STORE_REFUSED: Explanation(
        "A bucket's own settings refuse what has to be written or read: it is full, or its messages may not "
        "be so large, or it allows no direct gets.",
        "Give the command that the message names; it is tried again.",
    ),
    Reason.STORE_MISSING: Explanation(
        "A bucket is missing while others of the namespace exist: nothing is created or removed.",
        "Restore it, or create it with `nexthos setup`.",
    ),
    Reason.STORE_CONFLICT: Explanation(
        "Somebody else wrote the same key at the same moment.", "It is tried again."
    ),
    Reason.NOT_PERMITTED: Explanation(
        "NATS refuses these credentials, or refuses them a subject.",
        "Grant the subject that the message names, or use other credentials.",
    ),
    Reason.NOT_FOUND: Explanation(
        "There is nothing of that name.", "`nexthos ls` shows what there is."
    ),
    Reason.INVALID_REQUEST: Explanation(
        "The request is not JSON of the endpoint's schema.",
        "`nats micro info` shows the schema; correct the field that the message names.",
    ),
    Reason.INVALID_SETTINGS: Explanation(
        "A setting, context or variable can't be used.", "Correct what the message names."
    ),
    Reason.MESSAGE_SKIPPED: Explanation(
        "A message in the store can't be understood by anybody: it is passed over, and all others are "
        "acted upon.",
        "Write or delete the key or object that the message names again, and ask who wrote it.",
    ),
    Reason.WATCH_BEHIND: Explanation(
        "What is written to a bucket does not reach this controller: it acts on what it knew before.",
        "See the cause in the message; `/readyz` fails until it is over, so another controller may be "
        "given its place.",
    ),
    Reason.INSTALLATION_DIFFERS: Explanation(
        "The key `installation` of the control bucket is not the one that the store was made with: what "
        "runs would be taken for somebody else's, and all of it started a second time.",
        "Nothing is started or stopped until it is put right: delete the key, and it is written again from "
        "the metadata of the bucket of pipelines.",
    ),
    Reason.OTHER_INSTALLATION: Explanation(
        "Executions of this namespace run here that belong to another installation: to a store that was "
        "lost or is elsewhere. They are left alone, and what is applied here runs beside them.",
        "If the store was lost, `nexthos setup --installation ID` takes them over while nothing is stored. "
        "If two stores share a machine on purpose, give each a namespace of its own.",
    ),
    Reason.ANOTHER_CONTROLLER: Explanation(
        "A controller of this namespace already runs.",
        "Stop it, or give this one another namespace (NEXTHOS_NAMESPACE).",
    ),
    Reason.LEASE_LOST: Explanation(
        "This controller could not renew its lease in time, so another one may act by now.",
        "Nothing: it stands by, and takes part again; check NATS if it comes again.",
    ),
    Reason.TAKEN_OVER: Explanation(
        "Another controller of this namespace acts now; the event says in whose place, and why.",
        "Nothing after a hand-over; else find out why the one before ended, or did not reach NATS.",
    ),
    Reason.NO_CONTROLLER: Explanation(
        "No controller of this namespace answers, so nothing that is stored is acted upon.",
        "Start one with `nexthos-controller run`, or check the namespace (-n).",
    ),
    Reason.TIMED_OUT: Explanation(
        "It did not get there in time; it may still get there.",
        "Look again with `nexthos status ID`, or allow more with --timeout.",
    ),
    Reason.TOO_MANY_REQUESTS: Explanation(
        "The controller answers as many requests of this kind as it may, or follows as many logs.",
        "Ask again in a moment; end readers that follow logs and are needed no more.",
    ),
    Reason.REPLY_TOO_LARGE: Explanation(
        "The answer does not fit into one message of this NATS, and can't be given in parts.",
        "Raise `max_payload` in the server's configuration; `nexthos get ID` reads the store itself.",
    ),
    Reason.TEMPORARY: Explanation("It did not work this time.", "It is tried again."),
    Reason.INTERNAL_ERROR: Explanation(
        "A defect of nexthos; only this pipeline is affected and it is tried again.",
        "Please report it with the controller's log.",
    ),
}

_R = Reason
_DOCTOR: dict[Doctor, tuple[Reason, ...]] = {
    Doctor.FAILS: (
        *(_R.INVALID_NAME, _R.INVALID_DEFINITION, _R.UNKNOWN_STATUS, _R.CONFIG_MISSING),
        *(_R.CONFIG_CHANGED, _R.CONFIG_UNAVAILABLE, _R.CONFIG_TOO_LARGE, _R.CONFIG_DAMAGED),
        *(_R.CONFIG_NOT_TEXT, _R.DIGEST_MISMATCH, _R.LINT_FAILED, _R.COMPONENT_MISSING),
        *(_R.VARIABLE_MISSING, _R.UNKNOWN_EXECUTOR, _R.UNKNOWN_ENGINE, _R.UNKNOWN_CONNECTION),
        *(_R.CANNOT_RUN_HERE, _R.ENGINE_MISSING, _R.NOT_CONNECTED, _R.ERRORING, _R.EXITED),
        *(_R.EXITED_CLEANLY, _R.KILLED, _R.OOM_KILLED, _R.VANISHED, _R.CRASH_LOOP),
        *(_R.RETRIES_EXHAUSTED, _R.START_FAILED, _R.IMAGE_MISSING, _R.PORT_IN_USE),
        *(_R.STILL_RUNNING, _R.READY_TIMEOUT, _R.ROLLED_BACK, _R.NAME_CONFLICT),
        *(_R.EXECUTOR_UNREACHABLE, _R.PLACE_LOST, _R.INTERNAL_ERROR, _R.TEMPORARY),
        _R.INVALID_SETTINGS,  # of a runner, whose exit code says it
    ),
    Doctor.CHECKS: (
        *(_R.NOT_DELIVERING, _R.ORPHANED, _R.OUTDATED, _R.ENGINES_AS_ROOT),
        *(_R.CREDENTIALS_SHARED, _R.CREDENTIALS_WITHHELD, _R.STORE_UNAVAILABLE),
        *(_R.STORE_REFUSED, _R.STORE_MISSING, _R.NOT_PERMITTED, _R.MESSAGE_SKIPPED),
        *(_R.WATCH_BEHIND, _R.INSTALLATION_DIFFERS, _R.OTHER_INSTALLATION, _R.NO_CONTROLLER),
    ),
    Doctor.NOTICE: (
        *(_R.VALID, _R.READY, _R.COMPLETED, _R.DELETED, _R.PAUSED, _R.DRAFT, _R.NOT_LINTED),
        *(_R.METRICS_NOT_SCRAPED, _R.SHARED_HTTP_ADDRESS, _R.FINITE_INPUT, _R.HARDLY_MEANT),
        *(_R.READINESS_UNKNOWN, _R.DRIFTED, _R.TAKEN_OVER),
    ),
    Doctor.PASSES: (_R.STARTING, _R.UPDATING, _R.STOPPING, _R.LEASE_LOST),
    Doctor.REPLY: (
        *(_R.STORE_CONFLICT, _R.NOT_FOUND, _R.INVALID_REQUEST),
        *(_R.ANOTHER_CONTROLLER, _R.TIMED_OUT, _R.TOO_MANY_REQUESTS, _R.REPLY_TOO_LARGE),
    ),
}
SEEN_BY_DOCTOR = {reason: kind for kind, reasons in _DOCTOR.items() for reason in reasons}
