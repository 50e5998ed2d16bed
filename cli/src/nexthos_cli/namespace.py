"""The store of a namespace, whether its buckets exist or not: for `setup` and `doctor`."""

from __future__ import annotations

from nexthos_shared.names import Names
from nexthos_shared.nats_client import Link
from nexthos_shared.stores import Bucket, Configs, Store


def store_at(link: Link, names: Names) -> Store:
    """The store, unchecked; `Store.open` is for everybody who needs it to be there."""
    return Store(
        link,
        names,
        Bucket(link, names.pipelines),
        Bucket(link, names.status),
        Bucket(link, names.control),
        Configs(link, names.configs),
    )
