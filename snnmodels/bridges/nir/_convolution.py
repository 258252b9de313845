"""Convolutions and pools as matrices: every weight stands where it acts, so that nothing is approximated."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...templates.errors import brief

__all__ = ["convolution", "output_shape"]

Array = np.ndarray

_MOST = 50_000_000  # elements of a matrix: 400 MB


def output_shape(node: Any, kind: str, shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Shape (channels, ...) of what a convolution or a pool puts out.

    Parameters
    ----------
    node : nir.NIRNode
    kind : {"Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"}
    shape : tuple of int
        Of what comes in, channels first.
    where : str
        Begins the message of an error.

    Raises
    ------
    ValueError
        For shapes that don't fit each other.
    """
    return _geometry(node, kind, shape, where)[0]


def convolution(node: Any, kind: str, shape: tuple[int, ...], where: str) -> tuple[Array, Array]:
    """The matrix of a convolution or pool, and where in it a weight stands.

    Signals are flattened with the last dimension fastest. A convolution is the sum over the kernel without turning it
    around, as NIR and PyTorch have it.

    Parameters
    ----------
    node, kind, shape, where
        As those of `output_shape`.

    Returns
    -------
    matrix : array, shape (n_out, n_in)
    exists : bool array, shape (n_out, n_in)

    Raises
    ------
    ValueError
        As `output_shape`, and for matrices of more than 50 million elements.
    """
    out, kernel, stride, padding, dilation = _geometry(node, kind, shape, where)
    n_out, n_in = int(np.prod(out)), int(np.prod(shape))
    if n_out * n_in > _MOST:
        raise _wrong(where, f"would be a matrix of {n_out} x {n_in}", f"at most {_MOST} elements can be written out")
    c_out, c_in = out[0], shape[0]
    if kind.startswith("Conv"):
        weight = np.asarray(node.weight, dtype=float).reshape(c_out, -1, *kernel)
        groups = int(node.groups)
    else:
        weight = np.ones((c_out, 1, *kernel)) / (np.prod(kernel) if kind == "AvgPool2d" else 1)
        groups = c_out
    per_group = c_in // groups
    size_in, size_out = shape[1:], out[1:]
    matrix, exists = np.zeros((n_out, n_in)), np.zeros((n_out, n_in), dtype=bool)
    places = np.indices(size_out).reshape(len(size_out), -1)  # of the outputs, (dimensions, n)
    channel = np.arange(c_out)
    for offset in np.ndindex(*kernel):
        source = places * np.array(stride)[:, None] - np.array(padding)[:, None]
        source = source + (np.array(offset) * np.array(dilation))[:, None]
        inside = ((source >= 0) & (source < np.array(size_in)[:, None])).all(axis=0)
        rows = np.ravel_multi_index(places[:, inside], size_out)
        columns = np.ravel_multi_index(source[:, inside], size_in)
        for i in range(per_group):
            from_channel = (channel // (c_out // groups)) * per_group + i
            r = channel[:, None] * int(np.prod(size_out)) + rows
            c = from_channel[:, None] * int(np.prod(size_in)) + columns
            matrix[r, c] = weight[(channel, i, *offset)][:, None]
            exists[r, c] = True
    return matrix, exists


Numbers = tuple[int, ...]


def _geometry(
    node: Any, kind: str, shape: tuple[int, ...], where: str
) -> tuple[Numbers, Numbers, Numbers, Numbers, Numbers]:
    """Shape of the output, and kernel, stride, padding (at the lower side) and dilation of each dimension."""
    n = 1 if kind == "Conv1d" else 2
    if len(shape) != n + 1:
        expected = "(channels, length)" if n == 1 else "(channels, height, width)"
        raise _wrong(where, f"gets a signal of shape {shape}", f"expected {expected}")
    stride = _numbers(node.stride, n, f"{where}: stride", 1)
    dilation = (1,) * n
    if kind.startswith("Conv"):
        weight, groups = np.shape(node.weight), int(node.groups)
        if len(weight) != n + 2 or groups < 1 or weight[1] * groups != shape[0] or weight[0] % groups:
            found = f"has a weight of shape {weight} and {groups} groups for {shape[0]} channels"
            raise _wrong(where, found, "expected (out, channels/groups, kernel)")
        given = getattr(node, "input_shape", None)
        if given is not None and tuple(np.atleast_1d(given).astype(int)) != shape[1:]:
            raise _wrong(where, f"has input_shape {brief(given)}", f"what comes to it has {shape[1:]}")
        channels, kernel = weight[0], tuple(weight[2:])
        dilation = _numbers(node.dilation, n, f"{where}: dilation", 1)
    else:
        channels, kernel = shape[0], _numbers(node.kernel_size, n, f"{where}: kernel_size", 1)
    reach = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and set(stride) != {1}):
            raise _wrong(where, f"has padding {padding!r} with stride {stride}", "give padding as numbers")
        both = reach if padding == "same" else (0,) * n
        lower = tuple(b // 2 for b in both)
    else:
        lower = _numbers(padding, n, f"{where}: padding", 0)
        both = tuple(2 * p for p in lower)
    size = tuple((m + b - r - 1) // s + 1 for m, b, r, s in zip(shape[1:], both, reach, stride, strict=True))
    if min(size) < 1:
        raise _wrong(where, f"has a kernel that is larger than its input of shape {shape}", "pad the input")
    return (int(channels), *size), kernel, stride, lower, dilation


def _numbers(value: Any, n: int, what: str, least: int) -> tuple[int, ...]:
    """One whole number for each dimension, which one number stands for, too."""
    found = np.atleast_1d(np.asarray(value)).ravel()
    if found.size not in (1, n) or not np.issubdtype(found.dtype, np.number) or (found != found.astype(int)).any():
        raise _wrong(what, f"is {brief(value)}", f"expected {n} whole numbers")
    if found.min() < least:
        raise _wrong(what, f"is {brief(value)}", f"expected numbers from {least} up")
    return tuple(int(k) for k in np.broadcast_to(found, (n,)))


def _wrong(where: str, problem: str, expected: str) -> ValueError:
    return ValueError(f"{where} {problem}; {expected}")
