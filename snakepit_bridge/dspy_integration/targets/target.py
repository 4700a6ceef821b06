"""What is bound: something of one object of a program, and the path that names it."""

from __future__ import annotations

from dataclasses import dataclass

from snakepit_bridge.dspy_integration.targets.generation import OTHERS
from snakepit_bridge.dspy_integration.targets.paths import Step, render


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Target:
    """What is bound: something of one object of the program.

    Attributes:
        owner: the steps from the program to that object.
        kind: "parameter", "model", "instructions", "description", "demos", "tools", "adapter" or "attribute".
        name: the parameter's, field's or attribute's name, "model" or "lm" for a model, else the kind.
        said: "lm" or "self" where the name alone would have two meanings.
    """

    owner: tuple[Step, ...]
    kind: str
    name: str
    said: str = ""

    @property
    def path(self) -> str:
        """The target as `bindings` reports it."""
        if self.kind == "description":
            return render((*self.owner, "fields", (self.name,), "desc"))
        # Without "lm" these names would not be understood again.
        said = self.said or ("lm" if self.kind == "parameter" and self.name in OTHERS else "")
        return render((*self.owner, said, self.name) if said else (*self.owner, self.name))

    @property
    def slot(self) -> tuple[str, str]:
        """What of a module it gives: bindings of one slot are alternatives."""
        return self.kind, "model" if self.kind == "model" else self.name
