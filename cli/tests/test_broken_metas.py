"""Commands beside a configuration whose meta somebody broke: they work, and tell of it."""

from __future__ import annotations

import json

import pytest

from nexthos_shared import object_format

POISON = [b'{"size": 1e999}', b"[" * 200_000, b'{"name": "orders/2", "nuid": ">"}', b""]


def break_meta(person, name: str, value: bytes) -> None:
    async def write(store):
        await store.link.nc.publish(object_format.meta_subject(store.configs.name, name), value)
        await store.link.nc.flush()

    person.store(write)


@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
def test_rm_deletes_a_pipeline_whose_configurations_are_broken_and_all_of_these(person, poison):
    person.does("apply", person.file("good.yaml"))
    person.does("apply", person.file("orders.yaml"))
    break_meta(person, "orders/2", poison)
    assert person.does("rm", "orders").stdout == "pipeline/orders deleted\n"
    left = person.store(lambda store: store.configs.list())
    assert [info.id for info in left] == ["good"]


@pytest.mark.fault(99)
def test_doctor_names_what_every_controller_has_to_pass_over(person):
    break_meta(person, "orders/2", b'{"size": 1e999}')
    checks = json.loads(person.types("doctor", "-o", "json").stdout)["checks"]
    [line] = [check for check in checks if check["name"] == "messages"]
    assert line["result"] == "warn"
    assert "orders/2" in json.dumps(line)
    assert "sequence 1" in json.dumps(line)


def test_doctor_tells_that_the_installation_is_another_one(person):
    async def forge(store):
        await store.installation()
        await store.control.put("installation", b"../../x")

    person.store(forge)
    checks = json.loads(person.types("doctor", "-o", "json").stdout)["checks"]
    [line] = [check for check in checks if check["name"] == "installation"]
    assert line["result"] == "fail"
    assert "nats kv del" in json.dumps(line)
