"""A spiking network between layers of PyTorch, trained by Adam of torch: points of the Yin-Yang set, told apart.

A linear layer turns each point into ten spike times, LIF neurons pass them on to readouts without a threshold, and
another linear layer reads the largest potential of each. Weights, membrane time constants and both linear layers are
learned together, by exact gradients all the way. Needs PyTorch: pip install 'snnmodels[torch]'.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from brian2 import ms

import snnmodels as snn
from snnmodels.datasets import yin_yang_split
from snnmodels.losses import Maxima

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(0)
lif, readout = snn.load_model("lif+exp_synapse"), snn.load_model("leaky_integrator+exp_synapse")
network = snn.Network(
    "middle",
    inputs=[snn.SpikeInput("in", 10)],
    populations=[
        snn.Population("hidden", 40, lif, {"tau_m": np.full(40, 20e-3)}, learnable=["tau_m"]),
        snn.Population("out", 10, readout),
    ],
    projections=[
        snn.Projection("in_hidden", "in", "hidden", rng.normal(1.0, 0.8, (10, 40))),
        snn.Projection("hidden_out", "hidden", "out", rng.normal(0.0, 0.3, (40, 10))),
    ],
    output="out",
    duration=40 * ms,
)


class Times(torch.nn.Module):
    """Any real numbers as spike times."""

    def forward(self, x):
        """Within the first 20 ms, in seconds."""
        return 20e-3 * torch.sigmoid(x)


spiking = snn.torch.layer(network, Maxima(), batch_size=100, target="cpp_standalone")
encoder, decoder = torch.nn.Linear(4, 10), torch.nn.Linear(10, 3)
torch.nn.init.normal_(encoder.weight, std=4.0)  # so that points far apart have times far apart
model = torch.nn.Sequential(encoder, Times(), spiking, decoder)
# time constants are of the order of 0.01 s: their steps are to be small beside that
slow = [spiking.values["hidden.tau_m"]]
fast = [p for p in model.parameters() if p is not slow[0]]
optimiser = torch.optim.Adam([{"params": fast, "lr": 2e-2}, {"params": slow, "lr": 2e-4}])
schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.93)

points, labels = (torch.from_numpy(part) for part in yin_yang_split("train"))
unseen, wanted = (torch.from_numpy(part) for part in yin_yang_split("test"))
losses = []
for _ in range(30):
    for batch in torch.randperm(2000).split(100):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(points[batch]), labels[batch])
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            slow[0].clamp_(5e-3, 100e-3)  # optimisers of torch know no bounds
        losses.append(loss.item())
    schedule.step()

with torch.no_grad():
    guesses = torch.cat([model(part) for part in unseen.split(100)]).argmax(1)
print(f"{100 * (guesses == wanted).double().mean():.1f} % of {len(wanted)} points that it was not trained on")
trained = spiking.network  # an ordinary network with the values learned, to be saved or simulated
print(f"membrane time constants from {1e3 * slow[0].min():.1f} to {1e3 * slow[0].max():.1f} ms")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
axes[0].plot(losses, color=snn.plots.PALETTE[0], linewidth=0.8)
axes[0].set(xlabel="step", ylabel="cross entropy", yscale="log")
for k, name in enumerate(("yin", "yang", "dot")):
    axes[1].scatter(*unseen[guesses == k, :2].T, s=4, color=snn.plots.PALETTE[k], label=name)
axes[1].set(title="test points, as they are told apart", aspect="equal", xticks=[], yticks=[])
axes[1].legend(fontsize=8, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
figure.savefig("torch_layer.png", dpi=150)
