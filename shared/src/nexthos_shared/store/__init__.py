"""The store of a namespace, typed. The traps of NATS are handled in here and nowhere else."""

from nexthos_shared.store.bucket import Bucket, KvEntry
from nexthos_shared.store.configs import MAX_CONFIG_BYTES, ConfigInfo, Configs
from nexthos_shared.store.events import Events
from nexthos_shared.store.store import Store

__all__ = [
    "MAX_CONFIG_BYTES",
    "Bucket",
    "ConfigInfo",
    "Configs",
    "Events",
    "KvEntry",
    "Store",
]
