"""`python -I -m nexthos_runner`: no variable of a definition (PYTHONPATH, ...) reaches this Python."""

import sys

from nexthos_runner.main import main

sys.exit(main())
