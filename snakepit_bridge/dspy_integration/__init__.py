"""Live variables in DSPy programs. Imported as `import snakepit_bridge.dspy_integration as sb`; needs dspy >= 3.1.

A bound program is never mutated by a call. Its outermost call takes one snapshot of the session, and whatever is read
inside is read through that: generation parameters, models, instructions, demos, attributes. The rows of DSPy's
histories then say with which: `snakepit_revision` and `snakepit_session`.

Loggers, all below `snakepit_bridge`; no secret is ever logged:

    dspy_integration.binder     info     what was bound and unbound
    dspy_integration.program    debug    what was different for a call: revision, paths, old and new values
                                error    a callback that raised
    dspy_integration.overlay    warning  an assignment detached a path; a call went on with defaults
    freshness                   warning  the server is away, or the session was replaced
                                info     the server is back
"""

from snakepit_bridge.dspy_integration import modules as _modules
from snakepit_bridge.dspy_integration.binder import bind, bind_async, bind_matching, bind_matching_async, unbind
from snakepit_bridge.dspy_integration.binding import Var
from snakepit_bridge.dspy_integration.lookup import bindings, effective, on_change
from snakepit_bridge.dspy_integration.modules import (
    VariableAwareChainOfThought,
    VariableAwareMixin,
    VariableAwarePredict,
    VariableAwareReAct,
)
from snakepit_bridge.dspy_integration.resolver import (
    MODULE_REGISTRY,
    ModuleVariableResolver,
    create_variable_aware_module,
)
from snakepit_bridge.dspy_integration.saved import load_bindings, load_bindings_async, save_bindings
from snakepit_bridge.dspy_integration.scope import revision_of, snapshot
from snakepit_bridge.dspy_integration.table import Effective
from snakepit_bridge.dspy_integration.variable_module import VariableModule
from snakepit_bridge.exceptions import BindingError, ModelNotAllowedError, UnknownModuleError

__all__ = [
    "MODULE_REGISTRY",
    "BindingError",
    "Effective",
    "ModelNotAllowedError",
    "ModuleVariableResolver",
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
    "load_bindings",
    "load_bindings_async",
    "on_change",
    "revision_of",
    "save_bindings",
    "snapshot",
    "unbind",
]

if "ProgramOfThought" in _modules.AWARE:
    from snakepit_bridge.dspy_integration.modules import VariableAwareProgramOfThought as VariableAwareProgramOfThought

    __all__ += ["VariableAwareProgramOfThought"]
