"""Results as plain JSON and back, with nothing lost: `dump` and `load`.

What `dump` gives is made of dict, list, str, int, float, bool and None alone, and holds no NaN or infinity, so that any
JSON writer takes it. It is meant to be read in other languages too:

- A JSON object without a member "$dspy" is a dict with text keys; an array is a list; text, numbers, true, false and
  null are themselves. A number with a point or an exponent is a float, one without is an int; who writes an envelope
  again, and not only reads it, has to keep that.
- An object with "$dspy" is a value of some other kind, which "$dspy" names. What its other members are depends on that:

```
"$dspy"                 members (those in parentheses may be absent)
Prediction              fields: object · completions: object of arrays of one length, or null · usage: object by LM, or
                        null · revision: of the session, or null · (input_keys, demos, type)
Example                 fields: object · input_keys: array of names, or null · (demos: array, type)
History Image Audio     fields: object. An Image's url is a data: URI or an address, an Audio's data is base64. Fields
File Reasoning          that are null may be absent. ToolCalls has tool_calls, an array of ToolCall with id, name and
ToolCalls ToolCall      args, and tool_call_results, a ToolCallResults of ToolCallResult.
ToolCallResults
ToolCallResult
Citations Citation
Document REPLVariable
REPLEntry REPLHistory
Code                    fields: {"code"} · (language)
Noul Score Choice       fields: object · (options: what the type was declared with)
EvaluationResult        as Prediction
StreamResponse          fields: object
StatusMessage
AttributeDict           fields: object. What DSPy gives as log probabilities
Model                   a pydantic model. type: "module:qualname" · fields: object · (extra: object, unset: names of the
                        fields that have their default)
Dataclass               type · fields: object
Enum                    type · name: of the member, by which it is read, or null for a combination of flags · value
tuple set frozenset     items: array. Those of a set are sorted by their JSON
dict                    items: array of [key, value]. A dict with other keys than text, or with the key "$dspy"
int                     value: decimal text, where the integer is beyond ±(2^53 - 1)
float                   value: "NaN", "Infinity" or "-Infinity"
complex                 real · imag
str                     base64 of its UTF-8, where half a surrogate pair stands alone in it: strict decoders refuse that
bytes bytearray         base64
datetime time           value: ISO 8601 · (zone: an IANA name; name: of a fixed offset; fold: 1)
date                    value: ISO 8601
timedelta               days · seconds · microseconds
Decimal UUID            value: text
Url                     type: pydantic's, e.g. "HttpUrl" · value: text
ndarray                 dtype: "float64", "datetime64[ns]", "U5" (UTF-32), "S5", … · shape: array · base64 of the
                        little-endian bytes in C order
numpy                   a numpy scalar. dtype · value (a time as its integer)
```

Members may hold values of any kind. The order of members is that of the fields. What a tag means never changes: another
form gets another tag, and a new member may come to an old one. `load` refuses tags and members that it does not know,
because to leave something out in silence would be a lie; it says what to upgrade.

**A user's classes.** A Model, Dataclass or Enum, and a Prediction or Example with a type, is named in the data. `load`
never imports what data names: it finds the classes in `types`, and those that they use in their annotations. Without
its class such a value is an error. It is not read as a dict instead, since that would work until somebody asks
`answer.total`, far from here; who wants only to look at the data has it as JSON already.

A model is made by validation, under its own field names: aliases, computed fields and serializers play no part. So
data from elsewhere is checked, and a validator that changes what it has once accepted changes it again. Private
attributes are not written, nor are fields with `exclude=True`, which take their default. A dataclass is made by its
constructor. DSPy's own classes are made of their checked fields, without their constructors, which may open files.

What does not travel: sharing (a value that occurs twice is written twice), byte order and memory layout of arrays,
payloads of NaN, the signature of completions.
"""

from __future__ import annotations

import datetime
import os
import types as python
from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from snakepit_bridge.dspy_integration.serialization import arrays, dspy_types, python_types, user_types
from snakepit_bridge.dspy_integration.serialization.walk import Form, Reader, Walk, Writer, reason
from snakepit_bridge.exceptions import EnvelopeError

__all__ = ["dump", "load"]

_FORMS = {form.tag: form for form in (*python_types.FORMS, *arrays.FORMS, *dspy_types.FORMS, *user_types.FORMS)}
_BY_TYPE = {kind: form for form in _FORMS.values() for kind in form.types}


def dump(value: object) -> Any:
    """A value as plain JSON types, from which `load` makes it again: type, content and order.

    The module's docstring says what is written how. Takes predictions, examples, DSPy's types, pydantic models,
    dataclasses, enums, numpy arrays and scalars, and Python's own values.

    Args:
        value: what to dump. It is not changed, and shares nothing with the result.

    Returns:
        A new structure of dict, list, str, int, float, bool and None; `json.dumps(..., allow_nan=False)` takes it. A
        session variable does too, if it is at most 30 levels deep.

    Raises:
        EnvelopeError: something in it cannot be written, such as a tool, a function, a subclass of a built-in type, a
            structure that contains itself or is more than 64 levels deep. Facts: path, type.
    """
    return _walk(Writer(_form_of, _advice), value, "dumped")


def load(plain: Any, *, types: Iterable[Any] | Mapping[str, Any] = ()) -> Any:
    """The value that `dump` was given.

    Data from strangers runs no code but that of the classes in `types`: their validators and constructors. One with a
    field of type `dspy.Image`, `Audio` or `File` is best not given before dspy 3.3, which opens a file whose name it
    gets there.

    Args:
        plain: what `dump` gave, or what a JSON reader made of it.
        types: the user's classes that may occur: pydantic models, dataclasses, enums, and Signatures or annotations
            that use them. Or a mapping `{"module:qualname": class}`, for a class that has moved since (also from
            `__main__`). Nothing is imported because the data names it.

    Returns:
        The value. Arrays can be written to.

    Raises:
        EnvelopeError: this is no envelope, it names a class that `types` does not give, its content does not fit the
            class, or a newer version has made it. Facts: path; type or tag where there is one.
    """
    return _walk(Reader(_FORMS, user_types.Classes(types)), plain, "loaded")


def _walk(walk: Walk, thing: Any, what: str) -> Any:
    try:
        return walk.at("", thing)
    except EnvelopeError:
        raise
    except Exception as error:
        # A RecursionError too: of Python's stack little was left before.
        raise walk.error(f"cannot be {what}: {reason(error)}") from error


def _form_of(kind: type) -> Form | None:
    return _BY_TYPE.get(kind) or arrays.form_of(kind) or dspy_types.form_of(kind) or user_types.form_of(kind)


_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((dspy.Tool,), "a tool is code; dump its name, and make the tool anew where that is loaded"),
    ((dspy.Module,), "save a program with its save(), and dump what it answers"),
    ((type, python.FunctionType, python.BuiltinFunctionType, python.MethodType, python.ModuleType), "it is code"),
    ((os.PathLike,), "a path means something on one machine only; dump str(...) of it, or what is in the file"),
    ((datetime.datetime,), "make it a datetime.datetime"),
)


def _advice(value: Any) -> str:
    """What to do with a value that has no form."""
    for kinds, advice in _ADVICE:
        if isinstance(value, kinds):
            return advice
    for kind in (dict, list, tuple, set, frozenset, str, int, float, complex, bytes, datetime.date, datetime.time):
        if isinstance(value, kind):
            return f"a subclass would come back as a plain {kind.__name__}; make it one with {kind.__name__}(...)"
    return "convert it, or make its class a dataclass or a pydantic model"
