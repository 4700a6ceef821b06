"""Which parameters of an LM request may follow a variable, and what each accepts.

This is a list of what is allowed, not of what is refused: a request carries its address and its credentials in
keyword arguments too, LM clients know hundreds of them, and none that could route or authenticate may be set by a
variable. Every parameter named here only shapes the text that is generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REFUSED = frozenset({
    "api_key", "api_base", "base_url", "api_version", "headers", "extra_headers", "default_headers", "extra_query",
    "extra_body", "engine", "async_engine", "organization", "project", "provider", "custom_llm_provider", "model_list",
    "fallbacks", "deployment_id", "client", "azure_ad_token_provider", "credentials", "password", "secret", "token",
    "timeout", "num_retries", "callbacks", "messages", "prompt",
})  # fmt: skip
"""Names that are never bound, on whatever they stand: they decide where a request goes and with which key."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a target accepts.

    Attributes:
        types: the types of variables that can hold such a value.
        allowed: the same for a person, to follow "takes".
        coerce: gives the value as the target wants it; raises ValueError if it is none.
    """

    types: frozenset[str]
    allowed: str
    coerce: Callable[[Any], Any]


def _number(low: float, high: float) -> Fit:
    def coerce(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(value)
        if not low <= value <= high:
            raise ValueError(value)
        return float(value)

    return Fit(frozenset({"float", "integer", "choice"}), f"a number from {low:g} to {high:g}", coerce)


def _whole(low: int, high: int) -> Fit:
    def coerce(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(value)
        return value

    return Fit(frozenset({"integer", "choice"}), f"a whole number from {low} to {high}", coerce)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004 - the caller turns any refusal into one error
    return value


def _stop(value: Any) -> str | list[str]:
    if isinstance(value, list) and value and all(isinstance(item, str) and item for item in value):
        return list(value)
    return _text(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(value)  # noqa: TRY004 - as above
    return dict(value)


def _effort(value: Any) -> str | dict[str, Any]:
    return _mapping(value) if isinstance(value, dict) else _text(value)


TEXT = Fit(frozenset({"string", "choice", "module"}), "text that is not empty", _text)
_FLAG = Fit(frozenset({"boolean", "choice"}), "true or false", _flag)
_MAP = Fit(frozenset({"map"}), "a map", _mapping)
_SEED = _whole(-(2**63), 2**63 - 1)
_TOKENS = _whole(1, 10_000_000)
_PENALTY = _number(-2, 2)

COMMON: dict[str, Fit] = {
    "temperature": _number(0, 2),
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "top_p": _number(0, 1),
    "seed": _SEED,
    "stop": Fit(frozenset({"string", "choice", "list"}), "text, or a list of texts", _stop),
    "n": _whole(1, 1024),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "reasoning_effort": Fit(TEXT.types | {"map"}, "text like 'low', or a map", _effort),
    "verbosity": TEXT,
    "logprobs": _FLAG,
    "top_logprobs": _whole(0, 100),
    "logit_bias": _MAP,
    "rollout_id": _whole(0, 2**63 - 1),
}
"""Parameters bound by their bare name."""

OTHERS: dict[str, Fit] = {
    name: fit
    for names, fit in (
        ("top_k min_tokens num_ctx num_predict best_of repeat_last_n", _whole(-1, 10_000_000)),
        ("dry_allowed_length dry_penalty_last_n prompt_logprobs", _whole(-1, 10_000_000)),
        ("min_p typical_p top_a tfs_z xtc_probability xtc_threshold", _number(0, 1)),
        ("repetition_penalty repeat_penalty penalty_alpha mirostat_tau mirostat_eta", _number(0, 100)),
        ("length_penalty dry_multiplier dry_base dynatemp_range dynatemp_exponent", _number(-100, 100)),
        ("mirostat", _whole(0, 2)),
        ("guided_regex guided_grammar grammar service_tier", TEXT),
        ("guided_json json_schema response_format thinking", _MAP),
        ("cache parallel_tool_calls early_stopping ignore_eos skip_special_tokens", _FLAG),
    )
    for name in names.split()
}
"""Parameters of particular providers, bound as `lm.<name>`."""

PARAMETERS = {**COMMON, **OTHERS}
