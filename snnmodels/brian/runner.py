"""Code runners whose code is a template of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brian2.codegen.codeobject import CodeObject
from brian2.core.variables import Variable, Variables
from brian2.groups.group import CodeRunner, Group

__all__ = ["ArrayRunner"]


class ArrayRunner(Group, CodeRunner):
    """Runs one template in every step.

    Parameters
    ----------
    template : str
        Name of the template.
    arrays : mapping of str to Variable
        Arrays that the template reads and writes, by the name that it uses.
    codeobj_class : type
        Code object class, which finds the template and runs it.
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
        codeobj_class: type[CodeObject],
        *,
        when: str,
        name: str,
        order: int = 0,
        keywords: Mapping[str, Any] | None = None,
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
            template_kwds=dict(keywords or {}),
            generate_empty_code=True,
            check_units=False,
            codeobj_class=codeobj_class,
        )
        self._enable_group_attributes()
