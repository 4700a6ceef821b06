"""Bindings in a small JSON file, apart from values and sessions: the same file binds against any session.

    {
      "snakepit_bindings": 1,
      "bindings": {
        "k": "top_k",
        "generate.max_tokens": {"variable": "n", "default": 256, "refresh": "step"},
        "model": {"variable": "llm", "models": ["fast", "strong"]}
      }
    }

The number is the version of this format. A path has the name of its variable, or an object with more: a default,
a refresh other than "call", and for each table that the binding looks names up in, which cannot be saved, those names.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Unpack

import dspy

from snakepit_bridge.dspy_integration.binding.binder import bind, bind_async
from snakepit_bridge.dspy_integration.binding.lookup import program_of
from snakepit_bridge.dspy_integration.overlay.binding import Binding, Var
from snakepit_bridge.dspy_integration.overlay.formatted import written
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of, reads_binding
from snakepit_bridge.dspy_integration.targets.registries import USERS, Tables, names_in
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.exceptions import BindingError

logger = logging.getLogger("snakepit_bridge.dspy_integration.saved")

P = TypeVar("P")
StrPath = str | os.PathLike[str]

VERSION = 1
_VERSION_KEY = "snakepit_bindings"


def save_bindings(program: Any, path: StrPath) -> None:
    """Writes what `bindings` reports to a JSON file, in that order, in place of what is there.

    Neither values nor the session are written. Paths that were detached by an assignment are left out; bindings made
    on a part of the program are not the program's: save that part too. A file that is there stays whole if this fails.

    Raises:
        BindingError: a default is more than JSON can hold, or is that of a secret variable. Nothing is written.
        OSError: the file cannot be written.
    """
    if not isinstance(program, dspy.Module):
        raise BindingError(f"only a dspy.Module has bindings to save, not {program!r}")
    found = [binding for binding in program_of(program).bindings.values() if reads_binding(program, binding)]
    for part, module in program.named_sub_modules(type_=dspy.Module):
        overlay = overlay_of(module)
        if module is not program and overlay is not None and overlay.program is not None:
            logger.warning("what was bound on %s itself is not saved with the whole: save that part too", part)
    content = {_VERSION_KEY: VERSION, "bindings": {binding.path: _entry(binding) for binding in found}}
    _replace(Path(path), _text(content) + "\n")


def load_bindings(program: P, path: StrPath, *, session: Any = None, **tables: Unpack[Tables]) -> P:
    """Binds a program as a file of `save_bindings` says, and as `bind` does: one rpc, all of it or nothing.

    Args:
        program: a `dspy.Module` with the same paths as the one that was saved.
        path: the file.
        session: as for `bind`; any session that has variables of these names.
        **tables: as for `bind`, with at least the names that the file notes.

    Returns:
        The same object.

    Raises:
        BindingError: it is no such file or one of a newer format; a table lacks names; or as `bind`.
        VariableNotFoundError, ModelNotAllowedError, ServerUnavailableError: as `bind`.
        OSError: the file cannot be read.
    """
    return bind(program, _read(Path(path), tables), session=session, **tables)


async def load_bindings_async(program: P, path: StrPath, *, session: Any = None, **tables: Unpack[Tables]) -> P:
    """`load_bindings`, without blocking the loop for the rpc."""
    return await bind_async(program, _read(Path(path), tables), session=session, **tables)


def _text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _entry(binding: Binding) -> Any:
    entry: dict[str, Any] = {"variable": binding.variable}
    if binding.default is not MISSING:
        entry["default"] = _plain(binding)
    if binding.step:
        entry["refresh"] = "step"
    entry |= binding.needs
    return entry if len(entry) > 1 else binding.variable


def _plain(binding: Binding) -> Any:
    facts = {"path": binding.path, "variable": binding.variable}
    if binding.secret:
        raise BindingError(
            f"the default of {binding.path!r} cannot be saved: variable {binding.variable!r} is secret, and the file "
            "would show it. Bind the path without one",
            facts,
        )
    try:
        same = json.loads(_text(binding.default).encode("utf-8")) == binding.default
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise BindingError(
            f"the default of {binding.path!r} cannot be saved: JSON has no {written(binding.default, 80, secret=False)}"
            f" ({type(binding.default).__name__}). Use None, bool, int, finite float, str, and lists and dicts of them",
            facts,
        )
    return binding.default


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    # In the same directory, because a rename does not cross file systems.
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _read(path: Path, tables: Tables) -> dict[str, str | Var]:
    """What a file says to bind, if every table has the names that it needs."""
    content = _parsed(path)
    if not isinstance(content, dict) or _VERSION_KEY not in content:
        _refuse(path, f"it is no file of bindings: an object with {_VERSION_KEY!r} was expected")
    version = content[_VERSION_KEY]
    if type(version) is not int or version < 1:
        _refuse(
            path, f"{_VERSION_KEY!r} is the version of the format, a number, not {written(version, 40, secret=False)}"
        )
    if version > VERSION:
        _refuse(path, f"it has format {version}, and this snakepit_bridge knows {VERSION} at most: upgrade it")
    bindings = content.get("bindings")
    if not isinstance(bindings, dict):
        _refuse(path, "'bindings' is an object from path to variable")
    _known(path, "the file", content, {_VERSION_KEY, "bindings"})
    needed: dict[str, list[str]] = {}
    wanted = {where: _binding(path, where, entry, needed) for where, entry in bindings.items()}
    for table, names in needed.items():
        given = names_in(tables.get(table) or ())
        if missing := [name for name in dict.fromkeys(names) if name not in given]:
            _refuse(
                path,
                f"it needs {table}={{...}} with {', '.join(map(repr, dict.fromkeys(names)))}; "
                f"missing: {', '.join(map(repr, missing))}",
                table=table,
                missing=",".join(missing),
            )
    return wanted


def _parsed(path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"{next(key for key in found if [k for k, _ in pairs].count(key) > 1)!r} is there twice")
        return found

    def never(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once, parse_constant=never)
    except RecursionError:
        _refuse(path, "it is nested too deep")
    except ValueError as error:
        _refuse(path, str(error))


def _binding(path: Path, where: str, entry: Any, needed: dict[str, list[str]]) -> str | Var:
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict) or not isinstance(entry.get("variable"), str):
        _refuse(path, "it has the name of its variable, or an object with at least 'variable'", where)
    _known(path, repr(where), entry, {"variable", "default", "refresh", *USERS})
    refresh = entry.get("refresh", "call")
    if refresh not in {"call", "step"}:
        _refuse(path, f"refresh is 'call' or 'step', not {written(refresh, 40, secret=False)}", where)
    for table in USERS:
        names = entry.get(table, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            _refuse(path, f"{table!r} is a list of names", where)
        needed.setdefault(table, []).extend(names)
    return Var(entry["variable"], entry.get("default", MISSING), refresh)


def _known(path: Path, what: str, found: Mapping[str, Any], known: Iterable[str]) -> None:
    names = sorted(known)
    if strange := [name for name in found if name not in names]:
        _refuse(path, f"{what} has {strange[0]!r}, which is none of {', '.join(names)}")


def _refuse(path: Path, why: str, where: str | None = None, **facts: str) -> NoReturn:
    about = f"{where!r}: " if where is not None else ""
    raise BindingError(
        f"cannot load bindings from {str(path)!r}: {about}{why}",
        {"file": str(path), **({"path": where} if where is not None else {}), **facts},
    )
