"""eventax: EventProp in JAX and Diffrax, with its own adjoint. Needs: pip install eventax.

Euler steps of 1 ms between events, float64. No optimiser is run: on so few weights it would not be seen. Networks read
by their first spikes only; a trial ends when all outputs have spiked, where the others go on to the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from benchmarks.serving import Contender, Meter, Task, serve

jax.config.update("jax_enable_x64", True)

import diffrax as dfx  # noqa: E402
import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from eventax.adjoint import EventPropAdjoint  # noqa: E402
from eventax.evnn import FFEvNN  # noqa: E402
from eventax.neuron_models import LIF  # noqa: E402

MS = 1e3  # everything in ms


class Eventax(Contender):
    """A feed-forward network of `eventax`."""

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        s = task.settings
        if not s["spiking"]:
            raise SystemExit("eventax: only networks read by their first spikes are set up here")
        first, second = task.weights
        n_in, n_hidden = first.shape
        n_out = second.shape[1]
        n = n_hidden + n_out
        # rows: hidden, output, input
        weights = np.zeros((n + n_in, n))
        weights[n:, :n_hidden] = first
        weights[:n_hidden, n_hidden:] = second
        self.model = FFEvNN(
            layers=[n_hidden, n_out],
            in_size=n_in,
            neuron_model=LIF,
            max_solver_time=s["duration"] * MS,
            key=jax.random.PRNGKey(0),
            solver_stepsize=1.0,
            adjoint=EventPropAdjoint(),
            solver=dfx.Euler(),
            max_event_steps=1000,
            output_no_spike_value=s["duration"] * MS,
            dtype=jnp.float64,
            thresh=1.0,
            tsyn=s["tau_syn"] * MS,
            tmem=s["tau_m"] * MS,
            init_weights=jnp.asarray(weights),
            init_bias=0.0,
        )
        tau0, tau1, alpha = (s[key] * (MS if key != "alpha" else 1) for key in ("tau0", "tau1", "alpha"))

        def loss(model: FFEvNN, times: jax.Array, labels: jax.Array) -> jax.Array:
            t = jax.vmap(model.ttfs)(times[:, :, None])
            label_time = jnp.take_along_axis(t, labels[:, None], axis=1)[:, 0]
            cross_entropy = label_time / tau0 + jax.nn.logsumexp(-t / tau0, axis=1)
            return jnp.mean(cross_entropy + alpha * jnp.expm1(label_time / tau1))

        self.forward = eqx.filter_jit(loss)
        self.gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss))

    def step(self, times: np.ndarray, labels: np.ndarray) -> None:
        """Loss alone, and loss and gradient."""
        arrays = jnp.asarray(times * MS), jnp.asarray(labels)
        with self.meter.section("forward"):
            jax.block_until_ready(self.forward(self.model, *arrays))
        with self.meter.section("batch"):
            jax.block_until_ready(eqx.filter(self.gradient(self.model, *arrays), eqx.is_array))


if __name__ == "__main__":
    serve(Eventax, version("eventax"))
