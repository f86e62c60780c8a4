"""The result of a gate as a file: its models, its JSON Schema, and a loader that believes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collapse_guard.errors import InputError
from collapse_guard.kernels import one_line
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from os import PathLike

SCHEMA: Final = "collapse-guard/result/1"
#: Largest file that is read.
MAX_BYTES: Final = 64 << 20
#: Deepest nesting that is read.
MAX_DEPTH: Final = 64
_MAX_FAULTS: Final = 10
_LONE: Final = re.compile(r"[\ud800-\udfff]")

Severity = Literal["error", "warning", "info"]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Code = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PolicyEntry(_Part):
    """The policy that was kept or not."""

    name: str | None
    file: str | None = Field(description="relative to the working directory where it lies inside")
    digest: Digest | None = Field(description="null if it could not be read")


class RuleEntry(_Part):
    """One rule, and what became of it."""

    code: Code
    title: str
    severity: Severity = Field(description="as the policy asks for it")
    status: Literal["passed", "failed", "waived", "baselined", "inconclusive", "ignored"]


class FindingEntry(_Part):
    """One statement of a rule."""

    code: Code
    severity: Severity
    message: str
    status: Literal["fail", "waived", "baselined", "inconclusive"] = Field(description="inconclusive is never a pass")
    evidence: dict[str, Any] = Field(description="contributors and figures; what is in it depends on the rule")
    subject: str = Field(description="what it is about")
    where: dict[str, str] = Field(description="source, class, generator or generation that it is about")
    measured: Figure | None = Field(description="held against limit, in unit")
    limit: Figure | None
    unit: str
    extent: Count | None = Field(None, description="how many it is about, where measured is the furthest of them")
    mark: str = Field("", description="digest of which rows or classes it is about, where that matters")
    n: Count | None = Field(description="what an estimate rests on; null where measured is exact")
    interval: Annotated[list[Figure], Field(min_length=2, max_length=2)] | None
    method: str = Field(description="how an estimate was made")
    key: str = Field(description="dotted path of the policy key that asks for it")
    remedy: str
    accepted_by: str = Field(description="waiver or baseline that accepts it")
    file: str | None = Field(description="relative to the working directory where it lies inside")
    line: Annotated[int, Field(ge=0)] | None
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] = Field(description="names it from run to run")
    docs: str = Field(description="web page of the rule")


class WaiverEntry(_Part):
    """One waiver of the policy."""

    id: str
    rule: Code
    where: dict[str, str]
    reason: str
    owner: str
    expires: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = Field(description="last day on which it holds")
    days_left: int = Field(description="below 0 once it has expired")
    limit: dict[str, Figure]
    n_findings: Count = Field(description="findings that it accepts")


class ToolEntry(_Part):
    """What made the result."""

    name: str
    version: str


class ProofEntry(_Part):
    """The accumulation proof; further figures depend on the step that decided."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    level: str
    holds: bool
    summary: str


class Result(_Part):
    """What ``collapse-guard check --output-format json`` prints."""

    schema_: Literal["collapse-guard/result/1"] = Field(alias="schema")
    verdict: Literal["kept", "violated", "unusable", "inconclusive"]
    exit_code: Annotated[int, Field(ge=0, le=3)] = Field(description="0 kept, 1 violated, 2 unusable, 3 inconclusive")
    fail_on: Literal["error", "warning", "never"] = Field(description="least severity that counts")
    folder: str = Field("", description="working directory of the check, from the root of its repository")
    policy: PolicyEntry | None
    policy_digest: Digest | None
    manifest_digest: Digest | None
    parent_digest: Digest | None
    manifest_file: str | None
    rules: list[RuleEntry]
    ignored_rules: list[Code]
    unenforced_policy_keys: list[str] = Field(description="policy keys that no check reads; never a pass")
    notes: list[str]
    accumulation: ProofEntry | None
    findings: list[FindingEntry]
    waivers: list[WaiverEntry]
    unsafe_waivers: bool = Field(description="whether waivers of rules that cannot be waived were allowed")
    tool: ToolEntry
    figures: dict[str, Any] | None = Field(None, description="what the page draws; made by the tool, not checked")

    @model_validator(mode="after")
    def _agrees(self) -> Result:
        meant = ("kept", "violated", "unusable", "inconclusive")[self.exit_code]
        if self.verdict != meant:
            raise ValueError(f"verdict {self.verdict!r} does not go with exit_code {self.exit_code} ({meant})")
        return self


def result_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a result.

    >>> result_json_schema()["properties"]["schema"]["const"]
    'collapse-guard/result/1'
    """
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "collapse_guard result"}
    return Result.model_json_schema(by_alias=True) | head


def load_result(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the result in a file, as the plain view that :func:`collapse_guard.report.formats.render` takes.

    Raises InputError, one line per fault with its JSON pointer, for a file that cannot be read, is too large or too
    deep, is not JSON, or is no such result.
    """
    try:
        with Path(path).open("rb") as file:
            return read_result(file, name=str(path))
    except OSError as error:
        text = f"{path}: cannot be read: {error.strerror or error}; name what 'check --output json=FILE' wrote"
        raise InputError(text) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r} is not a path: {error}") from None


def read_result(file: BinaryIO, *, name: str) -> dict[str, Any]:
    """Return the result that a stream of bytes holds; ``name`` stands in messages. Raises as ``load_result`` does."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: larger than {MAX_BYTES >> 20} MiB; a result of 'check' is not so large")
    view = _parsed(data, name)
    schema = view.get("schema") if isinstance(view, dict) else None
    if not isinstance(view, dict) or schema != SCHEMA:
        said = f"/schema is {one_line(repr(schema))[:80]}, this version reads {SCHEMA!r}"
        raise InputError(f"{name}: {said}; pass what 'check --output-format json' printed")
    try:
        Result.model_validate(view)
    except ValidationError as error:
        raise InputError(_faults(error, name)) from None
    return {"figures": None} | view


def _parsed(data: bytes, name: str) -> Any:
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else one_line(str(error))
        raise InputError(f"{name}: not a result: not JSON ({said})") from None
    return _readable(value, name, MAX_DEPTH)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError for a key that stands twice, of which most readers take the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"key {twice!r} stands twice in an object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _readable(value: Any, name: str, depth: int) -> Any:
    """Return the value with lone surrogates as visible text, which all readers take; raises InputError if too deep."""
    if isinstance(value, str):
        return _LONE.sub(lambda found: f"\\u{ord(found.group()):04x}", value)
    if not isinstance(value, (dict, list)):
        return value
    if not depth:
        raise InputError(f"{name}: nested deeper than {MAX_DEPTH} levels; a result of 'check' is not so deep")
    if isinstance(value, dict):
        return {_readable(key, name, 1): _readable(item, name, depth - 1) for key, item in value.items()}
    return [_readable(item, name, depth - 1) for item in value]


def _faults(error: ValidationError, name: str) -> str:
    found = error.errors(include_url=False)
    lines = [f"{name}: {_fault(each)}" for each in found[:_MAX_FAULTS]]
    n_more = len(found) - len(lines)
    return "\n".join([*lines, f"{name}: and {n_more} more faults"] if n_more else lines)


def _fault(fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    pointer = "".join("/" + one_line(part.replace("~", "~0").replace("/", "~1")) for part in location) or "/"
    if fault["type"] == "extra_forbidden":
        return f"{pointer}: no such key in {SCHEMA}; {nearest(location[-1], _keys(location))}"
    said = fault["msg"].removeprefix("Value error, ")
    given = "" if fault["type"] in {"missing", "value_error"} else f", got {one_line(repr(fault['input']))[:80]}"
    return f"{pointer}: {one_line(said[:1].lower() + said[1:])}{given}"


def _keys(location: list[str]) -> list[str]:
    """Return the keys that stand beside the last part of a location."""
    models: dict[str, type[BaseModel]] = {
        "policy": PolicyEntry,
        "rules": RuleEntry,
        "findings": FindingEntry,
        "waivers": WaiverEntry,
        "tool": ToolEntry,
    }
    model = models.get(location[0], Result) if len(location) > 1 else Result
    return [field.alias or key for key, field in model.model_fields.items()]
