"""C++ that every template may call, in front of its function."""

from __future__ import annotations

from ...symbolic.divided_differences import cpp_source

__all__ = ["headers"]

_COMMON = """
#ifndef SNNMODELS_COMMON
#define SNNMODELS_COMMON
#include<algorithm>
#include<cmath>
#include<cstdint>
static const uint64_t snn_bit[64] = {BITS};
// Asks for a row of weights before it is needed: which rows come next, no processor can guess
template<class T> static inline void snn_fetch(const T* row, int n)
{
    for (int k = 0; k < n; k += 64/sizeof(T)) __builtin_prefetch(row + k);
}
// Exponential of the short times inside a step: its series, to rounding; without the call it can overlap with others
static inline double snn_exp(double x)
{
    if (!(std::abs(x) <= 0.25)) return std::exp(x);
    const double x2 = x*x, x4 = x2*x2;
    const double low = x2*(1.0/2 + x*(1.0/6)) + x4*((1.0/24 + x*(1.0/120)) + x2*(1.0/720 + x*(1.0/5040)));
    const double high = x4*x4*((1.0/40320 + x*(1.0/362880)) + x2*(1.0/3628800 + x*(1.0/39916800)) + x4*(1.0/479001600));
    return 1 + (x + (low + high));
}
// Where a function crosses 0 upwards between low and high. Newton's step first, then the cubic through the last two
// values and slopes of the inverse function, kept inside the bracket; its error goes with the squares of both errors.
template<class F> static inline double snn_root(F evaluate, double low, double high, double x)
{
    const double width = high - low, per_width = 1/width;
    double before = 0, value_before = 0, inverse_before = 0;
    for (int k = 0; k < 60; k++)
    {
        double slope;
        const double value = evaluate(x, &slope);
        if (value > 0) high = x; else low = x;
        const double inverse = 1/slope, newton = -value*inverse, square = newton*newton;
        double next = x + newton;
        bool close = square <= 1e-16*width*width;
        if (k > 0 && value != value_before)
        {
            const double per_span = 1/(value - value_before), chord = (x - before)*per_span;
            const double bend = (inverse - chord)*per_span, turn = (bend - (chord - inverse_before)*per_span)*per_span;
            const double more = value*value*(bend - turn*value_before);
            if (std::abs(more) < 0.5*std::abs(newton))
            {
                next += more;
                // error = scale^3 ((next - before) (next - x))^2 with scale = |more|/newton^2 + 1/width
                const double scaled = std::abs(more) + square*per_width, both = (next - before)*(next - x);
                close = scaled*scaled*scaled*both*both <= 1e-16*width*square*square*square;
            }
        }
        if (!(next >= low && next <= high))
        {
            next = 0.5*(low + high);
            close = std::abs(next - x) <= 1e-16*width;
        }
        before = x;
        value_before = value;
        inverse_before = inverse;
        x = next;
        if (close) break;
    }
    return x;
}
#endif
""".replace("BITS", ", ".join(f"{1 << k}ULL" for k in range(64)))
_EXPDD = "#ifndef SNNMODELS_EXPDD_HEADER\n#define SNNMODELS_EXPDD_HEADER\n#include<cmath>\n{}\n#endif\n"


def headers(expdd: bool) -> str:
    """What all templates share, and the divided differences where they are called."""
    return _COMMON + (_EXPDD.format(cpp_source("static inline")) if expdd else "")
