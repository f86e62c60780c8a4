"""What the schema says of one key: held against the fields of the policy and against policies that load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from collapse_guard.errors import InputError
from collapse_guard.policy import Policy
from collapse_guard.policy.keys import PolicyKey, policy_key

if TYPE_CHECKING:
    from collections.abc import Iterator


def fields(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield path, default and description of every plain key of a section and of those in it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from fields(value, f"{prefix}{name}.")
        elif not field.is_required():
            yield f"{prefix}{name}", field.get_default(call_default_factory=True), field.description or ""


PLAIN = [each for each in fields(Policy(version=1)) if not isinstance(each[1], dict)]


@pytest.mark.parametrize(("path", "default", "meaning"), PLAIN, ids=[path for path, _, _ in PLAIN])
def test_default_and_description_are_those_of_the_field(path: str, default: Any, meaning: str) -> None:
    found = policy_key(path)
    assert found.default == (list(default) if isinstance(default, tuple) else default)
    assert not found.is_required
    assert found.section == ""
    assert found.meaning == meaning or (meaning == "" and default is None)
    assert found.takes


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("version", "1; required"),
        ("unit", "rows | tokens | bytes | weight; default rows"),
        ("filters.require_reason", "true | false; default false"),
        ("filters.level", "number, above 0, below 1; default 0.95"),
        ("accumulation.allow_loss", "whole number, 0 or more; default 0"),
        ("accumulation.scope", "list of text; no default"),
        ("mix.budget", "section; no default"),
        ("mix.budget.amount", "number, above 0; required once mix.budget is there"),
        ("mix.drift.warn", "number from 0 to 1; default 0.05 once mix.drift is there"),
        ("mix.per_generation_max_share", "number from 0 to 1 or list of number from 0 to 1; no default"),
        ("coverage.cells", 'default [{"kind": "labels", "column": "label"}] once coverage is there'),
        ("sources.<name>.max_share", "number from 0 to 1; no default"),
        ("waivers", "list of section; default []"),
        ("waivers[].expires", "date; required"),
    ],
)
def test_what_a_key_takes_is_said_in_words(path: str, said: str) -> None:
    assert said in policy_key(path).said()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mixx", "did you mean 'mix'?"),
        ("mix.real_min_shar", "did you mean 'real_min_share'?"),
        ("mix.real_min_share.x", "allowed: "),
        ("sources.web.min_share", "allowed: <name>"),
        ("waivers.limit", "allowed: "),
        ("unit[]", "'unit' holds no list"),
        ("", "allowed: accumulation"),
        ("mix..seed", "allowed: balance"),
    ],
)
def test_a_key_that_there_is_not_says_the_nearest(path: str, said: str) -> None:
    with pytest.raises(InputError, match="the policy has no key") as caught:
        policy_key(path)
    assert said in str(caught.value)


def test_plain_values_hold_the_words_too() -> None:
    found = policy_key("mix.real_min_share")
    assert isinstance(found, PolicyKey)
    assert found.as_dict()["said"] == found.said()
    assert found.as_dict()["default"] == 0.5
