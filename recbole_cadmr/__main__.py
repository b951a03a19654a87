"""``python -m recbole_cadmr COMMAND``."""

import sys

from recbole_cadmr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
