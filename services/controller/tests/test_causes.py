"""What is told is the cause: of a store that refuses, of a pipeline that holds nothing, of an engine gone."""

from __future__ import annotations

import errno
import json
import os
from functools import partial

import pytest
from structlog.testing import capture_logs

from nexthos_controller.loop.reconciler import _problem_of
from nexthos_shared.reasons import Reason
from nexthos_testing.wait import eventually


async def edit(house, bucket: str, **settings) -> None:
    """`nats stream edit`."""
    nc, stream = house.field.nc, f"KV_{bucket}"
    stored = json.loads((await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)["config"]
    wanted = json.dumps({**stored, **settings}).encode()
    answer = json.loads((await nc.request(f"$JS.API.STREAM.UPDATE.{stream}", wanted)).data)
    assert "error" not in answer, answer


LIMITS = {
    "small": ({"max_msg_size": 300}, "--max-msg-size=-1", {"max_msg_size": -1}),
    "full": ({"max_bytes": 400}, "--max-bytes=-1", {"max_bytes": -1}),
    "many": ({"max_msgs": 1}, "--max-msgs=-1", {"max_msgs": -1}),
}


async def refusal(house):
    problems = (await house.field.request("status"))["problems"]
    return next((p["message"] for p in problems if p["reason"] == Reason.STORE_REFUSED), None)


@pytest.mark.fault(127)
@pytest.mark.parametrize("limit", LIMITS)
async def test_a_status_bucket_that_refuses_is_told_with_what_mends_it_and_heals(builder, limit):
    settings, option, back = LIMITS[limit]
    async with builder.house() as house:
        if limit == "many":  # one message may stand, and one does
            await house.publish("first")
            await house.field.reaches("first", "Running")
        await edit(house, house.field.names.status, **settings)
        await house.publish("a")
        words = await eventually(partial(refusal, house))
        assert f"nats stream edit KV_{house.field.names.status} {option}" in words
        outcomes = (await house.field.request("reconcile", id="a", timeout=1.0))["outcomes"]
        assert outcomes[0]["reason"] == Reason.STORE_REFUSED
        assert option in outcomes[0]["message"]
        await edit(house, house.field.names.status, **back)
        await house.field.request("reconcile", id="a")
        await house.field.reaches("a", "Running")
        assert await refusal(house) is None


async def test_a_pipeline_that_is_removed_and_put_again_is_nobody_elses_write(house):
    with capture_logs() as logs:
        for _ in range(2):
            await house.publish("a")
            await house.field.reaches("a", "Running")
            await house.field.delete("a")

            async def gone() -> bool:
                return await house.field.status("a") is None

            await eventually(gone)
    assert not [line for line in logs if line["event"].startswith("status overwritten")]


async def test_what_somebody_else_wrote_is_still_told(house):
    await house.publish("a")
    await house.field.reaches("a", "Running")
    with capture_logs() as logs:
        bucket = await house.field.js.key_value(house.field.names.status)
        await bucket.put("a", b"{}")
        await eventually(
            lambda: any(line["event"].startswith("status overwritten") for line in logs)
        )


@pytest.mark.parametrize("text", ["", " \n\n", "# nothing\n", "null\n", "--- {}\n", "~"])
async def test_a_configuration_that_holds_nothing_is_invalid(house, text):
    await house.field.config("a", text)
    await house.field.put("a")
    status = await house.field.reaches("a", "Invalid")
    assert status.complaint.reason is Reason.LINT_FAILED
    assert "the configuration is empty" in status.complaint.message
    assert not house.world.things


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EMFILE, "limit of open files"),
        (errno.ENFILE, "limit of open files"),
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.ENOMEM, "no more memory or processes"),
        (errno.EAGAIN, "no more memory or processes"),
        (errno.EROFS, "can't be written to"),
    ],
)
def test_what_a_system_runs_out_of_is_called_so_and_no_defect(number, advice):
    problem = _problem_of(OSError(number, os.strerror(number)))
    assert problem.reason is Reason.TEMPORARY
    assert problem.message.startswith(os.strerror(number).lower())
    assert advice in problem.message
