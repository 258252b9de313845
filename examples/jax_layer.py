"""A recipe for JAX: a spiking network as a function with exact gradients, within jit and between other functions.

`spiking` is what to copy. A linear map in JAX makes spike times of two numbers, the network's three neurons answer with
their first spikes, and the earliest of these is to come when a product of the two numbers says. Needs JAX: pip install
jax.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

import snnmodels as snn
from snnmodels.losses import FirstSpikes

jax.config.update("jax_enable_x64", True)  # before any array: times of float32 are off by a nanosecond


def spiking(simulation, shape):
    """A function of inputs and values, two dictionaries as `Simulation.forward` takes them, that JAX can differentiate.

    `shape` is that of what the simulation reads in one trial. Trials are those of the inputs.
    """

    def struct(x):
        return jax.ShapeDtypeStruct(jnp.shape(x), jnp.float64)

    def arrays(tree):
        return {key: np.asarray(x, dtype=float) for key, x in tree.items()}

    def forward(inputs, values):
        return simulation.forward_pass(arrays(inputs), arrays(values), gradient=False).observed

    def gradients(inputs, values, derivative):
        # JAX may call this whenever and as often as it likes: the batch goes forward again, and then its own way back
        batch = simulation.forward_pass(arrays(inputs), arrays(values))
        found = batch.backward(np.where(np.isinf(batch.observed), 0.0, derivative))  # a missing spike is a constant
        kinds = {s.name: "times" for s in simulation.network.inputs} | {
            c.name: "samples" for c in simulation.network.currents
        }
        return {name: found[f"{name}.{kinds[name]}"] for name in inputs}, {key: found[key] for key in values}

    @jax.custom_vjp
    def run(inputs, values):
        trials = len(next(iter(inputs.values())))
        result = jax.ShapeDtypeStruct((trials, *shape), jnp.float64)
        return jax.pure_callback(forward, result, inputs, values, vmap_method="sequential")

    def there(inputs, values):
        return run(inputs, values), (inputs, values)

    def back(given, derivative):
        results = jax.tree.map(struct, given)
        return jax.pure_callback(gradients, results, *given, derivative, vmap_method="sequential")

    run.defvjp(there, back)
    return run


rng = np.random.default_rng(0)
network = snn.Network(
    "three",
    inputs=[snn.SpikeInput("in", 4)],
    populations=[snn.Population("out", 3, snn.load_model("lif+exp_synapse"), learnable=["tau_m"])],
    projections=[snn.Projection("w", "in", "out", rng.uniform(1.2, 2.0, (4, 3)))],
    output="out",
    duration=40 * ms,
)
points = rng.uniform(-1, 1, (20, 2))  # trials, numbers
wanted = 12e-3 + 3e-3 * points[:, 0] * points[:, 1]  # seconds

with snn.Simulation(network, FirstSpikes(), batch_size=20, target="cpp_standalone") as simulation:
    answer = spiking(simulation, (3,))

    def loss(learned):
        """Mean squared error of the earliest spike, in ms²."""
        times = 10e-3 * jax.nn.sigmoid(points @ learned["map"] + learned["bias"])
        first = answer({"in": times}, {"w.w": learned["w"]})
        earliest = jnp.min(jnp.where(jnp.isfinite(first), first, 40e-3), axis=1)
        return jnp.mean(((earliest - wanted) / 1e-3) ** 2)

    learned = {"map": rng.normal(0, 0.5, (2, 4)), "bias": np.zeros(4), "w": network.trainable()["w.w"]}
    step = jax.jit(jax.value_and_grad(loss))
    _, found = step(learned)
    for name in learned:  # against a central difference along a direction
        d = rng.normal(size=np.shape(learned[name]))
        up, down = (loss({**learned, name: learned[name] + h * d}) for h in (1e-6, -1e-6))
        by_difference = (up - down) / 2e-6
        print(f"gradient by {name}: {jnp.vdot(found[name], d):.8f}, by a difference: {by_difference:.8f}")

    losses, mean, square = [], *(jax.tree.map(np.zeros_like, learned) for _ in range(2))
    for k in range(1, 151):
        value, found = step(learned)
        losses.append(float(value))
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, found)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, square, found)
        rate = 0.03 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        learned = jax.tree.map(lambda p, m, s: p - rate * m / (jnp.sqrt(s) + 1e-8), learned, mean, square)  # noqa: B023

print(f"mean squared error {losses[0]:.2f} ms² at first, {losses[-1]:.3f} ms² in the end")
plt.figure(figsize=(5, 3), layout="constrained")
plt.semilogy(losses)
plt.xlabel("step of Adam")
plt.ylabel("mean squared error (ms²)")
plt.savefig("jax_layer.png", dpi=150)
