"""Read a policy file: YAML tree -> presets -> schema -> contradictions; every fault in one pass."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.plugins import nearest
from collapse_guard.policy.cells import code_keys, one_as_many
from collapse_guard.policy.contradictions import contradictions
from collapse_guard.policy.mix import OTHER_SHAPES, SHAPES
from collapse_guard.policy.presets import preset_path
from collapse_guard.policy.resolved import Resolved, written
from collapse_guard.policy.schema import Policy
from collapse_guard.policy.waiver import REQUIRED
from collapse_guard.policy.yaml_tree import MAX_POLICY_BYTES, Tree, dotted, read_tree, tree_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from os import PathLike

_MAX_SHOWN = 60
#: Policies that extend each other one after the other; a reviewer loses count long before.
_MAX_CHAIN = 16


def load_policy(path: str | PathLike[str], *, allow_code: bool = False) -> Policy:
    """Return the checked policy of a YAML file.

    Args:
        path: the file.
        allow_code: whether cells may name a function (``module:function``) that is then imported and run.

    Raises PolicyError whose ``problems`` has one entry per fault: code (CG001 unusable, CG002 contradiction),
    file, line, key, message, and what to type.
    """
    return resolve_policy(path, allow_code=allow_code).policy


def resolve_policy(path: str | PathLike[str], *, allow_code: bool = False) -> Resolved:
    """Return the policy of :func:`load_policy`, and where each of its values stands."""
    tree = _merged(Path(path), seen=())
    policy = _checked(tree)
    named = [] if allow_code or policy.coverage is None else code_keys(policy.coverage.cells)
    keys = [written(tree.values, ("coverage", "cells", number, key)) for number, key in named]
    text, remedy = "names code, and what a file names is not run by default", "load_policy(path, allow_code=True)"
    if keys:
        raise PolicyError([Problem("CG001", *_place(tree, key), dotted(key), text, remedy) for key in keys])
    return Resolved(policy, tree)


def policy_from_mapping(values: Mapping[str, Any]) -> Policy:
    """Return the checked policy of plain values, with ``extends`` resolved against the working directory.

    >>> policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.6}}).mix.real_min_share
    0.6
    """
    tree = tree_of(values, file="<mapping>")
    if tree.values is None:
        raise PolicyError(tree.problems)
    return _checked(_extended(tree, Path.cwd() / "mapping", seen=()))


def _merged(path: Path, *, seen: tuple[str, ...]) -> Tree:
    tree = read_tree(_text(path), file=str(path))
    if tree.values is None:
        raise PolicyError(tree.problems)
    return _extended(tree, path, seen=(*seen, os.path.realpath(path)))


def _text(path: Path) -> str:
    def fault(message: str, remedy: str = "") -> PolicyError:
        return PolicyError([Problem("CG001", str(path), None, "", message, remedy)])

    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise fault("is a directory", "name the YAML file in it")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_POLICY_BYTES + 1)
    except FileNotFoundError:
        raise fault("no such file", "write one, or name another") from None
    except (OSError, ValueError) as error:
        raise fault(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MAX_POLICY_BYTES:
        raise fault(f"is larger than {MAX_POLICY_BYTES >> 20} MiB", "a policy is a page; did you name a data file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fault(f"is not UTF-8 (byte {error.start})", "save it as UTF-8") from None


def _extended(tree: Tree, path: Path, *, seen: tuple[str, ...]) -> Tree:
    """Return the tree over the one that it extends, if any."""
    extends = tree.values.get("extends")
    if extends is None:
        return tree

    def fault(message: str, remedy: str = "") -> PolicyError:
        file, line = _place(tree, ("extends",))
        return PolicyError([*tree.problems, Problem("CG001", file, line, "extends", message, remedy)])

    if not isinstance(extends, str):
        raise fault(f"must be text, got {extends!r}", "preset:NAME@1 or a file")
    target = _target(extends, path.parent, fault)
    chain = (*seen, os.path.realpath(target))
    if chain[-1] in seen:
        raise fault(f"policies extend each other: {' -> '.join(Path(file).name for file in chain)}")
    if len(chain) > _MAX_CHAIN:
        raise fault(f"more than {_MAX_CHAIN} policies extend one another", "write what they say into fewer files")
    base = _merged(target, seen=seen)
    values = _overlay(base.values, {key: value for key, value in tree.values.items() if key != "extends"})
    return Tree(
        tree.file,
        values=values,
        places=base.places | tree.places,
        problems=base.problems + tree.problems,
        extended=(base.file, *base.extended),
    )


def _target(extends: str, folder: Path, fault: Callable[..., PolicyError]) -> Path:
    """Return the readable file that ``extends`` names."""
    try:
        preset = extends.removeprefix("preset:")
        target = preset_path(preset) if preset != extends else folder / extends
        _text(target)
    except PolicyError as error:
        problem = error.problems[0]
        where = "" if problem.key else f"{extends}: "
        raise fault(f"{where}{problem.message}", problem.remedy) from None
    return target


def _overlay(base: Any, top: Any) -> Any:
    """Return ``top`` over ``base``: maps merge, everything else replaces."""
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    return base | {key: _overlay(base[key], value) if key in base else value for key, value in top.items()}


def _checked(tree: Tree) -> Policy:
    values = {key: value for key, value in tree.values.items() if key != "extends"}
    try:
        policy = Policy.model_validate_json(json.dumps(one_as_many(values), default=_as_text))
    except ValidationError as error:
        known = {problem.key for problem in tree.problems}
        found = [_problem(tree, dict(fault)) for fault in error.errors(include_url=False)]
        faults = tree.problems + [problem for problem in found if problem.key not in known]
        raise PolicyError(sorted(faults, key=lambda fault: (fault.file, fault.line or 0))) from None
    if tree.problems:
        raise PolicyError(tree.problems)
    faults = [Problem("CG002", *_place(tree, path), dotted(path), text) for path, text in contradictions(policy)]
    if faults:
        raise PolicyError(faults)
    return policy


def _as_text(value: dt.date) -> str:
    return value.isoformat()


def _place(tree: Tree, path: tuple[str | int, ...]) -> tuple[str, int | None]:
    """Return file and line of ``path``, or of its nearest ancestor that stands in a file."""
    for end in range(len(path), 0, -1):
        if path[:end] in tree.places:
            return tree.places[path[:end]]
    return tree.file, None


def _problem(tree: Tree, fault: dict[str, Any]) -> Problem:
    path = written(tree.values, tuple(fault["loc"]))
    if fault["type"] != "extra_forbidden" and path[-1:] == ("[key]",):  # a fault of a key, not of its value
        path = path[:-1]
    file, line = _place(tree, path)
    if fault["type"] == "extra_forbidden":
        known = _siblings(tuple(fault["loc"])[:-1])
        return Problem("CG001", file, line, dotted(path), "unknown key", nearest(str(path[-1]), known))
    code = "CG903" if path[:1] == ("waivers",) and set(REQUIRED) & set(path[2:3]) else "CG001"
    if fault["type"] == "missing":
        return Problem(code, file, line, dotted(path), "missing key", "add it")
    if fault["type"] == "union_tag_invalid":
        known = [tag.strip().strip("'") for tag in fault["ctx"]["expected_tags"].split(",")]
        tag = fault["ctx"]["tag"]
        return Problem("CG001", file, line, dotted(path), f"no kind is called {_shown(tag)}", nearest(tag, known))
    message = _sentence(fault["type"], fault["msg"])
    if ", got " not in message:
        message = f"{message}, got {_shown(fault['input'])}"
    remedy = OTHER_SHAPES.get(dotted(path), "") if fault["loc"][-1:] == (SHAPES[0],) else ""
    if isinstance(fault["input"], str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", fault["input"]):
        remedy = f"YAML reads this as text: write {float(fault['input'])!r}"
    return Problem(code, file, line, dotted(path), message, remedy)


def _sentence(kind: str, message: str) -> str:
    """Return what pydantic says of a fault as what the value must be."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in {"too_short", "too_long"}:
        return re.sub(r"^\w+ should have (.*) after validation.*$", r"must have \1", message)
    return f"must be {message.removeprefix('Input should be ')}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _siblings(path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are allowed in the section at ``path``."""
    section: type[BaseModel] = Policy
    choices: list[type[BaseModel]] = []
    for part in path:
        field = section.model_fields.get(str(part))
        if field is not None:
            choices = _models(field.annotation)
            section = choices[0] if choices else section
        else:  # the number of an item, or the kind that says which of the choices it is
            section = next((kind for kind in choices if _kind_of(kind) == part), section)
    return list(section.model_fields)


def _kind_of(section: type[BaseModel]) -> object:
    field = section.model_fields.get("kind")
    return None if field is None else next(iter(getattr(field.annotation, "__args__", ())), None)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections inside an annotation such as ``dict[str, SourceRule]`` or ``Coverage | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]
