#!/usr/bin/env python3
"""Build and run a CUDA project on a CPU: rewrite what is no C++, compile with g++, run with a chosen order of threads.

    cudacpu.py build PROJECT OUT [--check none|address|race]
    cudacpu.py run OUT [--order forward|reverse|random:SEED] [--max-threads N] [-- ARGUMENTS OF THE PROGRAM]

Needs python3, g++ and make.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCH = 900  # what __CUDA_ARCH__ is in device code
SOURCES = (".cu", ".cuh", ".h", ".hpp", ".cpp", ".cc")
MARK = re.compile(r"\b(__global__|__device__)\b")
LAUNCH = re.compile(r"((?:\w+::)*\w+(?:<[^<>;(){}]*>)?)\s*<<<")
SHARED = re.compile(
    r"\b(extern\s+)?__shared__\s+((?:__align__\([^)]*\)\s*|alignas\([^)]*\)\s*)*)"
    r"([\w:]+(?:\s*<[^;{}()]*>)?(?:\s+[\w:]+)*?\s*[*&]?)\s*\b(\w+)\s*((?:\[[^\]]*\]\s*)*);"
)


def blanked(text: str) -> str:
    """The text with comments, strings and characters replaced by blanks, every position kept."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.DOTALL)


def closing(text: str, start: int, pair: str) -> int:
    """Position after the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] == pair[0]:
            depth += 1
        elif text[i] == pair[1]:
            depth -= 1
            if depth == 0:
                return i + 1
    raise ValueError(f"no closing {pair[1]} for the bracket at character {start}")


@dataclass(frozen=True)
class Function:
    """A definition with __device__ or __global__: positions of its declaration and of its end, and its name."""

    start: int
    end: int
    name: str
    dual: bool  # __host__ as well


def functions(plain: str) -> list[Function]:
    """All definitions of device functions in a blanked text."""
    found: list[Function] = []
    for mark in MARK.finditer(plain):
        if found and mark.start() < found[-1].end:
            continue
        before = plain[: mark.start()]
        start = max(before.rfind(";"), before.rfind("}"), before.rfind("{")) + 1
        for line in re.finditer(r"^[ \t]*#[^\n]*$", plain[start : mark.start()], re.MULTILINE):
            start = start + line.end()
            break
        start = max([start, *(start + m.end() for m in re.finditer(r"^[ \t]*#[^\n]*$", before[start:], re.MULTILINE))])
        i, brace = mark.end(), None
        while i < len(plain) and plain[i] != ";":
            if plain[i] == "(":
                i = closing(plain, i, "()")
                continue
            if plain[i] == "{":
                brace = i
                break
            i += 1
        if brace is None:
            continue  # a declaration or a variable
        header = re.sub(r"__launch_bounds__\s*\([^)]*\)|__align__\([^)]*\)", "", plain[start:brace])
        name = re.search(r"([~\w]+|operator\s*\S+?)\s*\(", header)
        if name is None:
            continue
        found.append(Function(start, closing(plain, brace, "{}"), name[1], "__host__" in header))
    return found


def dual_names(texts: list[str]) -> set[str]:
    """Names of functions that compile differently for host and device, directly or through what they call."""
    bodies: dict[str, str] = {}
    for text in texts:
        plain = blanked(text)
        for f in functions(plain):
            if f.dual and not f.name.startswith(("operator", "~")):
                bodies[f.name] = bodies.get(f.name, "") + plain[f.start : f.end]
    names = {name for name, body in bodies.items() if "__CUDA_ARCH__" in body}
    while True:
        more = {n for n, body in bodies.items() if n not in names and names & set(re.findall(r"\w+", body))}
        if not more:
            return names
        names |= more


def rewritten(text: str, name: str, dual: set[str]) -> str:
    """Make C++ of CUDA C++; `name` goes into line directives.

    Device code sees __CUDA_ARCH__, host code doesn't. A function for both that depends on it becomes two, of which
    device code uses the one called NAME__device.
    """
    plain = blanked(text)
    edits: list[tuple[int, int, str]] = []

    def line(position: int) -> str:
        return f'\n#line {text.count(chr(10), 0, position) + 1} "{name}"\n'

    for f in functions(plain):
        words = set(re.findall(r"\w+", plain[f.start : f.end]))
        used = sorted(words & dual)
        if "__CUDA_ARCH__" not in words and not used:
            continue
        opening = f"\n#define __CUDA_ARCH__ {ARCH}\n" + "".join(f"#define {n} {n}__device\n" for n in used)
        ending = "\n#undef __CUDA_ARCH__\n" + "".join(f"#undef {n}\n" for n in used) + line(f.end)
        if f.dual and f.name in dual:
            edits.append((f.end, f.end, opening + line(f.start) + _inside(text, plain, f.start, f.end) + ending))
        else:
            edits.append((f.start, f.start, opening + line(f.start)))
            edits.append((f.end, f.end, ending))
    edits += _local_edits(text, plain, 0, len(text))
    edits.sort(key=lambda e: (e[0], e[1]))
    parts, at = [f'#line 1 "{name}"\n'], 0
    for start, end, new in edits:
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def _inside(text: str, plain: str, start: int, end: int) -> str:
    """A part of the text with its local edits."""
    parts, at = [], start
    for a, b, new in sorted(_local_edits(text, plain, start, end)):
        parts += [text[at:a], new]
        at = b
    return "".join([*parts, text[at:end]])


def _local_edits(text: str, plain: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Launches, shared variables and attributes between two positions."""
    edits = []
    for m in LAUNCH.finditer(plain, start, end):
        close = plain.index(">>>", m.end())
        kernel, config = text[m.start(1) : m.end(1)], text[m.end() : close]
        edits.append((m.start(), close + 3, f'::cudacpu::launcher("{kernel}", {kernel}, {config})'))
    for m in SHARED.finditer(plain, start, end):
        kind, variable, size = m[3].strip(), m[4], m[5].strip()
        if m[1]:
            new = f"{kind}* const {variable} = ({kind}*)::cudacpu::shared_dynamic();"
        else:
            tag = f"cudacpu_{variable}"
            new = (
                f"static char {tag}_tag; typedef {kind} {tag}_type{size}; {tag}_type& {variable} = "
                f"*({tag}_type*)::cudacpu::shared_static(&{tag}_tag, sizeof({tag}_type), alignof({tag}_type));"
            )
        edits.append((m.start(), m.end(), new))
    for m in re.finditer(r"\b__noinline__\b", plain[start:end]):
        edits.append((start + m.start(), start + m.end(), "__attribute__((noinline))"))
    return edits


FLAGS = ["-std=c++17", "-w", "-g1", "-ffp-contract=off", f"-I{HERE / 'include'}"]
MAKEFILE = """\
FLAGS = @flags@
OBJS = @objects@

main: $(OBJS)
\t$(CXX) $^ @executor@ -o $@ -rdynamic @link@

all.h.gch: all.h
\t$(CXX) $(FLAGS) -x c++-header $< -o $@

%.o: %.cu all.h.gch
\t$(CXX) $(FLAGS) -include all.h -x c++ -c $< -o $@
"""
CHECKS = {
    # compiler flags for the project, for the executor, for the linker
    "none": ("", "", ""),
    "address": (
        "-fsanitize=address,undefined -fno-sanitize=alignment",
        "-fsanitize=address",
        "-fsanitize=address,undefined",
    ),
    "race": ("-fsanitize=thread --param tsan-distinguish-volatile=1", "", ""),
}


def fingerprint() -> str:
    """Hash of the emulator itself."""
    files = sorted(p for folder in ("include", "src") for p in (HERE / folder).rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for p in [HERE / "cudacpu.py", HERE / "nvcc", *files]:
        digest.update(p.read_bytes())
    return digest.hexdigest()[:16]


def compile_with(words: list[str]) -> None:
    subprocess.run([*os.environ.get("CXX", "g++").split(), *words], check=True)


def executor(check: str) -> list[Path]:
    """Objects of the executor, compiled once for all programs."""
    _, runtime, _ = CHECKS[check]
    sources = ["cudacpu", *(["racecheck"] if check == "race" else [])]
    kept = Path(tempfile.gettempdir()) / f"cudacpu-{os.getuid()}-{fingerprint()}-{check}"
    if not kept.is_dir():
        making = Path(tempfile.mkdtemp(prefix=f"{kept.name}-", dir=kept.parent))
        for name in sources:
            words = ["-O2", *runtime.split(), "-c", str(HERE / f"src/{name}.cpp"), "-o", str(making / f"{name}.o")]
            compile_with([*FLAGS, *words])
        try:
            making.rename(kept)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return [kept / f"{name}.o" for name in sources]


def build(
    project: Path,
    out: Path,
    *,
    check: str = "none",
    optimise: str = "-O1",
    jobs: int | None = None,
    sources: Collection[str] | None = None,
) -> None:
    """Copy a project into the new folder `out`, rewritten, and compile it to `out`/main.

    Parameters
    ----------
    project : Path
        Folder with all .cu files of one program.
    out : Path
    check : {"none", "address", "race"}
        What the program checks while it runs, besides what it always checks.
    optimise : str
    jobs : int or None
        Compilers to run at once; None for one per core.
    sources : collection of str or None
        Names of the .cu files in `project`; None for all that are there.

    Raises
    ------
    subprocess.CalledProcessError
        If something doesn't compile.
    """
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(project, out, ignore=shutil.ignore_patterns("*.o", "*.d", "main", "results"))
    files = [p for p in sorted(out.rglob("*")) if p.suffix in SOURCES and p.is_file()]
    texts = {p: p.read_text() for p in files}
    dual = dual_names(list(texts.values()))
    for p, text in texts.items():
        p.write_text(rewritten(text, str(p.relative_to(out)), dual))
    standard = ["algorithm", "chrono", "climits", "cmath", "csignal", "ctime", "fstream", "iomanip", "iostream", "map",
                "random", "set", "sstream", "string", "tuple", "vector"]  # fmt: skip
    own = ["cudacpu.h", "curand_kernel.h", "cooperative_groups.h", "thrust/device_vector.h"]
    headers = [f"#include <{h}>" for h in standard] + [f'#include "{h}"' for h in own]
    (out / "all.h").write_text("#pragma once\n" + "\n".join(headers) + "\n")
    if sources is None:
        sources = [str(p.relative_to(out)) for p in files if p.suffix == ".cu"]
    flags, _, link = CHECKS[check]
    values = {
        "flags": shlex.join([*FLAGS, "-I.", optimise, *flags.split()]),
        "link": link,
        "executor": shlex.join(map(str, executor(check))),
        "objects": " ".join(str(Path(name).with_suffix(".o")) for name in sorted(sources)),
    }
    makefile = re.sub(r"@(\w+)@", lambda m: values[m[1]], MAKEFILE)
    for other in ("Makefile", "makefile"):
        (out / other).unlink(missing_ok=True)
    (out / "Makefile").write_text(makefile)
    jobs = jobs or len(os.sched_getaffinity(0))
    subprocess.run(["make", "-s", f"-j{jobs}"], cwd=out, check=True)


def settings(order: str, max_threads: int, fill: int = 0xFB) -> dict[str, str]:
    """Environment variables that tell a built program what `run` is told."""
    return {
        "CUDACPU_ORDER": order,
        "CUDACPU_MAX_THREADS": str(max_threads),
        "CUDACPU_FILL": str(fill),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:handle_segv=0:"
        + os.environ.get("ASAN_OPTIONS", ""),
        "UBSAN_OPTIONS": "print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""),
    }


def run(
    out: Path,
    *arguments: str,
    order: str = "forward",
    max_threads: int = 1024,
    fill: int = 0xFB,
    results: str = "results/",
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a built project.

    Parameters
    ----------
    out : Path
    *arguments : str
        For the program.
    order : str
        In which the threads of a block and the blocks of a grid run: forward, reverse or random:SEED.
    max_threads : int
        Largest block, and the block size that occupancy queries recommend. Small ones make many blocks of a small
        network.
    fill : int
        Byte that device and shared memory holds before it is written.
    results : str
        Folder in `out` for the results, given to the program as Brian2 expects it; empty for none.
    timeout : float or None

    Returns
    -------
    CompletedProcess
        With the text of both streams; addresses in reports are replaced by functions and lines.
    """
    environment = {**os.environ, **settings(order, max_threads, fill)}
    if results:
        (out / results).mkdir(parents=True, exist_ok=True)
        arguments = ("--results_dir", results, *arguments)
    command = ["./main", *arguments]
    done = subprocess.run(
        command, cwd=out, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    done.stderr = _with_lines(done.stderr, out)
    return done


def _with_lines(text: str, out: Path) -> str:
    """Addresses of the program in a report replaced by what addr2line knows of them."""
    offsets = sorted(set(re.findall(r"@(0x[0-9a-f]+)@", text)))
    if not offsets or shutil.which("addr2line") is None:
        return text
    command = ["addr2line", "-Cfpe", str(out / "main"), *offsets]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    known = {o: line.replace(f"{out.resolve()}/", "") for o, line in zip(offsets, lines, strict=True)}
    return re.sub(r"@(0x[0-9a-f]+)@", lambda m: known[m[1]], text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    b = commands.add_parser("build")
    b.add_argument("project", type=Path)
    b.add_argument("out", type=Path)
    b.add_argument("--check", choices=CHECKS, default="none")
    b.add_argument("--optimise", default="-O1")
    b.add_argument("--jobs", type=int)
    r = commands.add_parser("run")
    r.add_argument("out", type=Path)
    r.add_argument("--order", default="forward")
    r.add_argument("--max-threads", type=int, default=1024)
    r.add_argument("--fill", type=lambda s: int(s, 0), default=0xFB)
    r.add_argument("--results", default="results/")
    command, program = sys.argv[1:], []
    if "--" in command:
        command, program = command[: command.index("--")], command[command.index("--") + 1 :]
    a = parser.parse_args(command)
    if a.command == "build":
        build(a.project, a.out, check=a.check, optimise=a.optimise, jobs=a.jobs)
        return 0
    done = run(a.out, *program, order=a.order, max_threads=a.max_threads, fill=a.fill, results=a.results)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
