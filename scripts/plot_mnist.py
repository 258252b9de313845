"""Draw the MNIST figures from the results that scripts/train_mnist.py wrote; trains nothing.

python scripts/plot_mnist.py --results output/mnist_max_voltage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snnmodels.studies.experiments import draw_images

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=Path("output/mnist_max_voltage"), metavar="DIR", help="default: %(default)s"
    )
    try:
        for path in draw_images(parser.parse_args().results):
            print(path)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
