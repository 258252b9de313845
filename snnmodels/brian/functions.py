"""Functions that generated code calls, for every Brian2 target: root finding inside a step, divided differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sympy as sp
from brian2 import Function, second
from brian2.parsing.rendering import CPPNodeRenderer

from ..symbolic.divided_differences import MAX_NODES, ExpDD, cpp_source, expdd, exprel
from ..symbolic.parsing import print_expression
from ..symbolic.programs import Program
from ..targets.one_unit import GUARD

__all__ = ["bracket_function", "namespace_for", "root_function"]

# Newton converges quadratically: after a step this short (relative to the bracket) the error is below rounding
TOLERANCE = 1e-9
ITERATIONS = 60


def _implement(function: Function, name: str, source: str, n_arguments: int, uses_expdd: bool = False) -> Function:
    """Attach C++ source, with ``{q}`` for the qualifier, to a Brian2 function for Cython, C++ and CUDA."""
    for target, qualifier in (("cpp", "static inline"), ("cuda", "__host__ __device__ static inline")):
        code = source.replace("{q}", qualifier)
        if uses_expdd or source == EXPDD_SOURCE:
            # who calls divided differences brings them along: Brian2 may write him before what he depends on
            shared = EXPDD_SOURCE.replace("{q}", qualifier)
            own = "" if source == EXPDD_SOURCE else code
            code = f"#ifndef {GUARD}\n#define {GUARD}\n{shared}\n#endif\n{own}"
        function.implementations.add_implementation(target, code, name=name)
    body = (EXPDD_SOURCE if uses_expdd else "") + source
    # Cython compiles C++ as it is; a namespace of its own keeps several functions in a module apart
    cython = "\n".join(
        [
            "cdef extern from *:",
            '    """',
            "    #include <math.h>",
            f"    namespace ns_{name} {{",
            *("    " + line for line in body.replace("{q}", "static inline").splitlines()),
            "    }",
            '    """',
            f'    double {name} "ns_{name}::{name}"({", ".join(["double"] * n_arguments)})',
            "",
        ]
    )
    function.implementations.add_implementation("cython", cython, name=name)
    return function


# Brian2 has exprel of its own for its code, under another name in what is compiled
EXPDD_SOURCE = cpp_source("{q}") + "{q} double exprel(double x) { return x == 0 ? 1.0 : expm1(x)/x; }\n"
EXPDD: dict[str, Function] = {}
for _n in range(2, MAX_NODES + 1):
    _name = f"expdd{_n}"
    EXPDD[_name] = Function(expdd, arg_units=[1] * _n, return_unit=1, arg_types=["float"] * _n)
    EXPDD[_name].implementations.add_implementation("numpy", expdd)
    _implement(EXPDD[_name], _name, EXPDD_SOURCE, _n)


def namespace_for(programs: Iterable[Program]) -> dict[str, Function]:
    """The divided differences that the programs call, by name."""
    names = {f"expdd{len(d.args)}" for p in programs for d in _calls(p, ExpDD)}
    return {n: EXPDD[n] for n in sorted(names)}


def _calls(program: Program, *functions: type[sp.Function]) -> set[sp.Expr]:
    expressions = (*(rhs for _, rhs in program.statements), *program.outputs.values())
    return set().union(*(e.atoms(*functions) for e in expressions))


def _uses_expdd(program: Program) -> bool:
    return bool(_calls(program, ExpDD, exprel))


def _c_lines(program: Program, indent: str) -> str:
    render = CPPNodeRenderer().render_expr
    return "\n".join(f"{indent}const double {n.name} = {render(print_expression(e))};" for n, e in program.statements)


def root_function(name: str, program: Program, arguments: list[str], variable: str) -> Function:
    """A function ``name(*arguments, low, high)``: where ``value`` crosses 0 upwards, by bracketed Newton iteration.

    Parameters
    ----------
    name : str
        Of the function in generated code.
    program : Program
        Outputs ``value`` and ``slope``, its derivative by `variable`.
    arguments : list of str
        Inputs of the program other than `variable`.
    variable : str
        The unknown, a time in seconds.

    Returns
    -------
    brian2.Function
        Its value is `high` where the program is not positive there (no crossing), and `low` where it is positive there.
    """
    evaluate = program.compile([*arguments, variable])

    def numpy_root(*values: Any) -> np.ndarray:
        *inputs, low, high = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values))
        low, high = low.copy(), high.copy()
        given_low, given_high = low.copy(), high.copy()
        with np.errstate(all="ignore"):
            at_low, at_high = (np.asarray(evaluate(*inputs, r)["value"]) for r in (low, high))
            open_low, open_high = ~(at_low > 0), at_high > 0
            tolerance = TOLERANCE * np.abs(high - low)
            done = ~(open_low & open_high)  # nothing to be found: `low` or `high` is the answer
            x = np.where(at_high > 0, low + (high - low) * at_low / (at_low - at_high), high)  # secant
            for _ in range(ITERATIONS):
                result = evaluate(*inputs, x)
                up = result["value"] > 0
                high, low = np.where(up, x, high), np.where(up, low, x)
                newton = x - result["value"] / result["slope"]
                new = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
                new = np.where(done, x, new)  # rounding must not move what has converged
                done |= np.abs(new - x) <= tolerance
                x = new
                if done.all():
                    break
        return np.where(~open_low, given_low, np.where(open_high, x, given_high))

    body = _c_lines(program, "        ")
    render = CPPNodeRenderer().render_expr
    value, slope = (render(print_expression(program.outputs[k])) for k in ("value", "slope"))
    parameters = ", ".join(f"double {a}" for a in arguments)
    source = f"""
{{q}} double {name}_evaluate({parameters}, double {variable}, double* _slope)
{{
{body}
        *_slope = {slope};
        return {value};
}}
{{q}} double {name}({parameters}, double _low, double _high)
{{
    double _slope;
    const double _tolerance = {TOLERANCE!r}*(_high - _low);
    const double _at_low = {name}_evaluate({", ".join(arguments)}, _low, &_slope);
    if (_at_low > 0) return _low;
    const double _at_high = {name}_evaluate({", ".join(arguments)}, _high, &_slope);
    if (!(_at_high > 0)) return _high;
    double _x = _low + (_high - _low)*_at_low/(_at_low - _at_high);
    for (int _k = 0; _k < {ITERATIONS}; _k++)
    {{
        const double _value = {name}_evaluate({", ".join(arguments)}, _x, &_slope);
        if (_value > 0) _high = _x; else _low = _x;
        double _new = _x - _value/_slope;
        if (!(_new >= _low && _new <= _high)) _new = 0.5*(_low + _high);
        const double _moved = _new > _x ? _new - _x : _x - _new;
        _x = _new;
        if (_moved <= _tolerance) break;
    }}
    return _x;
}}
"""
    return _finish(name, numpy_root, source, len(arguments) + 2, second, _uses_expdd(program))


def bracket_function(name: str, program: Program, arguments: list[str], variable: str) -> Function:
    """A function ``name(*arguments, low)``: 1 where ``value`` is not positive at `low`, so a root can be bracketed.

    Parameters
    ----------
    name : str
        Of the function in generated code.
    program : Program
        With the output ``value``.
    arguments : list of str
        Inputs of the program other than `variable`.
    variable : str
        The unknown, of which `low` is a value.

    Returns
    -------
    brian2.Function
        Its value is 0 where the program is positive at `low`.
    """
    evaluate = program.compile([*arguments, variable])

    def numpy_bracket(*values: Any) -> np.ndarray:
        *inputs, low = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values))
        return np.where(evaluate(*inputs, low)["value"] > 0, 0.0, 1.0)

    render = CPPNodeRenderer().render_expr
    parameters = ", ".join(f"double {a}" for a in arguments)
    source = f"""
{{q}} double {name}({parameters}, double {variable})
{{
{_c_lines(program.select(["value"]), "    ")}
    return ({render(print_expression(program.outputs["value"]))}) > 0 ? 0.0 : 1.0;
}}
"""
    return _finish(name, numpy_bracket, source, len(arguments) + 1, 1, _uses_expdd(program))


def _finish(name: str, numpy_code: Callable[..., Any], source: str, n: int, unit: Any, uses_expdd: bool) -> Function:
    f = Function(numpy_code, arg_units=[None] * n, return_unit=unit, arg_types=["float"] * n)
    f.implementations.add_implementation("numpy", numpy_code)
    return _implement(f, name, source, n, uses_expdd)
