"""A controller's part in a crash: runs in a process of its own and dies where NEXTHOS_FAULT says."""

import asyncio
import json
import sys
from pathlib import Path

from nexthos_testing.process_rig import ProcessRig


async def main(folder: Path, config: str) -> None:
    rig = ProcessRig(folder)
    await rig.set_up()
    await rig.open()
    spec = rig.spec("orders", "puppet", config=json.loads(config))
    await rig.executor.prepare(spec, 0)
    execution = await rig.executor.start(spec, 0)
    await rig.executor.stop(execution, 10.0)
    await rig.executor.remove(await rig.seen(spec))
    raise SystemExit("the fault was never reached")


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
