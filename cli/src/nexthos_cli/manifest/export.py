"""What is stored, written as a manifest: the way back of `apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nexthos_shared import names
from nexthos_shared.errors import InvalidConfig, InvalidDefinition, NotFound
from nexthos_shared.model import Entry, read_entry
from nexthos_shared.reasons import Reason

if TYPE_CHECKING:
    from nexthos_shared.store import Store


async def manifest_of(store: Store, key: str, *, with_config: bool) -> dict[str, Any]:
    """The manifest of what `key` holds. Raises NotFound, InvalidDefinition, InvalidConfig."""
    stored = await store.pipelines.get(key)
    if stored is None or stored.value is None:
        raise NotFound(f"no pipeline {key!r} is stored")
    entry = read_entry(key, stored.revision, stored.value)
    if entry.pipeline is None:
        problem = entry.problem
        words = f"{problem.message if problem else 'not understood'}; see what is stored with "
        raise InvalidDefinition(
            f"{words}`nats kv get {store.pipelines.name} {key}`",
            reason=problem.reason if problem else None,
            field=problem.field if problem else None,
        )
    manifest = _fields(key, entry)
    version = entry.pipeline.version
    if with_config and version is not None:
        content = await store.configs.get(key, version)
        manifest = _with_config(manifest, content, f"{key}/{version}")
    return manifest


def _fields(key: str, entry: Entry) -> dict[str, Any]:
    assert entry.pipeline is not None
    value = entry.pipeline.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude_none=True
    )
    return {"schema": 1, "id": key} | {k: v for k, v in value.items() if k not in ("schema", "id")}


def _with_config(manifest: dict[str, Any], content: bytes, name: str) -> dict[str, Any]:
    """Its bytes as text; version and digest are left out where they follow from the bytes.

    Whoever edits the configuration and applies it again then gets a new version by itself.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidConfig(
            f"configuration {name} is not UTF-8", reason=Reason.CONFIG_NOT_TEXT
        ) from error
    kept = dict(manifest)
    if kept.get("digest") == names.digest_of(content):
        del kept["digest"]
        if kept["version"] == names.version_of(content):
            del kept["version"]
    return kept | {"config": text}
