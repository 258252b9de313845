"""Draw the Yin-Yang figure from the results that scripts/train_yin_yang.py wrote; trains nothing.

python scripts/plot_yin_yang.py --results output/yin_yang
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snnmodels.studies.experiments import draw_yin_yang

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=Path("output/yin_yang"), metavar="DIR", help="default: %(default)s"
    )
    try:
        print(draw_yin_yang(parser.parse_args().results))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
