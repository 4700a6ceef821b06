"""Live variables in DSPy programs. Imported as `import snakepit_bridge.dspy_integration as sb`; needs dspy >= 3.1.

    qa = sb.bind(dspy.ChainOfThought("question -> answer"), {"temperature": "llm_temperature"}, session=ctx)
    qa(question="...")  # the request carries what the variable is now

The guide, docs/guide.md, says what can be bound and how it behaves; the functions and classes here, what they take.

A bound program is never mutated by a call. Its outermost call takes one snapshot of the session, and whatever is read
inside is read through that: generation parameters, models, instructions, demos, attributes. The rows of DSPy's
histories then say with which: `snakepit_revision` and `snakepit_session`.

Programs call tools of other processes, and are tools for them: `remote_tools` gives an agent those of a session,
`serve_program` offers a program as one.

Loggers, all below `snakepit_bridge`; no secret is ever logged:

    dspy_integration.binder     info     what was bound and unbound
    dspy_integration.program    debug    what was different for a call: revision, paths, old and new values
                                error    a callback that raised
    dspy_integration.overlay    warning  an assignment detached a path
    dspy_integration.view       warning  a call went on with defaults
    dspy_integration.freezing   warning  a frozen program has no adapter of its own
    dspy_integration.saved      warning  what was bound on a part is not saved with the whole
    freshness                   warning  the server is away, or the session was replaced
                                info     the server is back
"""

from typing import TYPE_CHECKING

from snakepit_bridge.dspy_integration.agents.parallel_agent import AGENTS as _AGENTS
from snakepit_bridge.dspy_integration.agents.remote_tool import RemoteTool, remote_tools, remote_tools_async
from snakepit_bridge.dspy_integration.binding.binder import bind, bind_async, bind_matching, bind_matching_async, unbind
from snakepit_bridge.dspy_integration.binding.lookup import bindings, effective, on_change
from snakepit_bridge.dspy_integration.binding.report import Effective
from snakepit_bridge.dspy_integration.binding.saved import load_bindings, load_bindings_async, save_bindings
from snakepit_bridge.dspy_integration.modules.modules import AWARE as _AWARE
from snakepit_bridge.dspy_integration.modules.modules import (
    VariableAwareBestOfN,
    VariableAwareChainOfThought,
    VariableAwareMixin,
    VariableAwareMultiChainComparison,
    VariableAwarePredict,
    VariableAwareReAct,
    VariableAwareRefine,
)
from snakepit_bridge.dspy_integration.modules.resolver import MODULE_REGISTRY as _MODULE_REGISTRY
from snakepit_bridge.dspy_integration.modules.resolver import ModuleVariableResolver, create_variable_aware_module
from snakepit_bridge.dspy_integration.modules.variable_module import VariableModule
from snakepit_bridge.dspy_integration.optimizing.freezing import freeze, freeze_async
from snakepit_bridge.dspy_integration.optimizing.publishing import Published, publish, publish_async
from snakepit_bridge.dspy_integration.overlay.binding import Var
from snakepit_bridge.dspy_integration.overlay.call_context import snapshot
from snakepit_bridge.dspy_integration.overlay.context_copy import carry
from snakepit_bridge.dspy_integration.overlay.live_compile import LiveProgramWarning
from snakepit_bridge.dspy_integration.programs.serving import serve_program, serve_program_async
from snakepit_bridge.dspy_integration.revisions import revision_of
from snakepit_bridge.dspy_integration.serialization import dump, load
from snakepit_bridge.dspy_integration.targets.registries import Tables
from snakepit_bridge.exceptions import BindingError, EnvelopeError, ModelNotAllowedError, UnknownModuleError

__all__ = [
    "MODULE_REGISTRY",
    "BindingError",
    "Effective",
    "EnvelopeError",
    "LiveProgramWarning",
    "ModelNotAllowedError",
    "ModuleVariableResolver",
    "Published",
    "RemoteTool",
    "Tables",
    "UnknownModuleError",
    "Var",
    "VariableAwareBestOfN",
    "VariableAwareChainOfThought",
    "VariableAwareMixin",
    "VariableAwareMultiChainComparison",
    "VariableAwarePredict",
    "VariableAwareReAct",
    "VariableAwareRefine",
    "VariableModule",
    "bind",
    "bind_async",
    "bind_matching",
    "bind_matching_async",
    "bindings",
    "carry",
    "create_variable_aware_module",
    "dump",
    "effective",
    "freeze",
    "freeze_async",
    "load",
    "load_bindings",
    "load_bindings_async",
    "on_change",
    "publish",
    "publish_async",
    "remote_tools",
    "remote_tools_async",
    "revision_of",
    "save_bindings",
    "serve_program",
    "serve_program_async",
    "snapshot",
    "unbind",
]

MODULE_REGISTRY = _MODULE_REGISTRY
"""DSPy's modules by name, as far as this DSPy has them. Every `ModuleVariableResolver` starts with a copy."""

if TYPE_CHECKING:
    from snakepit_bridge.dspy_integration.agents.parallel_agent import ParallelReActV2 as ParallelReActV2
    from snakepit_bridge.dspy_integration.modules.modules import VariableAwareCodeAct as VariableAwareCodeAct
    from snakepit_bridge.dspy_integration.modules.modules import VariableAwareFlex as VariableAwareFlex
    from snakepit_bridge.dspy_integration.modules.modules import (
        VariableAwareProgramOfThought as VariableAwareProgramOfThought,
    )
    from snakepit_bridge.dspy_integration.modules.modules import VariableAwareReActV2 as VariableAwareReActV2
    from snakepit_bridge.dspy_integration.modules.modules import VariableAwareRLM as VariableAwareRLM
else:
    # As many of them as the installed DSPy has.
    globals().update({cls.__name__: cls for cls in (*_AWARE.values(), *_AGENTS)})

__all__ += [cls.__name__ for cls in (*_AWARE.values(), *_AGENTS) if cls.__name__ not in __all__]
