"""`python -m models.robust.reference METHOD --inputs FILE.npz`: a method's formulas at given arrays, as JSON."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from models.errors import UserError
from models.robust import IMPLEMENTATIONS
from models.robust.reference.evaluation import as_json, evaluate, read_inputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the results. If the arguments or the inputs are wrong, say why and exit with code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m models.robust.reference", description="Evaluate a method's formulas at given arrays."
    )
    parser.add_argument("method", metavar="METHOD", help=f"{', '.join(IMPLEMENTATIONS)}")
    parser.add_argument("--inputs", type=Path, required=True, metavar="FILE.npz", help="arrays by name, as numpy.savez")
    given = parser.parse_args(arguments)
    try:
        results = as_json(evaluate(given.method, read_inputs(given.inputs)))
    # A number that a method's settings refuse is a mistake of the user's too.
    except (UserError, ValidationError) as error:
        parser.error(str(error))
    sys.stdout.write(results + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
