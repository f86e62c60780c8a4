"""Every rule has a page, and what the page says is what the rule does."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import InputError
from collapse_guard.gate import Governing, check
from collapse_guard.policy import Policy, load_policy, policy_json_schema, resolve_policy
from collapse_guard.policy.keys import policy_key
from collapse_guard.policy.waiver import Waiver
from collapse_guard.records import FAMILIES, Finding, Status
from collapse_guard.report.terminal import gate_lines
from collapse_guard.rules import RULES, Terms, evaluate
from collapse_guard.rules.catalogue import can_be_waived, family_of
from collapse_guard.rules.page import HEADINGS, Page, docs_url, load_page, page_codes, parse_page
from collapse_guard.rules.waivers import uses_of, waived
from tests.rules.test_rules import CASES, Make

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = sorted(RULES.names())
FILE = "collapse_guard.yaml"
TODAY = dt.date(2026, 12, 20)
#: Faults of files: the whole gate finds them, while it reads.
OF_READING = ("CG001", "CG002", "CG003", "CG903")
#: What the rules on waivers and keys look at: a source above its cap.
GOVERNED = "CG102"
WHOLE = "# CG999: a title\n\n- `unit`\n\n" + "".join(f"## {heading}\n\ntext\n\n" for heading in HEADINGS)


def page_of(code: str) -> Page:
    found = load_page(code)
    assert found is not None
    return found


def written(code: str, folder: Path) -> Path:
    """Return the policy of a page's example, as a file."""
    path = folder / FILE
    path.write_text(page_of(code).example("yaml"))
    return path


def found_by(code: str, make: Make, file: Path) -> list[Finding]:
    """Return what the rule says of its tripping case under the policy of a file, with the places of the gate."""
    if code in OF_READING:
        return [each for each in check(file.name, governing=Governing(today=TODAY)).findings if each.code == code]
    resolved = resolve_policy(file.name)
    subject = replace(CASES[GOVERNED if code >= "CG9" else code].trips(make), policy=resolved.policy)
    if code >= "CG9":
        terms = Terms(TODAY, unenforced=resolved.policy.unenforced())
        found = [each for each in evaluate(subject, terms=terms).findings if each.code == code]
    else:
        found = RULES.get(code)(subject)
    places = [resolved.place(each.key) for each in found]
    return [replace(each, file=name, line=line) for each, (name, line) in zip(found, places, strict=True)]


def printed(found: list[Finding]) -> str:
    """Return the lines that the terminal has for some findings."""
    plain = [each.as_dict() | {"fingerprint": "", "docs": ""} for each in found]
    digests = dict.fromkeys(("manifest_digest", "parent_digest", "policy_digest"))
    lines = gate_lines({"verdict": "violated", "rules": [], "notes": [], "findings": plain} | digests)
    return "\n".join(line for line in lines[1:] if not line.startswith("next: ")) + "\n"


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert page_codes() == tuple(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_bears_the_code_and_title_of_its_rule(code: str) -> None:
    page = page_of(code)
    assert (page.code, page.title) == (code, RULES.get(code).title)
    assert tuple(page.sections) == HEADINGS


@pytest.mark.parametrize("code", CODES)
def test_a_page_is_short_and_plain(code: str) -> None:
    text = (files("collapse_guard.rules") / "pages" / f"{code}.md").read_text("utf-8")
    assert text.isascii()
    assert 20 <= len(text.splitlines()) <= 50
    assert not [line for line in text.splitlines() if len(line) > 120 and not line.startswith((code, "not evaluated"))]


@pytest.mark.parametrize("code", CODES)
def test_every_key_of_a_page_is_in_the_schema(code: str) -> None:
    keys = page_of(code).keys
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert policy_key(key).takes, key


@pytest.mark.parametrize("code", [code for code in CODES if page_of(code).keys])
def test_the_key_that_a_finding_names_is_on_its_page(code: str, make: Make) -> None:
    asked = [key.replace("[]", "") for key in page_of(code).keys]
    for found in RULES.get(code)(CASES[code].trips(make)):
        path = ".".join(str(part) for part in found.key if not isinstance(part, int))
        named = re.sub(r"^sources\.[^.]+", "sources.<name>", path)
        is_asked = any(f"{key}.".startswith(f"{named}.") or f"{named}.".startswith(f"{key}.") for key in asked)
        assert is_asked or not named, named


@pytest.mark.parametrize("code", sorted(set(CODES) - set(OF_READING) | {"CG003"}))
def test_the_policy_of_an_example_is_one(code: str, tmp_path: Path) -> None:
    assert isinstance(load_policy(written(code, tmp_path)), Policy)


@pytest.mark.parametrize("code", CODES)
def test_an_example_prints_what_the_rule_says(
    code: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = found_by(code, make, written(code, tmp_path))
    assert found
    assert page_of(code).example("text") == printed(found)
    assert code in printed(found)


@pytest.mark.parametrize("code", CODES)
def test_a_page_names_only_rules_and_keys_that_there_are(code: str) -> None:
    text = "\n".join(page_of(code).sections.values())
    assert set(re.findall(r"CG\d{3}", text)) <= set(CODES)
    top = set(Policy.model_fields)
    for quoted in re.findall(r"`([a-z_]+(?:\.(?:<name>|[a-z_0-9]+))+)`", text):
        if quoted.partition(".")[0] in top:
            assert policy_key(quoted), quoted


def test_the_page_of_unread_keys_lists_them_all() -> None:
    marked = {path for path, node in _nodes(policy_json_schema()) if node.get("x-enforced") is False}
    also = {"accumulation.mode", "severity"}  # one word of the first, unknown codes of the second
    assert set(page_of("CG905").keys) == marked | also


def _nodes(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key of the policy with its node, by its dotted path; what stands in lists and maps is left out."""
    waiting = [("", node, name) for name, node in schema["properties"].items()]
    while waiting:
        prefix, node, name = waiting.pop()
        yield f"{prefix}{name}", node
        named = [node.get("$ref"), *(kind.get("$ref") for kind in node.get("anyOf", ()))]
        for reference in filter(None, named):
            inner = schema["$defs"][reference.rpartition("/")[2]].get("properties", {})
            waiting += [(f"{prefix}{name}.", child, key) for key, child in inner.items()]


@pytest.mark.parametrize("code", [code for code in CODES if can_be_waived(code)])
def test_what_can_be_waived_is_waived_up_to_its_figure(code: str, make: Make) -> None:
    for found in RULES.get(code)(CASES[code].trips(make)):
        assert found.measured is not None
        said = {"id": "W", "rule": code, "reason": "r", "owner": "o", "expires": "2027-01-01"}
        waiver = Waiver.model_validate_json(
            json.dumps(said | {"limit": {"min" if found.is_floor else "max": found.measured}})
        )
        assert waived(found, uses_of([waiver], [found], TODAY)).status is Status.WAIVED


def test_what_cannot_be_waived_is_what_guards_the_evidence() -> None:
    never = {code for code in CODES if not can_be_waived(code)}
    assert never == {"CG001", "CG002", "CG003", "CG004", "CG204", "CG305", *(c for c in CODES if c >= "CG9")}


def test_every_rule_is_of_a_family_and_every_family_has_rules() -> None:
    assert {code[:3] for code in CODES} == set(FAMILIES)
    assert family_of("XX123") == "of other packages"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line must be '# CG000: title', got ''"),
        (WHOLE.replace("CG999", "CG99"), "first line must be"),
        (WHOLE.replace("## Why", "## Because"), "headings must be Why, How it is measured, Example, What to do"),
        (WHOLE.replace("## Why\n\ntext\n\n", ""), "got How it is measured, Example, What to do"),
        (WHOLE.replace("## Why\n\ntext", "## Why\n"), "nothing stands under Why"),
    ],
)
def test_a_page_that_is_none_says_what_is_missing(text: str, said: str) -> None:
    assert parse_page(WHOLE, name="CG999.md").keys == ("unit",)
    with pytest.raises(InputError, match=rf"^CG999.md: .*{re.escape(said)}"):
        parse_page(text, name="CG999.md")


def test_a_rule_without_a_page_has_none() -> None:
    assert load_page("CG000") is None
    assert load_page("../CG201") is None


def test_the_address_of_a_page_ends_in_its_place_in_the_repository() -> None:
    for code in CODES:
        path = docs_url(code).partition("/blob/main/")[2]
        assert (Path(__file__).parents[2] / path).is_file()


def test_a_page_is_found_without_what_reads_rows() -> None:
    code = "import sys; from collapse_guard.rules.page import load_page; load_page('CG201'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"duckdb", "datasets", "pandas", "jinja2", "matplotlib", "torch", "rich"}
