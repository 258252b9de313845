"""NIR, the neuromorphic intermediate representation (Pedersen et al. 2024): graphs read as networks, and written."""

from ._graph import NIRError
from .profiles import PROFILES, Profile, check_nir
from .reading import from_nir
from .writing import to_nir

__all__ = ["PROFILES", "NIRError", "Profile", "check_nir", "from_nir", "to_nir"]
