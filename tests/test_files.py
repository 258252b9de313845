"""Files that are damaged, missing, full, in the way or left by a killed process: nothing lost, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import snnmodels as snn
from snnmodels.brian import build_cache, export
from snnmodels.brian.plan import Plan
from snnmodels.files import atomic_file, atomic_folder, named, write_between, write_rounded
from snnmodels.studies.plots import save_figure
from snnmodels.studies.runs import read_outputs, read_results
from snnmodels.targets import cache as caches
from snnmodels.targets.cache import DamagedCache, kept
from snnmodels.targets.compilation import BuildFailed, build, library
from snnmodels.training import Checkpoint, CheckpointFailed, History, load_checkpoint, save_checkpoint
from tests.needs import COMPILER

CONTENT = b"A program of some length." * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SNNMODELS_CACHE", str(folder))
    return folder


def make(folder: Path) -> Path:
    """A stand-in for what is compiled: a folder with a program and data."""
    made = folder / "finished"
    (made / "arrays").mkdir(parents=True)
    (made / "main").write_bytes(CONTENT)
    (made / "main").chmod(0o755)
    (made / "arrays" / "data").write_bytes(bytes(range(256)))
    return made


def never(folder: Path) -> Path:
    raise AssertionError("made again")


def is_whole(made: Path) -> bool:
    return (
        (made / "main").read_bytes() == CONTENT
        and os.access(made / "main", os.X_OK)
        and (made / "arrays" / "data").read_bytes() == bytes(range(256))
    )


@contextlib.contextmanager
def one_notice(match: str = "") -> Iterator[None]:
    """One line of warning of a damaged entry, and no other."""
    with pytest.warns(DamagedCache, match=match) as told:
        yield
    assert len(told) == 1
    assert "\n" not in str(told[0].message)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- damaged entries of the cache -------------------------------------------------------------------------------------


def cut(size: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(size * file.stat().st_size))


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_dangling_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def a_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


DAMAGES = [cut(0.5), cut(0), cut(0.999), zeroed, flipped, longer, Path.unlink, a_folder, a_dangling_link, a_loop]
KEPT = ["finished/main", "finished/arrays/data", "checksums.json"]


@pytest.mark.parametrize("file", KEPT)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(cache: Path, damage: Callable[[Path], None], file: str) -> None:
    kept("entry", make)
    damage(cache / "entry" / file)
    with one_notice(rf"{cache}/entry was damaged \(.*{Path(file).name}.* and has been made anew"):
        assert is_whole(kept("entry", make))
    with silence():
        assert is_whole(kept("entry", never))
    assert os.listdir(cache) == ["entry"]


def a_file_in_its_place(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_bytes(CONTENT)


def an_empty_folder(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.mkdir()


def a_link_in_circles(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.symlink_to(entry)


def a_link_to_nowhere(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.symlink_to("nowhere")


def another_entry(entry: Path) -> None:
    shutil.rmtree(entry)
    kept("other", make)
    shutil.copytree(entry.with_name("other"), entry)


def a_program_of_another(entry: Path) -> None:
    (entry / "finished" / "main").write_bytes(CONTENT[::-1])


def without_the_right_to_run(entry: Path) -> None:
    (entry / "finished" / "main").chmod(0o644)


def without_files(entry: Path) -> None:
    shutil.rmtree(entry / "finished")


def with_text_of_another_code(entry: Path) -> None:
    (entry / "checksums.json").write_bytes(b"\xff\xfe" * 40)


@pytest.mark.parametrize(
    "damage",
    [
        a_file_in_its_place,
        an_empty_folder,
        a_link_in_circles,
        a_link_to_nowhere,
        another_entry,
        a_program_of_another,
        without_the_right_to_run,
        without_files,
        with_text_of_another_code,
    ],
)
def test_what_is_foreign_is_made_anew(cache: Path, damage: Callable[[Path], None]) -> None:
    kept("entry", make)
    damage(cache / "entry")
    with one_notice("entry was damaged"):
        assert is_whole(kept("entry", make))
    with silence():
        assert is_whole(kept("entry", never))
    assert set(os.listdir(cache)) <= {"entry", "other"}


def test_what_a_program_leaves_in_its_folder_is_no_damage(cache: Path) -> None:
    (kept("entry", make) / "core").write_bytes(b"dumped")
    with silence():
        assert is_whole(kept("entry", never))


def test_an_entry_in_a_cache_that_can_only_be_read_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept("entry", make)
    for function in ("mkdir", "rename", "replace"):
        monkeypatch.setattr(os, function, raising(errno.EROFS))
    assert is_whole(kept("entry", never))


def test_all_of_an_entry_is_on_the_disk_before_it_appears(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised: list[str] = []

    def fsync(descriptor: int, true: Callable[[int], None] = os.fsync) -> None:
        assert not (cache / "entry").exists() or synchronised[-1] == "entry"
        synchronised.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        true(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    kept("entry", make)
    assert set(synchronised) == {"main", "data", "checksums.json", "arrays", "finished", "entry", "cache"}
    assert synchronised[-1] == "cache"


@COMPILER
@pytest.mark.parametrize("damage", [cut(0.5), cut(0), zeroed, flipped])
def test_a_damaged_library_is_compiled_anew(cache: Path, damage: Callable[[Path], None]) -> None:
    script = (
        "from snnmodels.targets.compilation import library\n"
        "print(library('five', 'extern \"C\" int five() { return 5; }', ['-O0']).five())\n"
    )

    def five() -> tuple[str, int]:
        """In a process of its own, which has not loaded it yet: what it says, and the number of notices."""
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return ran.stdout, ran.stderr.count("was damaged")

    assert five() == ("5\n", 0)
    (file,) = cache.glob("*/five.so")
    damage(file)
    assert five() == ("5\n", 1)
    assert five() == ("5\n", 0)


def network() -> snn.Network:
    return snn.load_network("yin_yang", hidden={"n": 3}, duration="40*ms")


TIMES = {"input": np.linspace(0, 20e-3, 10).reshape(2, 5)}


@COMPILER
def test_a_damaged_program_gives_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient() -> tuple[np.ndarray, Path]:
        with snn.Simulation(network(), snn.TTFSCrossEntropy(), batch_size=2, target="cpp_standalone") as simulation:
            found = simulation.run(TIMES, np.array([0, 1])).gradients["input_hidden.w"]
            return found, Path(simulation._engine._process.popen.args[0])  # type: ignore[attr-defined]

    wanted, common = gradient()  # compiled in the cache of all tests, as it takes long
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNNMODELS_CACHE", "relative")
    own = tmp_path / "relative" / common.parent.name / common.name
    shutil.copytree(common.parent, own.parent)
    for what in ("runtime", "model", "models"):
        for unit in common.parents[1].glob(f"{what}-*"):
            own.parents[1].joinpath(unit.name).symlink_to(unit)
    with silence():
        assert gradient()[1] == own
    for damage in (cut(0.5), zeroed, flipped):
        damage(own)
        with one_notice("engine is not as it was written"):
            np.testing.assert_array_equal(gradient()[0], wanted)
    with silence():
        np.testing.assert_array_equal(gradient()[0], wanted)


@COMPILER
@pytest.mark.parametrize("file", ["main", "layout.json", "static_arrays/numbers"])
def test_a_damaged_program_of_the_grid_is_made_anew(cache: Path, file: str) -> None:
    plan = Plan.of(network(), batch_size=2, dt=1e-3)

    def generate(_: Plan, sources: Path) -> tuple[dict[str, build_cache.Field], int]:
        (sources / "code_objects").mkdir()
        (sources / "static_arrays").mkdir()
        (sources / "static_arrays" / "numbers").write_bytes(bytes(99))
        (sources / "main.cpp").write_text("int main() { return 3; }\n")
        return {"w": build_cache.Field(64, 3, "<f8")}, 128

    build_cache.build(plan, generate)
    (damaged,) = cache.glob(f"grid-*/finished/{file}")
    flipped(damaged)
    with one_notice(f"{Path(file).name} is not as it was written"):
        built = build_cache.build(plan, generate)
    assert (built.size, built.fields["w"]) == (128, build_cache.Field(64, 3, "<f8"))
    assert subprocess.run([built.program], check=False).returncode == 3
    assert (built.program.parent / "static_arrays" / "numbers").read_bytes() == bytes(99)


# --- killed and concurrent builds -------------------------------------------------------------------------------------

BUILDER = """
import os, signal, sys, time
from pathlib import Path
from snnmodels.targets.cache import kept
name, what = sys.argv[1:]
def make(folder):
    (folder / "main").write_text("program")
    print("making", flush=True)
    if what == "wait":
        sys.stdin.read()
    return folder / "main"
print(kept(name, make).read_text(), flush=True)
"""


def builder(name: str, what: str = "wait") -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", BUILDER, name, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None and started.stdout.readline() == "making\n"
    return started


def test_what_a_killed_build_has_left_is_removed_by_the_next(cache: Path) -> None:
    killed = builder("entry")
    killed.kill()
    killed.communicate()
    (left,) = os.listdir(cache)
    assert left.startswith("building-")
    assert is_whole(kept("other", make))
    assert os.listdir(cache) == ["other"]


def test_what_is_being_built_is_left_alone(cache: Path) -> None:
    with builder("entry") as running:
        assert is_whole(kept("other", make))
        said, _ = running.communicate("")
    assert said == "program\n"
    assert sorted(os.listdir(cache)) == ["entry", "other"]


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_make_an_entry_at_once(cache: Path, damaged: bool) -> None:
    if damaged:
        (kept("entry", make) / "main").write_bytes(b"")
    with builder("entry") as one, builder("entry") as two:
        assert one.communicate("")[0] == two.communicate("")[0] == "program\n"
    assert os.listdir(cache) == ["entry"]


@pytest.mark.parametrize("name", ["building-elsewhere-1", "building-unlocked-1", "building-old"])
def test_what_may_be_built_elsewhere_is_left_for_a_day(cache: Path, name: str) -> None:
    (cache / name).mkdir(parents=True)
    kept("entry", make)
    assert (cache / name).exists()
    yesterday = time.time() - 90_000
    os.utime(cache / name, (yesterday, yesterday))
    kept("other", make)
    assert not (cache / name).exists()


def test_without_locks_nothing_recent_is_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", raising(errno.ENOLCK))
    inside: list[list[str]] = []

    def outer(folder: Path) -> Path:
        kept("inner", make)
        inside.append([n for n in os.listdir(cache) if n.startswith("building-unlocked-")])
        return make(folder)

    assert is_whole(kept("entry", outer))
    assert len(inside[0]) == 1
    assert sorted(os.listdir(cache)) == ["entry", "inner"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []

    def mkdtemp(prefix: str, dir: Path, true: Callable[..., str] = caches.tempfile.mkdtemp) -> str:
        folder = true(prefix=prefix, dir=dir)
        if not swept:
            swept.append(folder)
            os.rmdir(folder)
        return folder

    monkeypatch.setattr(caches.tempfile, "mkdtemp", mkdtemp)
    assert is_whole(kept("entry", make))
    assert swept


# --- paths that can't be used -----------------------------------------------------------------------------------------


def raising(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def in_the_way(folder: Path, kind: str) -> Path:
    """A path below something that is no folder."""
    place = folder / "place"
    match kind:
        case "file":
            place.write_text("")
        case "dangling":
            place.symlink_to(folder / "nowhere")
        case "loop":
            place.symlink_to(place)
    return place


WRONG = [
    ("file", "place.* is a file, not a folder; remove it, or "),
    ("dangling", "place is a link to .*/nowhere, which does not exist; make that, or "),
    ("loop", "place is a link that leads back to itself; remove it, or "),
]


@pytest.mark.parametrize(("kind", "says"), WRONG)
@pytest.mark.parametrize("below", ["", "sub/sub"])
def test_a_cache_that_can_not_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str, below: str
) -> None:
    path = in_the_way(tmp_path, kind) / below
    if kind == "file" and not below:
        says = "it is a file, not a folder; remove it, or "
    monkeypatch.setenv("SNNMODELS_CACHE", str(path))
    with pytest.raises(OSError, match=f"^cache of compiled programs {path}: .*{says}set SNNMODELS_CACHE to"):
        kept("entry", make)


def test_a_cache_where_no_folder_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNMODELS_CACHE", "/proc/snnmodels/cache")
    with pytest.raises(OSError, match=r"^cache of compiled programs /proc/snnmodels/cache: there is no folder"):
        kept("entry", make)


def test_without_a_home_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNNMODELS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match=r"home directory.*set SNNMODELS_CACHE to another folder"):
        kept("entry", make)


@pytest.mark.parametrize(
    ("number", "function", "says"),
    [
        (errno.ENOSPC, "fsync", "No space left on device; make room there"),
        (errno.EDQUOT, "mkdir", "quota exceeded; make room there"),
        (errno.EROFS, "mkdir", "Read-only file system; make it writable"),
        (errno.EACCES, "rename", "Permission denied; allow this user to use it"),
        (errno.EIO, "fsync", "Input/output error; see what is there"),
    ],
)
def test_a_cache_that_fails(
    cache: Path, monkeypatch: pytest.MonkeyPatch, number: int, function: str, says: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, function, raising(number))
        with pytest.raises(OSError, match=f"^cache of compiled programs {cache}: .*{says}, or set SNNMODELS_CACHE"):
            kept("entry", make)
    assert not cache.exists() or not os.listdir(cache)
    assert is_whole(kept("entry", make))


def test_a_compiler_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "c++"
    fake.write_text(
        "#!/bin/sh\necho 'ld: final close failed: No space left on device' >&2\n"
        "echo 'collect2: error: ld returned 1 exit status' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("CXX", str(fake))
    with pytest.raises(
        BuildFailed, match=r"no room for .*made: ld: .*No space left on device; make room there, or set"
    ):
        build([tmp_path / "a.cpp"], tmp_path / "made", [])


@COMPILER
def test_a_library_that_may_not_be_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr("ctypes.CDLL", refused)
    with pytest.raises(OSError, match=r"compiled library .*three.so: .*allow running it there, or set SNNMODELS_CACHE"):
        library("three", 'extern "C" int three() { return 3; }', ("-O0",))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "c.npz"
    save_checkpoint(path, Checkpoint(1, {"w": np.arange(50.0)}, {"steps": np.array(5)}))
    return path


NEW = Checkpoint(2, {"w": np.zeros(5000)}, {"steps": np.array(9)})


@pytest.mark.parametrize(("kind", "says"), WRONG)
def test_a_checkpoint_that_can_not_be_written(tmp_path: Path, kind: str, says: str) -> None:
    path = in_the_way(tmp_path, kind) / "c.npz"
    before = os.listdir(tmp_path)
    with pytest.raises(OSError, match=f"^checkpoint {path}: .*{says}name another path"):
        save_checkpoint(path, NEW)
    assert os.listdir(tmp_path) == before


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (Path.mkdir, "it is a folder, not a file; remove it, or"),
        (a_fifo, "it is no ordinary file; see what is there, or"),
        (lambda path: path.symlink_to(path), ".*c.npz is a link that leads back to itself; remove it"),
    ],
)
def test_what_is_no_file_is_not_replaced(tmp_path: Path, put: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "c.npz"
    put(path)
    before = os.lstat(path)
    with pytest.raises(OSError, match=f"^checkpoint {path}: {says}"):
        save_checkpoint(path, NEW)
    assert os.path.samestat(os.lstat(path), before)
    assert os.listdir(tmp_path) == ["c.npz"]


def test_a_link_to_a_checkpoint_stays_one(tmp_path: Path, checkpoint: Path) -> None:
    link = tmp_path / "elsewhere" / "link.npz"
    link.parent.mkdir()
    link.symlink_to(checkpoint)
    save_checkpoint(link, NEW)
    assert link.is_symlink()
    assert load_checkpoint(checkpoint).epoch == load_checkpoint(link).epoch == 2
    assert os.listdir(link.parent) == ["link.npz"]


def test_no_room_for_a_checkpoint(checkpoint: Path) -> None:
    script = (
        "import resource, sys\nimport numpy as np\nfrom snnmodels.training import Checkpoint, save_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n    save_checkpoint(sys.argv[1], Checkpoint(2, {'w': np.zeros(5000)}, {}))\n"
        "except OSError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, checkpoint], capture_output=True, text=True, check=True)
    assert (
        ran.stdout == f"checkpoint {checkpoint}: File too large; allow larger files (ulimit -f), or name another path\n"
    )
    assert load_checkpoint(checkpoint).epoch == 1
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_checkpoint_on_a_full_disk(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, function, raising(errno.ENOSPC))
        with pytest.raises(OSError, match=f"^checkpoint {checkpoint}: No space left on device; make room there, or"):
            save_checkpoint(checkpoint, NEW)
    assert load_checkpoint(checkpoint).epoch == 1
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(checkpoint: Path) -> None:
    script = (
        "import os, signal, sys\nimport numpy as np\nfrom snnmodels.training import Checkpoint, save_checkpoint\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_checkpoint(sys.argv[1], Checkpoint(2, {'w': np.zeros(5000)}, {}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, checkpoint], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert load_checkpoint(checkpoint).epoch == 1
    assert len(os.listdir(checkpoint.parent)) == 2
    save_checkpoint(checkpoint, NEW)
    assert load_checkpoint(checkpoint).epoch == 2
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_two_writers_of_a_file_do_not_mix(tmp_path: Path) -> None:
    path, inside, done = tmp_path / "file", threading.Event(), threading.Event()

    def second() -> None:
        inside.wait()
        with atomic_file(path) as file:
            file.write(b"second")
        done.set()

    thread = threading.Thread(target=second)
    thread.start()
    with atomic_file(path) as file:
        file.write(b"the first, ")
        file.flush()
        inside.set()
        assert not done.wait(0.2)
        file.write(b"which is longer")
    thread.join(10)
    assert done.is_set()
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["file"]


def test_a_damaged_checkpoint_is_refused_wherever_it_is_damaged(checkpoint: Path) -> None:
    whole, refused = checkpoint.read_bytes(), 0

    def read() -> bool:
        try:
            state = load_checkpoint(checkpoint)
        except ValueError as error:
            assert str(error).startswith(f"{checkpoint}: not a checkpoint of snnmodels, or a damaged one; remove it")
            return False
        # bits that nothing depends on, such as a date
        np.testing.assert_array_equal(state.values["w"], np.arange(50.0))
        assert (state.epoch, state.optimiser["steps"]) == (1, 5)
        return True

    for size in range(0, len(whole), 23):
        checkpoint.write_bytes(whole[:size])
        assert not read()
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        checkpoint.write_bytes(content)
        refused += not read()
    assert refused > len(whole) / 3 * 0.7


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"^checkpoint {tmp_path}/c.npz: there is no such file; make it, or"):
        load_checkpoint(tmp_path / "c.npz")
    with pytest.raises(IsADirectoryError, match=f"^checkpoint {tmp_path}: it is a folder, not a file"):
        load_checkpoint(tmp_path)


# --- training ---------------------------------------------------------------------------------------------------------


def train(path: Path, epochs: int = 2, **arguments: Any) -> snn.training.TrainingResult:
    data = snn.Trials(TIMES, np.array([0, 1]))
    with snn.Simulation(network(), snn.TTFSCrossEntropy(), batch_size=2) as simulation:
        return snn.train(
            simulation, data, snn.Adam(1e-3), epochs=epochs, batch_size=2, checkpoint=path, progress=False, **arguments
        )


@pytest.mark.parametrize("wrong", ["folder", "parent missing", "parent is a file", "dangling"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_checkpoint_that_can_not_be_written_is_refused_before_an_epoch_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, resume: bool
) -> None:
    path = tmp_path / "here" / "c.npz"
    match wrong:
        case "folder":
            path.mkdir(parents=True)
        case "parent is a file":
            path.parent.write_text("")
        case "dangling":
            path.parent.symlink_to("nowhere")
    monkeypatch.setattr("snnmodels.training.loop._train_epoch", never)
    with pytest.raises(
        OSError, match=f"^checkpoint {path}: [^[]*; (remove it|make it|make that), or name another path$"
    ):
        train(path, resume=resume)


def test_an_epoch_whose_checkpoint_has_no_room_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.npz"
    wanted = train(tmp_path / "other.npz", 2)
    train(path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", raising(errno.ENOSPC))
        with pytest.raises(CheckpointFailed, match=r"No space left.*`result` holds the state after epoch 2$") as failed:
            train(path, 2)
    assert failed.value.result.epoch == 2
    for key, value in wanted.values.items():
        np.testing.assert_array_equal(failed.value.result.values[key], value)
    assert load_checkpoint(path).epoch == 1
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "other.npz"]
    np.testing.assert_array_equal(train(path, 2).values["input_hidden.w"], wanted.values["input_hidden.w"])


def test_a_finished_run_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.npz"
    train(path, 1)
    monkeypatch.setattr("snnmodels.training.loop.check_writable", never)
    assert train(path, 1).epoch == 1


# --- results, figures, projects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "says"), WRONG)
def test_results_and_figures_that_can_not_be_written(tmp_path: Path, kind: str, says: str) -> None:
    place = in_the_way(tmp_path, kind)
    with pytest.raises(OSError, match=f"^folder of results {place}/a: .*{says}name another folder"):
        write_rounded(place / "a" / "results.json", {"x": 1})
    with pytest.raises(OSError, match=f"^folder of figures {place}/a: .*{says}name another folder"):
        save_figure(Figure(), place / "a" / "b.png")
    with pytest.raises(OSError, match=f"^history {place}/history.json: .*{says}name another path"):
        History().save(place / "history.json")


def test_a_figure_on_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_figure(Figure(), tmp_path / "a.png", dpi=20)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    monkeypatch.setattr(Figure, "savefig", raising(errno.ENOSPC))
    with pytest.raises(OSError, match=f"^figure {path}: No space left on device; make room there, or"):
        save_figure(Figure(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_results_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^results file of training .*: there is no such file; make it, or train"
    ):
        read_results(tmp_path / "results.json")
    with pytest.raises(FileNotFoundError, match=r"^training history .*h.json: there is no such file"):
        History.load(tmp_path / "h.json")
    with pytest.raises(FileNotFoundError, match=r"^file of outputs .*a_seed1_test.npz: there is no such file"):
        read_outputs(tmp_path, "a", 1)
    file = tmp_path / "a_seed1_test.npz"
    np.savez(file, output=np.zeros(9))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"a_seed1_test.npz: not a file of outputs of snnmodels, or a damaged one"):
        read_outputs(tmp_path, "a", 1)


@pytest.mark.parametrize("text", ["", "{", '{"runs": {}', "[1]", "3", '{"runs": 1}', "\xff", "null"])
def test_results_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"^{path}: not a results file of training"):
        read_results(path)
    with pytest.raises(ValueError, match=f"^{path}: not a training history"):
        History.load(path)


def export_to(folder: Path) -> None:
    loaded = network()
    export.export_project(loaded, folder, spikes=export.regular_spikes(loaded), dt=1e-3, overwrite=True)


def test_a_project_that_can_not_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    export_to(project)
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    assert project / "Makefile" in before
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", raising(errno.ENOSPC))
        with pytest.raises(OSError, match=f"^folder of the project {project}: No space left on device; make room"):
            export_to(project)
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before
    assert os.listdir(tmp_path) == ["project"]


def test_a_folder_comes_back_where_the_new_one_can_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder, "folder") as new:
        (new / "a").write_text("old")
    (tmp_path / ".folder.tmp").mkdir()  # as a killed process leaves it
    (tmp_path / ".folder.tmp" / "half").write_text("")
    true = Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path.name.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        return true(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="Input/output"), atomic_folder(folder, "folder") as new:
            assert not os.listdir(new)
    assert (folder / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("command", [["build", "lif"], ["derive", "lif"], ["train", "yin-yang", "--target", "numpy"]])
def test_the_command_says_in_one_line_what_is_in_the_way(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    from typer.testing import CliRunner

    from snnmodels.cli import app

    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "file" / "out" / "x")])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: folder of ")
    assert line.endswith(f"{tmp_path}/file is a file, not a folder; remove it, or name another folder")


def test_an_error_that_says_all_is_left_as_it_is(tmp_path: Path) -> None:
    said = FileExistsError("holds an earlier project; name another folder")
    with pytest.raises(FileExistsError) as raised, named(tmp_path, "project"):
        raise said
    assert raised.value is said


def test_what_stands_between_two_lines_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- a -->\nold\n<!-- b -->\nafter ± 1\n")
    for text in ("new\n", "new"):
        write_between(page, "<!-- a -->", text, "<!-- b -->")
        assert page.read_text() == "before\n\n<!-- a -->\n\nnew\n\n<!-- b -->\nafter ± 1\n"
    with pytest.raises(ValueError, match=r"page.md: the lines '<!-- a -->' and '<!-- c -->' must be there"):
        write_between(page, "<!-- a -->", "other", "<!-- c -->")
    assert "new" in page.read_text()
