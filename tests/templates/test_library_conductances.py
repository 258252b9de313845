"""Conductance receptors of the library: one potential by quadrature, peaks, and NMDA's block."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothMaxima
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from snnmodels.templates.expressions import substitute


def largest(model: Model, variable: str, weight: float, duration: float) -> float:
    """Largest value of a state after one spike."""
    network = Network(
        "one",
        (SpikeInput("in", 1),),
        (Population("out", 1, model),),
        (Projection("w", "in", "out", np.array([[weight]])),),
        "out",
        duration,
    )
    with Simulation(network, SmoothMaxima(variable, 1.0), batch_size=1) as simulation:
        outcome = simulation.run({"in": np.zeros((1, 1, 1))}, np.zeros(1, dtype=int), gradient=False)
    return float(outcome.output[0, 0])


def test_the_peak_of_one_potential_is_that_of_its_integral() -> None:
    """v(t) = E/tau_m times the integral of g(s) exp(-(t - s)/tau_m - G(t) + G(s)) over s, G = integral of g/tau_m."""
    w, E, tau_m, tau = 0.7, 4.0, 20e-3, 5e-3

    def v(t: float) -> float:
        def total(s: float) -> float:
            return w * tau * (1 - np.exp(-s / tau)) / tau_m

        def part(s: float) -> float:
            return w * np.exp(-s / tau) * np.exp(-(t - s) / tau_m - total(t) + total(s))

        return E / tau_m * quad(part, 0, t, epsabs=0, epsrel=1e-12)[0]

    peak = -minimize_scalar(lambda t: -v(t), bounds=(1e-3, 40e-3), method="bounded", options={"xatol": 1e-9}).fun
    found = largest(load_model("leaky_integrator+exp_conductance"), "v", w, 40e-3)
    assert found == pytest.approx(peak, rel=1e-9)


@pytest.mark.parametrize(
    ("synapse", "state", "rise", "decay"),
    [("beta_conductance", "g", 2, 5), ("alpha_conductance", "g", 5, 5)],
)
def test_conductances_peak_as_their_files_say(synapse: str, state: str, rise: float, decay: float) -> None:
    r = rise / decay
    expected = np.exp(-1) if rise == decay else r ** (r / (1 - r))
    found = largest(load_model("leaky_integrator", synapse), state, 0.8, 60e-3)
    assert found == pytest.approx(0.8 * expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "rise", "decay", "reversal"),
    [("ampa", 0.5, 2.4, 0), ("gaba_a", 1, 7, -70), ("gaba_b", 60, 200, -90), ("nmda", 4, 40, 0)],
)
def test_receptors_have_the_values_of_nests_ht_neuron(name: str, rise: float, decay: float, reversal: float) -> None:
    values = {n: p.value for n, p in load_model("adex", name).parameters.items()}
    found = [values[f"tau_rise_{name}"], values[f"tau_{name}"], values[f"E_{name}"]]
    np.testing.assert_allclose(found, np.array([rise, decay, reversal]) * 1e-3, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "half"), [("nmda", np.log(1 / 3.57) / 0.062), ("nmda_sigmoid", -58.0)])
def test_half_of_nmda_is_open_where_its_file_says(name: str, half: float) -> None:
    """The current there is half of that without block."""
    model = load_model("adex", name)
    values = {n: repr(p.value) for n, p in model.parameters.items()}
    at = {**values, "v": repr(float(half) * 1e-3), "z": "0", "s_nmda": "0"}
    rates = [eval(substitute(model.derivatives["v"], {**at, "g_nmda": g}), {"exp": np.exp}) for g in ("0.0", "1e-6")]
    opened = (rates[1] - rates[0]) * float(values["C_m"]) / (1e-6 * (0 - half * 1e-3))
    assert opened == pytest.approx(0.5, rel=1e-9)


def test_a_conductance_has_the_unit_of_its_neuron() -> None:
    models = {n: load_model(n, "exp_conductance") for n in ("lif", "qif", "adex")}
    units = {n: m.receptors["exp_conductance"].weight_unit for n, m in models.items()}
    assert units == {"lif": "1", "qif": "1", "adex": "siemens"}
