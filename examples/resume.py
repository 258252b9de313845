"""Training that is interrupted goes on from its checkpoint to the same weights; the network is saved and read again."""

import numpy as np

import snnmodels as snn
from snnmodels.datasets import yin_yang_latency, yin_yang_split

training, test = (
    snn.Trials({"input": samples[:1000]}, labels[:1000], yin_yang_latency)
    for samples, labels in map(yin_yang_split, ("train", "test"))
)
network = snn.load_network("yin_yang", hidden={"n": 50})


def train(epochs, checkpoint=None):
    """As many epochs in all; those that a checkpoint has are not trained again."""
    with snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=32, target="cpp_standalone") as simulation:
        options = {"epochs": epochs, "batch_size": 32, "checkpoint": checkpoint, "progress": False}
        result = snn.train(simulation, training, snn.Adam(snn.ExponentialDecay(5e-3, 0.95)), **options)
        return result, snn.evaluate(simulation, test, result.values)


train(4, "run.npz")  # as if the machine had stopped here
resumed, held_out = train(12, "run.npz")
whole, _ = train(12)
print("the same bits:", all(np.array_equal(resumed.values[key], whole.values[key]) for key in whole.values))
print(f"{100 * (1 - held_out.error):.1f} % of {len(test)} samples that it was not trained on")

snn.save_network(snn.with_values(network, resumed.values), "trained.toml")  # and trained.npz
again = snn.load_network("trained.toml")
with snn.Simulation(again, snn.TTFSCrossEntropy(), batch_size=32) as simulation:
    print("read again, the same error:", snn.evaluate(simulation, test).error == held_out.error)
snn.plots.learning_curves(resumed.history, measure="error").figure.savefig("resume.png", dpi=150)
