"""Pipelines in memory, for tests of what calls executors.

executor    the contract, and a context that asks nothing of the machine
platform    the contract of platforms that do replicas themselves, and such a platform
world       what would be a machine or a daemon, and its faults
"""

from nexthos_controller.executors.fake.executor import FAKE_OWNER, FakeExecutor, fake_context
from nexthos_controller.executors.fake.platform import FakePlatform, FakeWorkloads
from nexthos_controller.executors.fake.world import Call, FakeWorld, Faults, Thing

__all__ = [
    "FAKE_OWNER",
    "Call",
    "FakeExecutor",
    "FakePlatform",
    "FakeWorkloads",
    "FakeWorld",
    "Faults",
    "Thing",
    "fake_context",
]
