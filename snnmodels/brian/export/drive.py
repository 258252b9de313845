"""Input for an exported simulation when the user gives none: for a single model a network to put it in, and spikes."""

from __future__ import annotations

import zipfile

import brian2
import numpy as np

from ...datasets import yin_yang_latency, yin_yang_split
from ...events.engine import SimulationError
from ...events.plan import EnginePlan
from ...losses.observables import SpikeTimes
from ...targets import open_engine
from ...targets.devices import preferences
from ...templates.groups import Population, Projection, SpikeInput
from ...templates.model import Model
from ...templates.network import Network
from .simulation import one_trial

__all__ = [
    "driven_population",
    "encoded_label",
    "encoded_sample",
    "exact_weight_for_one_spike",
    "read_spikes",
    "regular_spikes",
    "weight_for_one_spike",
]

Array = np.ndarray

# Powers of two from 1e-18 to 1e12 in SI base units: from below a femtoampere to far above anything
_WEIGHTS = 2.0 ** np.arange(-60, 41)


def weight_for_one_spike(model: Model, receptor: str, duration: float = 0.1, dt: float = 1e-4) -> float:
    """Smallest power of two, as a weight, with which a single arrival at rest makes a neuron spike (more often).

    One run of numpy on as many neurons as there are weights to try.

    Parameters
    ----------
    model : Model
    receptor : str
        Name of the receptor the spike arrives at.
    duration, dt : float
        How long to wait for the spike, and the time step, in seconds.

    Returns
    -------
    float
        In SI base units.

    Raises
    ------
    ValueError
        If none does, as with an inhibitory receptor.
    """
    probe = _probe(model, receptor, duration, _WEIGHTS)
    former = brian2.defaultclock.dt
    # the largest weights overflow; the neurons spike before
    with np.errstate(all="ignore"), preferences({"codegen.target": "numpy"}):
        try:
            brian2.defaultclock.dt = dt * brian2.second
            trial = one_trial(probe, {"probe_input": np.zeros((1, 1))}, dt)
            brian2.Network(trial.objects).run(duration * brian2.second)
        finally:
            brian2.defaultclock.dt = former
    counts = np.asarray(trial.spikes["probe_neurons"].count)
    more = np.flatnonzero(counts > counts[0])
    if more.size == 0:
        raise _no_weight(model, receptor)
    return float(_WEIGHTS[more[0]])


def exact_weight_for_one_spike(model: Model, receptor: str, duration: float = 0.1, dt: float = 1e-4) -> float:
    """As `weight_for_one_spike` in continuous time: for models that have no simulation on a grid, too.

    The search takes larger weights to cause no fewer spikes; one so large that there is no trajectory counts as above.

    Parameters
    ----------
    model : Model
    receptor : str
    duration : float
        How long to wait for the spike, in seconds.
    dt : float
        Not used.

    Raises
    ------
    ValueError
        If no weight does.
    """
    plan = EnginePlan.of(_probe(model, receptor, duration, _WEIGHTS[:1]), [SpikeTimes()], input_gradients=False)
    engine = open_engine("numpy", plan)

    def spikes(weight: float) -> float:
        engine.set_weights(0, np.array([[weight]]))
        try:
            engine.forward([np.zeros((1, 1, 1))], gradient=False)
        except SimulationError:
            return np.inf
        return engine.spike_count(0)

    rest, below, above = spikes(0.0), 0, len(_WEIGHTS) - 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if spikes(_WEIGHTS[middle]) > rest else (middle, above)
    if not rest < spikes(_WEIGHTS[above]) < np.inf:
        raise _no_weight(model, receptor)
    return float(_WEIGHTS[above])


def _probe(model: Model, receptor: str, duration: float, weights: Array) -> Network:
    """One neuron for each weight, through which a spike arrives at time 0."""
    return Network(
        name="probe",
        inputs=(SpikeInput("probe_input", 1),),
        populations=(Population("probe_neurons", len(weights), model),),
        projections=(Projection("probe_synapses", "probe_input", "probe_neurons", weights[None, :], receptor),),
        output="probe_neurons",
        duration=duration,
    )


def _no_weight(model: Model, receptor: str) -> ValueError:
    return ValueError(
        f"{model.name}: no weight makes an arrival at receptor {receptor!r} cause a spike; give a weight yourself"
    )


def driven_population(
    model: Model,
    *,
    n: int = 10,
    sources: int = 20,
    rate: float = 20.0,
    duration: float = 0.1,
    dt: float = 1e-4,
    weight: float | None = None,
    seed: int = 0,
    exact: bool = False,
) -> tuple[Network, dict[str, Array]]:
    """Neurons of one model driven by Poisson spike trains through every receptor.

    Parameters
    ----------
    model : Model
    n, sources : int
        Number of neurons, and of input spike trains per receptor.
    rate : float
        Mean rate of an input, in Hz.
    duration, dt : float
        In seconds.
    weight : float or None
        Mean weight in SI base units; None for half of what makes a single arrival cause a spike, or 1 for a model
        that doesn't spike. Weights are uniform between 0.5 and 1.5 of it.
    seed : int
        Of the weights and the input.
    exact : bool
        Whether the weight is looked for in continuous time, not on the grid.

    Returns
    -------
    network : Network
        With the population ``"neurons"`` and an input ``"input_<receptor>"`` per receptor (none without a receptor).
    spikes : dict of str to array, shape (sources, spikes)
        Input spike times in seconds, on the grid, padded with inf.

    Raises
    ------
    ValueError
        If a number isn't positive, or no weight is given and none causes a spike.
    """
    for name, value in (("n", n), ("sources", sources), ("rate", rate), ("duration", duration), ("dt", dt)):
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")
    rng = np.random.default_rng(seed)
    inputs, projections, spikes = [], [], {}
    for receptor in model.receptors:
        mean = weight
        if mean is None:
            search = exact_weight_for_one_spike if exact else weight_for_one_spike
            mean = 0.5 * search(model, receptor, duration, dt) if model.spiking else 1.0
        source = SpikeInput(f"input_{receptor}", sources)
        inputs.append(source)
        weights = mean * rng.uniform(0.5, 1.5, (sources, n))
        projections.append(Projection(f"{source.name}_neurons", source.name, "neurons", weights, receptor))
        spikes[source.name] = _poisson(sources, rate, duration, dt, rng)
    network = Network(
        model.name, tuple(inputs), (Population("neurons", n, model),), tuple(projections), "neurons", duration
    )
    return network, spikes


def _poisson(n: int, rate: float, duration: float, dt: float, rng: np.random.Generator) -> Array:
    """Poisson spike trains on the grid, at most one spike per step; shape (n, spikes), padded with inf."""
    happens = rng.random((n, int(np.rint(duration / dt)))) < rate * dt
    most = int(happens.sum(axis=1).max())
    times = np.full((n, max(1, most)), np.inf)
    for source, row in enumerate(happens):
        steps = np.flatnonzero(row)
        times[source, : len(steps)] = steps * dt
    return times


def regular_spikes(network: Network) -> dict[str, Array]:
    """One spike per source of every input, spread evenly over the first half of the trial.

    Returns
    -------
    dict of str to array, shape (n, 1)
        Seconds.
    """
    return {s.name: np.linspace(0, network.duration / 2, s.n, endpoint=False)[:, None] for s in network.inputs}


def encoded_sample(network: Network) -> dict[str, Array] | None:
    """One sample in the code that the network declares, None where that needs data that can't be generated.

    Returns
    -------
    dict of str to array, shape (n,)
        The first sample of Yin-Yang's published test set; seconds.
    """
    if not _sampled(network):
        return None
    samples = yin_yang_split("test").samples[:1]
    return {network.inputs[0].name: yin_yang_latency(samples, longest=float(network.encoding["longest"]))[0]}


def encoded_label(network: Network) -> Array | None:
    """The label of `encoded_sample`, None where there is none.

    Returns
    -------
    int array, shape (1,)
    """
    return yin_yang_split("test").labels[:1] if _sampled(network) else None


def _sampled(network: Network) -> bool:
    """Whether there is a sample for a network that can be generated."""
    return network.encoding.get("code") == "yin_yang_latency" and [source.n for source in network.inputs] == [5]


def read_spikes(path: str, network: Network) -> dict[str, Array]:
    """Input spike times, and samples of currents, from an .npz file with one array per input, named like it.

    Parameters
    ----------
    path : str
    network : Network
        Its inputs name the arrays.

    Returns
    -------
    dict of str to array
        By input, as in the file; shapes and times are not checked here.

    Raises
    ------
    ValueError
        If the file can't be read as an .npz archive, or doesn't hold exactly one array per input.
    """
    try:
        with np.load(path) as archive:
            content = {name: np.asarray(archive[name], dtype=float) for name in archive.files}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npz file of spike times ({error})") from None
    wanted = [source.name for source in network.inputs] + [current.name for current in network.currents]
    if set(content) != set(wanted):
        raise ValueError(f"{path}: holds {sorted(content)}; expected one array per input, named {sorted(wanted)}")
    return content
