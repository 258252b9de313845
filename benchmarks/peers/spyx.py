"""spyx: surrogate gradients in JAX, for orientation. Needs: pip install spyx.

Another method on the same network: spikes on the grid of the task's dt, float32, a surrogate for the derivative of the
threshold, a leaky integrator as readout with cross-entropy on its largest potential. Not an exact gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx.axn
import spyx.nn
from flax import nnx

from benchmarks.serving import Contender, Meter, Task, serve

RATE = 1e-15


class Spyx(Contender):
    """Linear, LIF with exponential synapse, linear, leaky integrator."""

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        s = task.settings
        n_in, n_hidden = task.weights[0].shape
        n_out = task.weights[1].shape[1]
        self.steps = round(s["duration"] / s["dt"])
        alpha, beta = (float(np.exp(-s["dt"] / s[key])) for key in ("tau_syn", "tau_m"))
        rngs = nnx.Rngs(0)
        model = spyx.nn.Sequential(
            nnx.Linear(n_in, n_hidden, use_bias=False, rngs=rngs),
            spyx.nn.CuBaLIF((n_hidden,), alpha=alpha, beta=beta, activation=spyx.axn.superspike(), rngs=rngs),
            nnx.Linear(n_hidden, n_out, use_bias=False, rngs=rngs),
            spyx.nn.LI((n_out,), beta=beta, rngs=rngs),
        )
        # its membranes add the current whole, where ours add (1 - beta) of it
        for layer, w in zip((model.layers[0], model.layers[2]), task.weights, strict=True):
            layer.kernel.value = jnp.asarray((1 - beta) * w, dtype=jnp.float32)
        optimiser = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

        def loss(model: Any, raster: jax.Array, labels: jax.Array) -> jax.Array:
            potentials = spyx.nn.run(model, raster)[0]
            return optax.softmax_cross_entropy_with_integer_labels(potentials.max(axis=0), labels).mean()

        @nnx.jit
        def train(model: Any, optimiser: Any, raster: jax.Array, labels: jax.Array) -> jax.Array:
            value, gradients = nnx.value_and_grad(loss)(model, raster, labels)
            optimiser.update(model, gradients)
            return value

        self.model, self.optimiser, self.loss, self.train = model, optimiser, nnx.jit(loss), train

    def step(self, times: np.ndarray, labels: np.ndarray) -> None:
        """Loss alone, and a training step."""
        with self.meter.section("forward"):
            arrays = self._raster(times), jnp.asarray(labels)
            self.loss(self.model, *arrays).block_until_ready()
        with self.meter.section("batch"):
            arrays = self._raster(times), jnp.asarray(labels)
            self.train(self.model, self.optimiser, *arrays).block_until_ready()

    def _raster(self, times: np.ndarray) -> jax.Array:
        raster = np.zeros((self.steps, *times.shape), dtype=np.float32)
        trial, source = np.nonzero(np.isfinite(times))
        raster[np.floor(times[trial, source] / self.task.settings["dt"] + 1e-9).astype(int), trial, source] = 1
        return jnp.asarray(raster)


if __name__ == "__main__":
    serve(Spyx, version("spyx"))
