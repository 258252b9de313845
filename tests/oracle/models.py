"""Small models, written by hand so that these tests need no template library."""

from __future__ import annotations

import dataclasses

from snnmodels.templates.model import Assignment, Model, Parameter, Receptor, Refractory, State

MS = 1e-3


def make(
    name: str,
    derivatives: dict[str, str],
    parameters: dict[str, float],
    threshold: str | None,
    reset: str,
    on_pre: str,
    initial: dict[str, str] | None = None,
) -> Model:
    """A dimensionless model; names that start with tau or t_ are times, reset and on_pre are ';'-separated."""
    initial = initial or {}
    return Model(
        name=name,
        title=name,
        description="",
        references=(),
        states=tuple(State(x, "1", initial.get(x, "0")) for x in derivatives),
        derivatives=derivatives,
        parameters={
            p: Parameter(p, v, "second" if p.startswith("tau") else "1", repr(v)) for p, v in parameters.items()
        },
        threshold=threshold,
        reset=statements(reset),
        receptors={"syn": Receptor("syn", statements(on_pre))},
        equations="",
    )


def statements(text: str) -> tuple[Assignment, ...]:
    """Assignments separated by semicolons."""
    result = []
    for line in filter(None, (s.strip() for s in text.split(";"))):
        variable, operator, expression = line.split(None, 2)
        result.append(Assignment(variable, operator, expression))
    return tuple(result)


def lif(v_reset: float = 0.0, v_0: float = 0.0) -> Model:
    """Leaky integrate-and-fire, exponential synaptic current."""
    return make(
        "lif_exp",
        {"v": "(v_rest + i_syn - v)/tau_m", "i_syn": "-i_syn/tau_syn"},
        {"tau_m": 20 * MS, "tau_syn": 5 * MS, "v_th": 1.0, "v_reset": v_reset, "v_rest": 0.0, "v_0": v_0},
        "v > v_th",
        "v = v_reset",
        "i_syn += w",
        {"v": "v_0"},
    )


def lif_delta(v_rest: float = 0.3, v_th: float = 1.0) -> Model:
    """Leaky integrate-and-fire, arriving spikes step the membrane potential."""
    return make(
        "lif_delta",
        {"v": "(v_rest - v)/tau_m"},
        {"tau_m": 20 * MS, "v_th": v_th, "v_reset": 0.0, "v_rest": v_rest},
        "v > v_th",
        "v = v_reset",
        "v += w",
        {"v": "v_rest/2"},
    )


def lif_alpha() -> Model:
    """Leaky integrate-and-fire, double-exponential current."""
    return make(
        "lif_alpha",
        {"v": "(i_syn - v)/tau_m", "i_syn": "(s - i_syn)/tau_syn", "s": "-s/tau_rise"},
        {"tau_m": 20 * MS, "tau_syn": 5 * MS, "tau_rise": 2 * MS, "v_th": 1.0, "v_reset": 0.0},
        "v > v_th",
        "v = v_reset",
        "s += w",
    )


def adaptive() -> Model:
    """Leaky integrate-and-fire whose threshold rises with every spike."""
    return make(
        "adaptive",
        {"v": "(i_syn - v)/tau_m", "i_syn": "-i_syn/tau_syn", "a": "-a/tau_a"},
        {"tau_m": 20 * MS, "tau_syn": 5 * MS, "tau_a": 30 * MS, "v_th": 0.8, "v_reset": 0.1, "mu": 0.2, "b_a": 1.0},
        "v > v_th + mu*a",
        "v = v_reset; a += b_a",
        "i_syn += w",
    )


def qif(v_th: float = 1.5) -> Model:
    """Quadratic integrate-and-fire."""
    return make(
        "qif",
        {"v": "(v*(v - v_c) + i_syn)/tau_m", "i_syn": "-i_syn/tau_syn"},
        {"tau_m": 10 * MS, "tau_syn": 5 * MS, "v_c": 0.5, "v_th": v_th, "v_reset": -0.2, "v_0": 0.05},
        "v > v_th",
        "v = v_reset",
        "i_syn += w",
        {"v": "v_0"},
    )


def eif() -> Model:
    """Exponential integrate-and-fire."""
    return make(
        "eif",
        {"v": "(-v + delta*exp((v - v_t)/delta) + i_syn)/tau_m", "i_syn": "-i_syn/tau_syn"},
        {"tau_m": 20 * MS, "tau_syn": 5 * MS, "v_t": 0.8, "delta": 0.1, "v_th": 1.2, "v_reset": 0.0},
        "v > v_th",
        "v = v_reset",
        "i_syn += w",
    )


def integrator() -> Model:
    """Leaky readout that does not spike."""
    return make(
        "readout",
        {"v": "(i_syn - v)/tau_m", "i_syn": "-i_syn/tau_syn"},
        {"tau_m": 20 * MS, "tau_syn": 5 * MS},
        None,
        "",
        "i_syn += w",
    )


def refractory(
    model: Model, t_ref: float = 2 * MS, hold: tuple[str, ...] = ("v",), arrivals: str = "ignore"
) -> Model:
    """The model with a refractory period t_ref."""
    return dataclasses.replace(
        model,
        name=f"{model.name}_refractory",
        parameters={**model.parameters, "t_ref": Parameter("t_ref", t_ref, "second", repr(t_ref))},
        refractory=Refractory("t_ref", hold, arrivals),
    )
