"""The controller inside another program: all of it that `nexthos dev` and `nexthos lint` may import.

`running_controller` runs one in this process; the rest are the words in which it is asked and answered.
"""

from nexthos_controller.cache.definitions import Desired
from nexthos_controller.execution import Execution, LogLine, Owner, Spec, Stopped
from nexthos_controller.executors.contract import Executor, LocalContext, ReplicaExecutor
from nexthos_controller.executors.local.processes import argv_of, processes
from nexthos_controller.executors.process import ProcessExecutor
from nexthos_controller.executors.process.handle import load as load_handle
from nexthos_controller.executors.streams import refusals as stream_refusals
from nexthos_controller.lifecycle.app import Running, running_controller
from nexthos_controller.lifecycle.term import Term
from nexthos_controller.runtime.context import Site
from nexthos_controller.runtime.hardening import close_to_others
from nexthos_controller.runtime.logs import configure_logs
from nexthos_controller.settings import Settings
from nexthos_controller.telemetry.engine_metrics import Count, read_figures

__all__ = [
    "Count",
    "Desired",
    "Execution",
    "Executor",
    "LocalContext",
    "LogLine",
    "Owner",
    "ProcessExecutor",
    "ReplicaExecutor",
    "Running",
    "Settings",
    "Site",
    "Spec",
    "Stopped",
    "Term",
    "argv_of",
    "close_to_others",
    "configure_logs",
    "load_handle",
    "processes",
    "read_figures",
    "running_controller",
    "stream_refusals",
]
