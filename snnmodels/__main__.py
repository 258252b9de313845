"""``python -m snnmodels``: the same as the command ``snnmodels``."""

from .cli import main

main()
