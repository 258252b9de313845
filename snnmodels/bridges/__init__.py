"""Ways to and from networks of other packages, which are imported when they are asked for."""

from .nir import PROFILES, NIRError, Profile, check_nir, from_nir, to_nir

__all__ = ["PROFILES", "NIRError", "Profile", "check_nir", "from_nir", "to_nir"]
