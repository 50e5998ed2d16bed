"""Pipelines in memory, for tests of what calls executors.

executor    the contract, and a context that asks nothing of the machine
world       what would be a machine or a daemon, and its faults
"""

from nexthos_controller.executors.fake.executor import FAKE_OWNER, FakeExecutor, fake_context
from nexthos_controller.executors.fake.world import Call, FakeWorld, Faults, Thing

__all__ = ["FAKE_OWNER", "Call", "FakeExecutor", "FakeWorld", "Faults", "Thing", "fake_context"]
