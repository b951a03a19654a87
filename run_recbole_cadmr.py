"""Train and evaluate a model: ``python run_recbole_cadmr.py --model=CADMR --dataset=baby``.

Any setting can be given as ``--name=value``; ``--help`` lists the options, ``docs/settings.md`` what settings are.
The same as ``python -m recbole_cadmr train``.
"""

import sys

from recbole_cadmr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
