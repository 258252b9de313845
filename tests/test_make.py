"""make, .ci/run and the wheel: finding Python, installing once, saying what is missing, shipping the model library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

# what the scripts under test call; a folder with links to these alone stands in for a machine that lacks the rest
UTILITIES = ("sh", "bash", "env", "sed", "awk", "touch", "test", "rm", "find", "dirname", "make", "cat", "id", "mkdir")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The bin folder of a machine without Python and compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in UTILITIES:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of the files that make reads."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(root / name, folder)
    shutil.copytree(root / ".ci", folder / ".ci")
    return folder


def python(folder: Path, name: str, version: str = "3.12", venv: bool = True) -> Path:
    """A stand-in for an interpreter: answers the two questions that find_python.sh asks, and names its version."""
    status = 0 if tuple(map(int, version.split("."))) >= (3, 12) else 3
    return script(
        folder / name,
        f"""#!/bin/sh
case "$2" in
    *ensurepip*) exit {0 if venv else 1} ;;
    *print*) echo python{version} ;;
    *version_info*) exit {status} ;;
esac
""",
    )


def run(
    command: list[str | Path], path: Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={"PATH": str(path), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


class TestFindPython:
    @pytest.fixture
    def find(self, root: Path) -> Path:
        return root / ".ci" / "find_python.sh"

    def test_running_interpreter_is_found_behind_old_one_and_broken_shim(self, find: Path, machine: Path) -> None:
        python(machine, "python3", version="3.11")
        script(machine / "python3.12", "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2; exit 127\n")
        python(machine, "python3.13", version="3.13")
        result = run([find], machine)
        assert (result.returncode, result.stdout) == (0, "python3.13\n")

    def test_python_variable_comes_first(self, find: Path, machine: Path, tmp_path: Path) -> None:
        python(machine, "python3")
        mine = python(tmp_path / "mine", "python")
        result = run([find], machine, PYTHON=str(mine))
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{mine}\n", "")

    def test_useless_python_variable_is_reported(self, find: Path, machine: Path) -> None:
        python(machine, "python3")
        result = run([find], machine, PYTHON="/nowhere/python")
        assert (result.returncode, result.stdout) == (0, "python3\n")
        assert "PYTHON=/nowhere/python is not a working Python >= 3.12" in result.stderr

    def test_versions_of_pyenv_are_tried(self, find: Path, machine: Path, tmp_path: Path) -> None:
        script(machine / "pyenv", f"#!/bin/sh\necho {tmp_path}/pyenv\n")
        python(tmp_path / "pyenv/versions/3.9.1/bin", "python", version="3.9")
        wanted = python(tmp_path / "pyenv/versions/3.12.1/bin", "python")
        result = run([find], machine)
        assert (result.returncode, result.stdout) == (0, f"{wanted}\n")

    def test_missing_venv_names_the_package(self, find: Path, machine: Path) -> None:
        python(machine, "python3", version="3.13", venv=False)
        result = run([find], machine)
        assert (result.returncode, result.stdout) == (1, "")
        assert "without ensurepip" in result.stderr
        assert "apt-get install python3.13-venv" in result.stderr

    def test_too_old_only(self, find: Path, machine: Path) -> None:
        python(machine, "python3", version="3.11")
        result = run([find], machine)
        assert result.returncode == 1
        assert "no working Python >= 3.12 found (too old: python3)" in result.stderr
        assert "make PYTHON=/path/to/python3.12" in result.stderr


class TestMake:
    @pytest.fixture
    def installed(self, checkout: Path, tmp_path: Path) -> Path:
        """An environment whose python writes down its arguments."""
        script(checkout / ".venv/bin/python", f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
        (tmp_path / "calls").touch()
        return tmp_path / "calls"

    def test_help_is_the_default_and_lists_every_target(self, checkout: Path, machine: Path) -> None:
        result = run(["make"], machine, checkout)
        assert result.returncode == 0, result.stderr
        for target in ("demo", "test", "test-all", "lint", "clean", "help"):
            assert f"make {target} " in result.stdout

    def test_installs_once_and_again_when_dependencies_change(
        self, checkout: Path, machine: Path, installed: Path
    ) -> None:
        assert run(["make", "env"], machine, checkout).returncode == 0
        assert "--editable .[cuda,dev]" in installed.read_text()
        installed.write_text("")
        assert run(["make", "env"], machine, checkout).returncode == 0
        assert installed.read_text() == ""
        later = (checkout / ".venv/.installed").stat().st_mtime + 10
        os.utime(checkout / "pyproject.toml", (later, later))
        assert run(["make", "env"], machine, checkout).returncode == 0
        assert "--editable" in installed.read_text()

    def test_failed_installation_is_tried_again(self, checkout: Path, machine: Path) -> None:
        script(checkout / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
        assert run(["make", "env"], machine, checkout).returncode != 0
        assert not (checkout / ".venv/.installed").exists()

    def test_without_python_says_what_to_install(self, checkout: Path, machine: Path) -> None:
        result = run(["make", "test"], machine, checkout)
        assert result.returncode != 0
        assert "no working Python >= 3.12 found" in result.stderr

    def test_demo_without_compiler_says_so(self, checkout: Path, machine: Path, installed: Path) -> None:
        result = run(["make", "demo"], machine, checkout)
        assert result.returncode != 0
        assert "install a C++ compiler" in result.stdout


class TestContinuousIntegration:
    def test_missing_packages_are_installed_by_root(self, checkout: Path, machine: Path, tmp_path: Path) -> None:
        (machine / "make").unlink()
        (machine / "id").unlink()
        script(machine / "id", "#!/bin/sh\necho 0\n")
        script(machine / "apt-get", f'#!/bin/sh\necho "$@" >> {tmp_path}/apt\n')
        run(["bash", checkout / ".ci/run"], machine)
        update, install = (tmp_path / "apt").read_text().splitlines()
        assert update.endswith("update")
        assert install.endswith("g++ make python3 python3-venv python3-dev")

    def test_missing_packages_are_named_to_others(self, checkout: Path, machine: Path) -> None:
        python(machine, "python3")
        (machine / "id").unlink()
        script(machine / "id", "#!/bin/sh\necho 1000\n")
        result = run(["bash", checkout / ".ci/run"], machine)
        assert result.returncode == 1
        assert "missing: g++; install them (as root: apt-get install g++)" in result.stderr

    def test_runs_make_test(self, checkout: Path, machine: Path) -> None:
        python(machine, "python3")
        (machine / "make").unlink()
        script(machine / "make", '#!/bin/sh\necho "make $@"\n')
        script(machine / "g++", "#!/bin/sh\n")
        result = run(["bash", checkout / ".ci/run"], machine)
        assert (result.returncode, result.stdout) == (0, "make test\n"), result.stderr


@pytest.mark.slow
def test_wheel_ships_the_model_library_and_works_alone(root: Path, tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, root], capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    (archive,) = tmp_path.glob("*.tar.gz")
    library = {f"snnmodels/{p.relative_to(root)}" for p in (root / "equations").rglob("*.toml")}
    assert library
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    assert library <= names
    package = (p.relative_to(root) for p in (root / "snnmodels").rglob("*") if p.is_file())
    assert {str(p) for p in package if "__pycache__" not in p.parts} <= names  # templates and Makefiles, too
    assert not any(name.startswith(("tests/", "equations/")) for name in names)
    if (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
        with tarfile.open(archive) as content:
            shipped = {name.partition("/")[2] for name in content.getnames()}
        assert set(listed.stdout.split("\n")[:-1]) <= shipped  # so that make test passes from its own files

    # beside the dependencies of this environment, but not beside the checkout
    target = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel], check=True)
    code = """
import snnmodels
from snnmodels.templates import load_model
print(snnmodels.__file__, load_model("lif").name)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.split() == [str(target / "snnmodels/__init__.py"), "lif+exp_synapse"], result.stderr
    for example in ("own_loop", "coding_network"):
        environment = {**os.environ, "PYTHONPATH": str(target), "MPLBACKEND": "Agg"}
        command = [sys.executable, root / "examples" / f"{example}.py"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)


def test_the_conda_recipe_needs_what_the_package_needs(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    recipe = (root / "packaging/conda/meta.yaml").read_text()
    run = re.findall(r"^    - (\S+) (>\S+)$", recipe.partition("  run:")[2].partition("\ntest:")[0], re.M)
    needs = {name.replace("matplotlib-base", "matplotlib"): version for name, version in run}
    needed = dict(re.match(r"([\w-]+)(.*)", text).groups() for text in project["dependencies"])  # type: ignore[union-attr]
    assert needs == {"python": project["requires-python"], **needed}


def test_licence_is_the_whole_agreement(root: Path) -> None:
    text = (root / "LICENSE").read_text()
    assert text.startswith("CeCILL FREE SOFTWARE LICENSE AGREEMENT\n\nVersion 2.1 dated 2013-06-21\n")
    assert [f"Article {n} -" in text for n in range(1, 14)] == [True] * 13
    assert text.rstrip().endswith("jurisdiction, by the more diligent Party.")
