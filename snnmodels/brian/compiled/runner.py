"""Code runners with C++ templates of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brian2.codegen.targets import codegen_targets
from brian2.core.variables import Variable
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject

from ..runner import ArrayRunner
from .headers import headers

__all__ = ["TemplateRunner"]


class SnnCodeObject(CPPStandaloneCodeObject):
    """C++ standalone code objects that find this package's templates before Brian2's."""

    templater = CPPStandaloneCodeObject.templater.derive("snnmodels.brian.compiled")


codegen_targets.add(SnnCodeObject)


class TemplateRunner(ArrayRunner):
    """Runs one C++ template in every step; `expdd` says whether it calls divided differences."""

    def __init__(
        self,
        template: str,
        arrays: Mapping[str, Variable],
        *,
        when: str,
        name: str,
        order: int = 0,
        keywords: Mapping[str, Any] | None = None,
        expdd: bool = False,
    ) -> None:
        given = {**(keywords or {}), "headers": headers(expdd)}
        super().__init__(template, arrays, SnnCodeObject, when=when, name=name, order=order, keywords=given)
