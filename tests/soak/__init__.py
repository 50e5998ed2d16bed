"""A soak: a hundred pipelines, faults at random, and an oracle that counts messages: `make soak`.

    story     of one pipeline: what it should have done, what may have kept it from that. Pure
    fleet     pipelines that are changed at random, and remember what was asked of them
    faults    what is done to NATS, to controllers and to engines
    ground    servers, controllers, connections; nothing is left when it is closed
    upkeep    descriptors, tasks, memory, consumers, folders: before and after
    watched   a controller that tells its tasks when asked
    report    the table and the JSON document

Not part of `make test`: that runs one of some seconds only, to see that it still works.
"""

import sys
from pathlib import Path

# The tests' servers and processes; they are no package that is installed.
sys.path.append(str(Path(__file__).parents[1] / "support"))
