"""`python -I -m nexthos_runner`: neither a variable nor a file of the working folder is obeyed."""

import sys

from nexthos_runner.main import main

sys.exit(main())
