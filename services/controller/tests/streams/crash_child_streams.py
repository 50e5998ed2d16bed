"""A controller's part in a crash: runs in a process of its own and dies where NEXTHOS_FAULT says."""

import asyncio
import sys
from pathlib import Path

from nexthos_testing.streams_rig import StreamsRig


async def main(folder: Path, prepares: bool) -> None:
    rig = StreamsRig(folder)
    await rig.set_up()
    await rig.open()
    spec = rig.spec("orders", "puppet")
    if prepares:
        await rig.executor.prepare(spec, 0)
    execution = await rig.executor.start(spec, 0)
    await rig.executor.stop(execution, 10.0)
    await rig.executor.remove(await rig.seen(spec))
    raise SystemExit("the fault was never reached")


asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "prepares"))
