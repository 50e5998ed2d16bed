"""The store of a namespace, typed. The traps of NATS are handled in here and nowhere else."""

from nexthos_shared.stores.bucket import Bucket, KvEntry
from nexthos_shared.stores.configs import MAX_CONFIG_BYTES, ConfigInfo, Configs
from nexthos_shared.stores.events import Events
from nexthos_shared.stores.store import Store

__all__ = [
    "MAX_CONFIG_BYTES",
    "Bucket",
    "ConfigInfo",
    "Configs",
    "Events",
    "KvEntry",
    "Store",
]
