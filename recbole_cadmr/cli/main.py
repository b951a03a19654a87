"""``python -m recbole_cadmr COMMAND``: one subcommand a workflow.

Exit status: 0 done; 2 a mistake of the user's or ctrl-C, said in one sentence. Heavy imports wait until a command
needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recbole_cadmr.cli.parser import build_parser
from recbole_cadmr.errors import UserError

EXIT_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    try:
        known, rest = parser.parse_known_args(arguments)
        return known.run(known, rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt as error:
        print(f"\n{error or 'stopped'}", file=sys.stderr)
    except ModuleNotFoundError as error:  # some of RecBole's models need packages that it does not install
        print(f"error: the package {error.name} is missing, which this model needs; install it", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    return EXIT_USER_ERROR
