"""The report contains the derivation, in every format, for every network of the library."""

from __future__ import annotations

import pytest

from snnmodels.coding import coding_catalogue, load_coding_network
from snnmodels.reports import derivation


@pytest.mark.parametrize("format", ["text", "markdown", "latex"])
@pytest.mark.parametrize("name", sorted(coding_catalogue()))
def test_every_network_has_a_report(name, format) -> None:
    network = load_coding_network(name)
    report = derivation(network.loss, format=format)
    for section in ("Joint loss", "What one spike changes", "Spike rule", "threshold form", "weight form"):
        assert section in report
    for parameter in network.loss.parameters.values():
        assert parameter.description in report
    # placeholders of the renderer never reach the reader
    assert not any(w in report for w in ("_coding_term", "_spikes", "_leak", "_step", "{x}"))


def test_markdown_threshold_of_the_three_costs() -> None:
    report = derivation(load_coding_network("joint").loss, format="markdown")
    assert r"\theta_i = B \kappa + {a}_i \mu + \frac{d_i^{2}}{2}" in report
    assert "| $B$ | $\\kappa$ | feedback inhibition by the population |" in report


def test_text_says_where_there_is_no_weight_form() -> None:
    report = derivation(load_coding_network("wiring_cost").loss)
    assert "There is none: only quadratic costs" in report


def test_slow_weights_are_reported() -> None:
    report = derivation(load_coding_network("oscillator").loss, format="latex")
    assert r"\Omega = \lambda D^{T} D + D^{T} A D" in report


def test_unknown_format() -> None:
    with pytest.raises(ValueError, match="format 'pdf' is not one of 'text', 'latex', 'markdown'"):
        derivation(load_coding_network("ring").loss, format="pdf")  # type: ignore[arg-type]
