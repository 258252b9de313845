"""Templates: models and networks as TOML files, read, checked and composed into plain values.

A name is imported when it is first used: composing needs Brian2's units, looking at the library does not.
"""

from ..lazy import offered_by_stub

__getattr__, __dir__, __all__ = offered_by_stub(__name__)
