"""The command line: what each command prints, exit codes, one-line errors, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from snnmodels.cli import app
from snnmodels.datasets import Trials, yin_yang_split
from snnmodels.templates import equations_path, load_network, save_network

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    runner = CliRunner()

    def invoke(*arguments: str | Path) -> Result:
        return runner.invoke(app, [str(a) for a in arguments])

    return invoke


def one_line_error(result: Result) -> str:
    """The error line of a command that was given bad input."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


class TestProgram:
    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "COLUMNS": "120", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_as_a_module_leaves_no_file_behind(self, tmp_path: Path, root: Path) -> None:
        result = self.python("-m", "snnmodels", "show", "lif", TMPDIR=str(tmp_path), PYTHONPATH=str(root))
        assert result.returncode == 0, result.stderr
        assert "dv/dt" in result.stdout
        assert list(tmp_path.iterdir()) == []

    def test_error_is_one_line_without_traceback_unless_asked_for(self, root: Path) -> None:
        result = self.python("-m", "snnmodels", "show", "lfi", PYTHONPATH=str(root))
        assert result.returncode == 2
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("error: lfi: ")
        traced = self.python("-m", "snnmodels", "--debug", "show", "lfi", PYTHONPATH=str(root))
        assert traced.returncode == 1
        assert "TemplateError" in traced.stderr

    def test_help_imports_nothing_heavy(self, root: Path) -> None:
        code = (
            "import sys; from typer.testing import CliRunner; from snnmodels.cli import app; "
            "print(CliRunner().invoke(app, ['--help']).exit_code, {'brian2', 'sympy', 'numpy'} & set(sys.modules))"
        )
        assert self.python("-c", code, PYTHONPATH=str(root)).stdout == "0 set()\n"

    def test_list_imports_neither_brian2_nor_sympy(self, root: Path) -> None:
        code = (
            "import sys; from typer.testing import CliRunner; from snnmodels.cli import app; "
            "print(CliRunner().invoke(app, ['list']).exit_code, {'brian2', 'sympy', 'scipy'} & set(sys.modules))"
        )
        assert self.python("-c", code, PYTHONPATH=str(root)).stdout == "0 set()\n"


@pytest.mark.parametrize(
    "command",
    ["", "list", "show", "derive", "check-gradient", "build", "load-results", "train"]
    + [f"train {name}" for name in ("network", "yin-yang", "mnist")],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    assert len(result.stdout) > 400


class TestList:
    def test_every_kind(self, run: Run) -> None:
        lines = run("list").stdout.splitlines()
        rows = {tuple(line.split()[:2]) for line in lines}
        assert {
            ("neuron", "lif"),
            ("synapse", "delta_synapse"),
            ("mechanism", "adaptive_threshold"),
            ("network", "yin_yang"),
            ("coding", "joint"),
        } <= rows

    def test_one_kind(self, run: Run) -> None:
        for kind in ("synapse", "synapses"):
            lines = run("list", kind).stdout.splitlines()[1:]
            assert {line.split()[0] for line in lines} == {"synapse"}

    def test_unknown_kind(self, run: Run) -> None:
        error = one_line_error(run("list", "dendrite"))
        assert error == "error: kind 'dendrite' is not one of neuron, synapse, mechanism, network, coding"


class TestShow:
    def test_composition_apart_and_joined(self, run: Run) -> None:
        apart = run("show", "lif", "alpha_synapse", "adaptive_threshold")
        assert apart.exit_code == 0
        assert "tau_m" in apart.stdout
        assert apart.stdout == run("show", "lif+alpha_synapse+adaptive_threshold").stdout

    def test_network(self, run: Run) -> None:
        text = run("show", "yin_yang").stdout
        assert "input_hidden: input -> hidden through exp_synapse, 1000 weights" in text
        assert "hidden: 200 x lif+exp_synapse" in text

    def test_coding_network(self, run: Run) -> None:
        text = run("show", "joint").stdout
        assert "code 2 signals" in text
        assert "adaptation = a**2*mu" in text

    def test_coding_network_without_a_title(self, run: Run, tmp_path: Path) -> None:
        own = tmp_path / "bare.toml"
        own.write_text(
            'kind = "coding_network"\n[traces]\nr = { scope = "neuron", tau = "20*ms" }\n'
            '[decoder]\nkind = "ring"\nneurons = 4\nnorms = 0.1\n'
        )
        assert run("show", own).stdout.startswith("bare\n\n4 neurons code 2 signals\n")

    def test_the_loss_of_a_network_has_units(self, run: Run, tmp_path: Path) -> None:
        text = (equations_path() / "networks/yin_yang.toml").read_text()
        own = tmp_path / "own.toml"
        own.write_text(f'{text}\n[[loss]]\nkind = "spike_time_error"\ntau = "2*ms"\n[[loss]]\nfactor = 0.5\n'
                       'expression = "(t/s)**2"\nconstants = { s = "1*second" }\npopulation = "hidden"\n')  # fmt: skip
        (line,) = (x for x in run("show", own).stdout.splitlines() if x.startswith("Loss: "))
        assert line == (
            "Loss: SpikeTimeError(tau=2 ms, missing=10 ms) + 0.5 * ExpressionLoss(expression='(t/s)**2', "
            "constants={s: 1 second}, population='hidden', interval=1 ms)"
        )

    def test_own_file(self, run: Run, root: Path, tmp_path: Path) -> None:
        own = tmp_path / "mine.toml"
        own.write_text((root / "equations/neurons/lif.toml").read_text().replace("Leaky", "My own leaky"))
        assert "My own leaky" in run("show", own).stdout
        own.write_text(own.read_text().replace("tau_m = {", "tau_n = {"))
        assert str(own) in one_line_error(run("show", own))

    def test_file_that_is_no_toml(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text("kind = network")
        assert "bad.toml" in one_line_error(run("show", tmp_path / "bad.toml"))


class TestDerive:
    def test_formats(self, run: Run, tmp_path: Path) -> None:
        text = run("derive", "lif")
        assert text.exit_code == 0, text.output
        assert "dL/dw" in text.stdout
        assert r"\begin{equation" in run("derive", "lif", "--format", "latex").stdout
        written = run("derive", "lif", "--format", "markdown", "--out", tmp_path / "new/lif.md")
        assert written.stdout == f"written: {tmp_path / 'new/lif.md'}\n"
        assert (tmp_path / "new/lif.md").read_text().startswith("# ")

    def test_what_comes_next(self, run: Run, root: Path, tmp_path: Path) -> None:
        own = tmp_path / "mine.toml"
        own.write_text((root / "equations/neurons/lif.toml").read_text())
        derived = run("derive", own)
        assert derived.stderr == f"next: snnmodels check-gradient {own} (its gradient, by numbers)\n"
        assert "next:" not in derived.stdout
        network = tmp_path / "network.toml"
        text = (root / "equations/networks/yin_yang.toml").read_text()
        network.write_text(text.replace('model = "lif+exp_synapse"', 'model = ["mine.toml", "exp_synapse:a"]', 1))
        for name in (own.name, "exp_synapse:a"):
            assert name in one_line_error(run("derive", network))
        saved = tmp_path / "saved.toml"
        save_network(load_network("yin_yang"), saved)
        assert "snn.derivation(network.population('output').model)" in one_line_error(run("derive", saved))

    def test_coding_network(self, run: Run, root: Path, tmp_path: Path) -> None:
        by_name = run("derive", "joint")
        assert by_name.exit_code == 0, by_name.output
        (tmp_path / "joint.toml").write_text((root / "equations/coding/joint.toml").read_text())
        assert run("derive", tmp_path / "joint.toml").stdout == by_name.stdout

    def test_bad_input(self, run: Run) -> None:
        said = one_line_error(run("derive", "yin_yang"))
        assert said.endswith("is a network; derive the model of a population: snnmodels derive lif exp_synapse")
        assert run("derive", "lif", "--format", "pdf").exit_code == 2


class TestCheckGradient:
    def test_within_and_beyond_tolerance(self, run: Run) -> None:
        within = run("check-gradient", "lif")
        assert within.exit_code == 0, within.output
        assert "error" not in within.stderr
        assert "lif+exp_synapse, numpy: agrees (tolerance 1e-06)" in within.stdout
        assert "hidden.tau_m" in within.stdout
        assert "smallest |ġ|" in within.stdout
        # nothing agrees with the reference to that
        beyond = run("check-gradient", "lif", "--tolerance", "1e-18")
        assert beyond.exit_code == 1
        assert "DISAGREES" in beyond.stdout
        assert beyond.stderr.endswith("error: the gradient is beyond tolerance\n")

    def test_nothing_to_compare_with(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        from snnmodels.gradients import check

        monkeypatch.setattr(check, "STEPS", (1e-12,))  # differences that are nothing but rounding
        result = run("check-gradient", "lif", "--no-oracle", "--tolerance", "1e-9")
        assert result.exit_code == 3
        assert "lif+exp_synapse, numpy: UNRESOLVED" in result.stdout
        assert "error: nothing tells whether the gradient is right for input_hidden.w, " in result.stderr

    def test_bad_input(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "lfi: " in one_line_error(run("check-gradient", "lfi"))
        assert run("check-gradient", "lif", "--dt", "1").exit_code == 2  # there is no time step
        assert "--tolerance: expected a positive" in one_line_error(run("check-gradient", "lif", "--tolerance", "-1"))
        assert "spike-coding network" in one_line_error(run("check-gradient", "joint"))
        assert "checked as it is" in one_line_error(run("check-gradient", "yin_yang", "--recurrent"))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        assert "g++ is not installed" in one_line_error(run("check-gradient", "lif", "--target", "cpp_standalone"))


class TestTrain:
    def test_yin_yang_in_small(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from snnmodels.studies import experiments

        whole = experiments.yin_yang()

        def few(trials: Trials, n: int) -> Trials:
            samples = {name: values[:n] for name, values in trials.samples.items()}
            return Trials(samples, trials.targets[:n], trials.encode)

        small = replace(
            whole, train=few(whole.train, 40), validation=few(whole.validation, 20), overrides={"hidden": {"n": 10}}
        )
        monkeypatch.setattr(experiments, "yin_yang", lambda: small)
        monkeypatch.setattr("sys.argv", ["snnmodels", "train", "yin-yang"])  # not what started the tests
        options = ("--epochs", "1", "--target", "numpy", "--batch-size", "200", "--seed", "7")
        result = run("train", "yin-yang", *options, "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "test accuracy" in result.stdout
        assert f"figure: {tmp_path / 'out/yin_yang.png'}" in result.stdout
        assert (tmp_path / "out/yin_yang.png").stat().st_size > 10_000
        results = json.loads((tmp_path / "out/results.json").read_text())
        assert results["command"] == "snnmodels train yin-yang"
        assert len(results["runs"]["7"]["epochs"]) == 1

    def test_bad_input(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "nowhere" in one_line_error(run("train", "mnist", "--data", tmp_path / "nowhere"))
        out = ("--out", tmp_path / "out")
        assert run("train", "yin-yang", *out, "--epochs", "0").exit_code == 2
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        assert "g++ is not installed" in one_line_error(run("train", "yin-yang", *out))
        assert not (tmp_path / "out").exists()


class TestBuild:
    def test_model_and_network(self, run: Run, tmp_path: Path) -> None:
        model = ("lif", "-o", tmp_path / "lif", "--neurons", "3", "--duration", "20", "--seed", "1")
        built = run("build", *model, "--timing", "grid")
        assert built.exit_code == 0, built.output
        assert (tmp_path / "lif/Makefile").exists()
        assert "* `neurons`: 3 neurons" in (tmp_path / "lif/README.md").read_text()
        built = run("build", "yin_yang", "--out", tmp_path / "yy", "--timing", "grid", "--dt", "0.5")
        assert built.exit_code == 0, built.output
        assert "the first sample of the Yin-Yang test set" in built.stdout
        text = (tmp_path / "yy/README.md").read_text()
        assert "60 ms in steps of 0.5 ms, as C++ source code" in text
        assert "a project on a time grid" in one_line_error(run("load-results", tmp_path / "yy"))
        assert run("build", *model, "--force").exit_code == 0
        assert "there is no time step" in (tmp_path / "lif/README.md").read_text()
        assert "has no results: its program has not run" in one_line_error(run("load-results", tmp_path / "lif"))

    def test_gradient(self, run: Run, tmp_path: Path) -> None:
        gradient = ("build", "yin_yang", "--what", "gradient", "-o", tmp_path / "yy")
        built = run(*gradient, "--loss", "ttfs_cross_entropy")
        assert built.exit_code == 0, built.output
        assert f"next: cd {tmp_path / 'yy'} && make run && snnmodels load-results ." in built.stdout
        np.testing.assert_array_equal(np.load(tmp_path / "yy/targets.npy"), yin_yang_split("test").labels[:1])
        assert np.load(tmp_path / "yy/inputs/input.npy").shape == (1, 5, 1)
        np.savez(tmp_path / "s.npz", input=np.full((2, 5, 1), 1e-3))
        np.save(tmp_path / "labels.npy", [1, 2])
        given = ("--spikes", tmp_path / "s.npz", "--targets", tmp_path / "labels.npy")
        built = run(*gradient, *given, "--loss", "ttfs_cross_entropy", "--target", "cuda", "--force")
        assert built.exit_code == 0, built.output
        np.testing.assert_array_equal(np.load(tmp_path / "yy/targets.npy"), [1, 2])
        assert np.load(tmp_path / "yy/inputs/input.npy").shape == (2, 5, 1)
        built = run(*gradient, "--force")  # the file declares no loss
        assert "./main --forward; write derivatives/output.spikes.npy; ./main" in built.stdout
        assert "kind is 'ttfs'" in one_line_error(run(*gradient, "--force", "--loss", "ttfs"))
        assert "use --timing precise" in one_line_error(run(*gradient, "--force", "--timing", "grid"))
        assert "--loss is for --what gradient" in one_line_error(run("build", "lif", "-o", tmp_path, "--loss", "ttfs"))
        (tmp_path / "labels.npy").write_text("1, 2")
        assert "labels.npy: not a file of labels" in one_line_error(run(*gradient, *given, "--force"))

    def test_own_spikes_and_trained_weights(self, run: Run, tmp_path: Path) -> None:
        from snnmodels.training.checkpoint import Best, Checkpoint, save_checkpoint

        last, best = (np.full((200, 3), value) for value in (0.25, 0.5))
        save_checkpoint(
            tmp_path / "c.npz",
            Checkpoint(2, {"hidden_output.w": last}, {}, best=Best(1, 0.1, {"hidden_output.w": best})),
        )
        np.savez(tmp_path / "s.npz", input=np.arange(5) * 1e-3)
        given = ("--spikes", tmp_path / "s.npz", "--checkpoint", tmp_path / "c.npz")
        built = run("build", "yin_yang", "-o", tmp_path / "yy", *given)
        assert built.exit_code == 0, built.output
        assert "from the file s.npz" in (tmp_path / "yy/README.md").read_text()
        np.testing.assert_array_equal(np.load(tmp_path / "yy/values/hidden_output.w.npy"), best)
        np.testing.assert_array_equal(np.load(tmp_path / "yy/inputs/input.npy")[0, :, 0], np.arange(5) * 1e-3)
        built = run("build", "yin_yang", "-o", tmp_path / "yy", *given, "--timing", "grid", "--force")
        assert built.exit_code == 0, built.output
        assert "from the file s.npz" in (tmp_path / "yy/README.md").read_text()
        (weights,) = (tmp_path / "yy/static_arrays").glob("*_hidden_output_w")
        np.testing.assert_array_equal(np.fromfile(weights), np.full(600, 0.5))

    def test_bad_input(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full/thesis.tex").touch()
        assert "holds files that are no exported project" in one_line_error(
            run("build", "yin_yang", "-o", tmp_path / "full", "--force")
        )
        out = ("-o", tmp_path / "project")
        assert "--dt: expected a positive number of milliseconds, got -1" in one_line_error(
            run("build", "yin_yang", *out, "--dt", "-1")
        )
        assert "absent.npz" in one_line_error(run("build", "yin_yang", *out, "--spikes", tmp_path / "absent.npz"))
        assert "only a network is trained" in one_line_error(run("build", "lif", *out, "--checkpoint", "c.npz"))
        assert "joint is a spike-coding network" in one_line_error(run("build", "joint", *out))
        assert run("build", "yin_yang", *out, "--target", "fortran").exit_code == 2
        assert not (tmp_path / "project").exists()
