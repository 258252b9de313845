"""Code runners with C++ templates of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brian2.codegen.targets import codegen_targets
from brian2.core.variables import Variable, Variables
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject
from brian2.groups.group import CodeRunner, Group

from .headers import headers

__all__ = ["TemplateRunner"]


class SnnCodeObject(CPPStandaloneCodeObject):
    """C++ standalone code objects that find this package's templates before Brian2's."""

    templater = CPPStandaloneCodeObject.templater.derive("snnmodels.brian.compiled")


codegen_targets.add(SnnCodeObject)


class TemplateRunner(Group, CodeRunner):
    """Runs one template in every step.

    Parameters
    ----------
    template : str
        Name of the template.
    arrays : mapping of str to Variable
        Arrays that the template reads and writes, by the name that it uses.
    when, order, name
        As for any Brian2 object.
    keywords : mapping
        What else the template reads.
    """

    add_to_magic_network = False

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
        Group.__init__(self, when=when, order=order, name=name)
        self.variables = Variables(self)
        self.variables.create_clock_variables(self._clock)
        self.variables.add_constant("N", 1)
        for key, variable in arrays.items():
            self.variables.add_reference(f"_snn_{key}", variable.owner, variable.name)
        CodeRunner.__init__(
            self,
            self,
            template,
            code="",
            when=when,
            order=order,
            name=None,
            needed_variables=[f"_snn_{key}" for key in arrays],
            template_kwds={**(keywords or {}), "headers": headers(expdd)},
            generate_empty_code=True,
            check_units=False,
            codeobj_class=SnnCodeObject,
        )
        self._enable_group_attributes()
