"""The MNIST data set of handwritten digits, read from the user's own copy of the four original IDX files.

LeCun, Cortes & Burges; LeCun et al. (1998), Proc. IEEE 86(11), 2278-2324, https://doi.org/10.1109/5.726791.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["MNIST_FILES", "ImageSet", "load_mnist", "read_idx"]

Split = Literal["train", "test"]

MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the uncompressed content of each file."""

_INSTRUCTIONS = (
    "Download the four files {names} (as .gz or unpacked), for example from "
    "https://storage.googleapis.com/cvdf-datasets/mnist/ or https://ossci-datasets.s3.amazonaws.com/mnist/, "
    "into one directory and name that directory."
)


class ImageSet(NamedTuple):
    """`images` are grey values 0 to 255, shape (n, pixels), uint8; `labels` are digits, shape (n,), int64."""

    images: np.ndarray
    labels: np.ndarray


def load_mnist(directory: str | Path, split: Split) -> ImageSet:
    """Read the training (60000) or test (10000) images and labels.

    Parameters
    ----------
    directory : str or Path
        Holds the original files, each unpacked or as ``.gz``.
    split : {"train", "test"}
        Which of the two sets.

    Returns
    -------
    ImageSet
        Images of 28 × 28 pixels as rows of 784, and their labels.

    Raises
    ------
    FileNotFoundError
        If the directory or a file is missing, with download instructions.
    ValueError
        If a file's content isn't the published one (by MD5), or `split` is unknown.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(_find(Path(directory), f"{prefix}-images-idx3-ubyte"), MNIST_FILES[f"{prefix}-images-idx3-ubyte"])
    labels = read_idx(_find(Path(directory), f"{prefix}-labels-idx1-ubyte"), MNIST_FILES[f"{prefix}-labels-idx1-ubyte"])
    return ImageSet(images.reshape(len(images), -1), labels.astype(np.int64))


def read_idx(path: Path, md5: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzip or not.

    Parameters
    ----------
    path : Path
        The file; read as gzip if it starts with gzip's magic number, whatever its name.
    md5 : str, optional
        Expected MD5 of the uncompressed content.

    Returns
    -------
    array of uint8
        With the shape that the file's header gives.

    Raises
    ------
    ValueError
        If the file is damaged, isn't IDX, or has another checksum.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file ({error}); download it again") from None
    if md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise ValueError(f"{path}: MD5 of the content is {found}, expected {md5}; download the file again")
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes (starts with {content[:4].hex() or 'nothing'})")
    rank = content[3]
    header = 4 + 4 * rank
    shape = tuple(int(size) for size in np.frombuffer(content[4:header].ljust(4 * rank, b"\0"), dtype=">u4"))
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{path}: header gives shape {shape}, but {len(content) - header} values follow")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _find(directory: Path, name: str) -> Path:
    """Path of an MNIST file, unpacked or not, with ``-`` or ``.`` before ``idx`` (both spellings circulate)."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (directory / spelling, directory / f"{spelling}.gz"):
            if path.is_file():
                return path
    what = f"no file {name} or {name}.gz" if directory.is_dir() else "no such directory"
    raise FileNotFoundError(f"{directory}: {what}. {_INSTRUCTIONS.format(names=', '.join(MNIST_FILES))}")
