"""Live variables in DSPy programs. Imported as `import snakepit_bridge.dspy_integration as sb`; needs dspy >= 3.1.

A bound program is never mutated by a call. Its outermost call takes one snapshot of the session, and whatever is read
inside is read through that: generation parameters, models, instructions, demos, attributes.
"""

from snakepit_bridge.dspy_integration import modules as _modules
from snakepit_bridge.dspy_integration.binder import bind, bind_async, bind_matching, bind_matching_async, unbind
from snakepit_bridge.dspy_integration.binding import Var
from snakepit_bridge.dspy_integration.freezing import freeze, freeze_async
from snakepit_bridge.dspy_integration.live_compile import LiveProgramWarning
from snakepit_bridge.dspy_integration.lookup import Effective, bindings, effective, on_change
from snakepit_bridge.dspy_integration.modules import (
    VariableAwareChainOfThought,
    VariableAwareMixin,
    VariableAwarePredict,
    VariableAwareReAct,
)
from snakepit_bridge.dspy_integration.publishing import Published, publish, publish_async
from snakepit_bridge.dspy_integration.resolver import (
    MODULE_REGISTRY,
    ModuleVariableResolver,
    create_variable_aware_module,
)
from snakepit_bridge.dspy_integration.scope import revision_of, snapshot
from snakepit_bridge.dspy_integration.variable_module import VariableModule
from snakepit_bridge.exceptions import BindingError, ModelNotAllowedError, UnknownModuleError

__all__ = [
    "MODULE_REGISTRY",
    "BindingError",
    "Effective",
    "LiveProgramWarning",
    "ModelNotAllowedError",
    "ModuleVariableResolver",
    "Published",
    "UnknownModuleError",
    "Var",
    "VariableAwareChainOfThought",
    "VariableAwareMixin",
    "VariableAwarePredict",
    "VariableAwareReAct",
    "VariableModule",
    "bind",
    "bind_async",
    "bind_matching",
    "bind_matching_async",
    "bindings",
    "create_variable_aware_module",
    "effective",
    "freeze",
    "freeze_async",
    "on_change",
    "publish",
    "publish_async",
    "revision_of",
    "snapshot",
    "unbind",
]

if "ProgramOfThought" in _modules.AWARE:
    from snakepit_bridge.dspy_integration.modules import VariableAwareProgramOfThought as VariableAwareProgramOfThought

    __all__ += ["VariableAwareProgramOfThought"]
