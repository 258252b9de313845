"""MNIST from IDX files, and scikit-learn's digits."""

import gzip
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from snnmodels.datasets import MNIST_FILES, load_digits, load_mnist, read_idx

DATA = Path(__file__).parents[3] / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not DATA.is_dir(), reason="the MNIST files are not on this machine")


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def images():
    return np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_read_idx(tmp_path, images, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(idx(images)))
    np.testing.assert_array_equal(read_idx(path), images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file of unsigned bytes"),
        (b"\0\0\x08\x03\0\0", "header gives shape"),
        (idx(np.zeros((2, 2), np.uint8))[:-1], r"shape \(2, 2\), but 3 values follow"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], "damaged gzip"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"broken.*{message}"):
        read_idx(path)


def test_other_content_is_refused(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    with pytest.raises(
        ValueError, match=f"train-images-idx3-ubyte: MD5 .* expected {MNIST_FILES['train-images-idx3-ubyte']}"
    ):
        load_mnist(tmp_path, "train")


def test_missing_files_come_with_instructions(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no file t10k-images-idx3-ubyte or .*Download the four files"
    ) as error:
        load_mnist(tmp_path, "test")
    assert all(name in str(error.value) for name in MNIST_FILES)
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such directory\. Download"):
        load_mnist(tmp_path / "nowhere", "test")


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="expected 'train' or 'test', got 'validation'"):
        load_mnist(tmp_path, "validation")


@needs_mnist
def test_mnist_test_set(tmp_path):
    """Ten thousand images, packed or not; the class counts are the published ones."""
    images, labels = load_mnist(DATA, "test")
    assert images.shape == (10000, 784)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        with gzip.open(DATA / f"{name}.gz") as packed, open(tmp_path / name.replace("-idx", ".idx"), "wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    np.testing.assert_array_equal(load_mnist(tmp_path, "test").images, images)


@needs_mnist
def test_mnist_training_set():
    images, labels = load_mnist(DATA, "train")
    assert images.shape == (60000, 784)
    assert labels.shape == (60000,)
    np.testing.assert_array_equal(labels[:5], [5, 0, 4, 1, 9])


def test_digits_are_disjoint_and_complete():
    pytest.importorskip("sklearn")
    sets = [load_digits(split) for split in ("train", "validation", "test")]
    assert [len(s.labels) for s in sets] == [1297, 250, 250]
    assert sets[0].images.shape == (1297, 64)
    assert {s.images.dtype for s in sets} == {np.dtype(np.uint8)}
    assert max(s.images.max() for s in sets) == 255
    rows = np.concatenate([s.images for s in sets])
    assert len(np.unique(rows, axis=0)) == 1797
    assert set(sets[2].labels) == set(range(10))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="install it: pip install scikit-learn"):
        load_digits("train")


def test_digits_unknown_split():
    with pytest.raises(ValueError, match="expected one of train, validation, test, got 'dev'"):
        load_digits("dev")
