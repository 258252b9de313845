"""C++ that every template may call, in front of its function."""

from __future__ import annotations

from ...symbolic.divided_differences import cpp_source

__all__ = ["headers"]

_ROOT = """
#ifndef SNNMODELS_ROOT
#define SNNMODELS_ROOT
#include<algorithm>
#include<cmath>
// Where a function crosses 0 upwards between low and high, by Newton iteration kept inside the bracket
template<class F> static inline double snn_root(F evaluate, double low, double high, double x, double tolerance)
{
    const double close = tolerance*(high - low);
    double slope;
    for (int k = 0; k < 60; k++)
    {
        const double value = evaluate(x, &slope);
        if (value > 0) high = x; else low = x;
        double next = x - value/slope;
        if (!(next >= low && next <= high)) next = 0.5*(low + high);
        const double moved = std::abs(next - x);
        x = next;
        if (moved <= close) break;
    }
    return x;
}
#endif
"""
_EXPDD = "#ifndef SNNMODELS_EXPDD_HEADER\n#define SNNMODELS_EXPDD_HEADER\n#include<cmath>\n{}\n#endif\n"


def headers(expdd: bool) -> str:
    """Root finding, and the divided differences where they are called."""
    return _ROOT + (_EXPDD.format(cpp_source("static inline")) if expdd else "")
