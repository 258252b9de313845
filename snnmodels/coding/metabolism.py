"""Published energy budgets of cortical neurons: what a spike, a synaptic event and rest cost in ATP.

Attwell & Laughlin (2001), An energy budget for signaling in the grey matter of the brain, J. Cereb. Blood Flow Metab.
21:1133-1145, https://doi.org/10.1097/00004647-200110000-00001: rodent neocortex, 4 spikes/s, 8000 boutons per neuron
that release with probability 1/4. Howarth, Gleeson & Attwell (2012), Updated energy budgets for neural computation in
the neocortex and cerebellum, J. Cereb. Blood Flow Metab. 32:1222-1232, https://doi.org/10.1038/jcbfm.2012.35: the same,
with action potentials whose sodium and potassium currents overlap less (1.24 times the least sodium entry, not 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..templates.arguments import check_numbers

__all__ = ["ATTWELL_LAUGHLIN_2001", "HOWARTH_2012", "MetabolicBudget"]


@dataclass(frozen=True)
class MetabolicBudget:
    """ATP molecules that the average neuron uses.

    Attributes
    ----------
    source : str
        Publication.
    action_potential : float
        Per spike, axon and soma.
    vesicles : float
        Released per spike: boutons times release probability.
    calcium : float
        Per vesicle, presynaptic calcium entry.
    recycling : float
        Per vesicle, uptake, refilling and recycling of transmitter and vesicle.
    postsynaptic : float
        Per vesicle, ions through postsynaptic receptors: what grows with the charge that the synapse delivers.
    resting : float
        Per second, resting potentials of the neuron and its glia.
    """

    source: str
    action_potential: float
    vesicles: float
    calcium: float
    recycling: float
    postsynaptic: float
    resting: float

    def __post_init__(self) -> None:
        """Refuse what is not a finite number from 0 up."""
        numbers = {k: v for k, v in vars(self).items() if k != "source"}
        check_numbers(**numbers)
        for name, value in numbers.items():
            if value < 0:
                raise ValueError(f"{name} = {value!r}; ATP is used, so expected a number from 0 up")

    @property
    def per_spike(self) -> float:
        """ATP of one spike of the average neuron, with all that it causes."""
        return self.action_potential + self.vesicles * (self.calcium + self.recycling + self.postsynaptic)

    def shares(self, rate: float) -> dict[str, float]:
        """What each part is of the whole at a rate.

        Parameters
        ----------
        rate : float
            Spikes per second of the average neuron.

        Returns
        -------
        dict of str to float
            ``action_potential``, ``postsynaptic``, ``calcium``, ``recycling`` and ``resting``; their sum is 1.
        """
        parts = {
            "action_potential": rate * self.action_potential,
            **{k: rate * self.vesicles * getattr(self, k) for k in ("postsynaptic", "calcium", "recycling")},
            "resting": self.resting,
        }
        return {name: part / sum(parts.values()) for name, part in parts.items()}


ATTWELL_LAUGHLIN_2001 = MetabolicBudget(
    source="Attwell & Laughlin (2001)",
    action_potential=3.84e8,
    vesicles=8000 * 0.25,
    calcium=1.2e4,
    recycling=1.1e4,
    postsynaptic=1.4e5,
    resting=3.42e8 + 1.02e8,
)
HOWARTH_2012 = replace(
    ATTWELL_LAUGHLIN_2001,
    source="Howarth, Gleeson & Attwell (2012)",
    action_potential=ATTWELL_LAUGHLIN_2001.action_potential * 1.24 / 4,
)
