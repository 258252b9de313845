"""Arrays of sampled currents, checked."""

from __future__ import annotations

import numpy as np

from .errors import warn_caller
from .groups import CurrentInput
from .quantities import in_unit

__all__ = ["checked_samples"]


def checked_samples(samples: np.ndarray, source: CurrentInput, trials: int | None, duration: float) -> np.ndarray:
    """Sampled currents as a float64 array of three dimensions.

    Parameters
    ----------
    samples : array, shape (samples,), (n, samples) or (trials, n, samples)
        In SI base units or with Brian2's. Fewer dimensions: the same for all channels and trials, or for all trials.
    source : CurrentInput
        Whose samples they are.
    trials : int or None
        None for any number.
    duration : float
        Length of a trial in seconds.

    Returns
    -------
    array, shape (trials or 1, n or 1, samples)
        1 where they are shared. Samples after the end of the trial come along, and change nothing.

    Warns
    -----
    UserWarning
        Where a trial reads half of the samples or fewer: an interval in milliseconds, or of another recording, would
        stretch them without an error.

    Raises
    ------
    ValueError
        For a wrong shape or unit, too few samples, or values that are not finite.
    """
    what = f"samples of input {source.name!r}"
    values = in_unit(samples, source.unit, what)
    n, least = source.n, source.samples(duration)
    wanted = (trials, n, None)[3 - values.ndim :] if 1 <= values.ndim <= 3 else ()
    if not wanted or any(w not in (None, have) for w, have in zip(wanted, values.shape, strict=True)):
        each = "trials" if trials is None else trials
        raise ValueError(
            f"{what} have shape {values.shape}; expected ({each}, {n}, samples), ({n}, samples) for all trials alike, "
            "or (samples,) for all channels too"
        )
    if values.shape[-1] < least:
        end = " and one at its end" if source.interpolation == "linear" else ""
        raise ValueError(
            f"{what}: {values.shape[-1]} of each channel; a trial of {duration:g} s needs {least}, one every "
            f"{source.interval:g} s from {source.start:g} s on{end}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{what} are not all finite")
    given = values.shape[-1]
    if given >= 2 * least and given > least + 1:
        warn_caller(
            f"{what}: {given} of each channel, and a trial of {duration:g} s reads only {least}, one every "
            f"{source.interval:g} s: is the interval, in seconds, that of these samples? Cut them to the trial if it is"
        )
    return values.reshape((1,) * (3 - values.ndim) + values.shape)
