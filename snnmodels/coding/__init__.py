"""Spike-coding networks derived from a joint loss of coding error and activity.

A reconstruction, from the literature, of the networks in S. W. Keemink's talk "Trading Off Performance and Energy in
Spiking Networks" (2022); no code or paper of the talk is public.
"""

from .alarms import BudgetWarning, ExplosionWarning, explosion_time
from .baselines import HeldOutPoint, held_out_coding, held_out_lif
from .brian import BrianNetwork, brian_network, simulate_brian, simulate_brian_together
from .brian_populations import BrianPopulations, brian_populations, simulate_populations_brian
from .decoders import golden_angle_decoder, log_uniform_norms, random_decoder, ring_decoder
from .energy import Energy, charge_per_spike, energy, energy_per_spike, synapses_per_spike
from .faults import CodingWarning
from .geometry import Box, bounding_box
from .library import coding_catalogue, load_coding_network
from .lif import LIFPopulation, LIFResponse
from .loss import Cost, JointLoss, LossError, Trace, joint_loss
from .metabolism import ATTWELL_LAUGHLIN_2001, HOWARTH_2012, MetabolicBudget
from .network import CodingNetwork, Homeostat, TimeCourse
from .populations import PopulationsResponse, TwoPopulations, simulate_populations, split_signs
from .rates import convex_rates
from .readouts import least_squares_decoder, length_corrected, scalar_gain
from .reference import simulate
from .response import Response
from .signals import Signal, circle_signal, dynamical_signal, smooth_signal
from .spike_rule import CodingTerm, SpikeRule, derive
from .theory import effective_cost
from .tradeoff import TradeoffPoint, at_equal_rate, measure, slope, sweep_cost, sweep_scale

__all__ = [
    "ATTWELL_LAUGHLIN_2001",
    "HOWARTH_2012",
    "Box",
    "BrianNetwork",
    "BrianPopulations",
    "BudgetWarning",
    "CodingNetwork",
    "CodingTerm",
    "CodingWarning",
    "Cost",
    "Energy",
    "ExplosionWarning",
    "HeldOutPoint",
    "Homeostat",
    "JointLoss",
    "LIFPopulation",
    "LIFResponse",
    "LossError",
    "MetabolicBudget",
    "PopulationsResponse",
    "Response",
    "Signal",
    "SpikeRule",
    "TimeCourse",
    "Trace",
    "TradeoffPoint",
    "TwoPopulations",
    "at_equal_rate",
    "bounding_box",
    "brian_network",
    "brian_populations",
    "charge_per_spike",
    "circle_signal",
    "coding_catalogue",
    "convex_rates",
    "derive",
    "dynamical_signal",
    "effective_cost",
    "energy",
    "energy_per_spike",
    "explosion_time",
    "golden_angle_decoder",
    "held_out_coding",
    "held_out_lif",
    "joint_loss",
    "least_squares_decoder",
    "length_corrected",
    "load_coding_network",
    "log_uniform_norms",
    "measure",
    "random_decoder",
    "ring_decoder",
    "scalar_gain",
    "simulate",
    "simulate_brian",
    "simulate_brian_together",
    "simulate_populations",
    "simulate_populations_brian",
    "slope",
    "smooth_signal",
    "split_signs",
    "sweep_cost",
    "sweep_scale",
    "synapses_per_spike",
]
