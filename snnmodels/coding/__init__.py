"""Spike-coding networks derived from a joint loss of coding error and activity.

A reconstruction, from the literature, of the networks in S. W. Keemink's talk "Trading Off Performance and Energy in
Spiking Networks" (2022); no code or paper of the talk is public.
"""
