"""Where each value of a policy stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collapse_guard.policy import resolve_policy

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """version: 1
extends: preset:starter@1
mix:
  real_min_share: 0.6
sources:
  web: {origin: real, min_share: 0.2}
waivers:
  - id: W-1
    rule: CG102
    reason: agreed
    owner: data
    expires: 2027-01-01
    limit: {max_share: 0.4}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("mix", "real_min_share"), 4),
        (("mix", "per_generator_max_share"), 3),
        (("sources", "web", "min_share"), 6),
        (("sources", "web", "max_share"), 6),
        (("sources", "books", "max_share"), 5),
        (("waivers", 0, "expires"), 12),
        (("waivers", 0), 8),
        (("accumulation", "allow_loss"), 2),  # of the preset
        (("filters", "tail"), 2),  # of nobody
        ((), 2),
    ],
)
def test_a_key_stands_at_its_line_at_that_of_its_section_or_where_the_preset_is_named(
    path: Path, key: tuple[str | int, ...], line: int
) -> None:
    assert resolve_policy(path).place(key) == (str(path), line)


def test_without_a_preset_a_default_stands_at_the_first_line(path: Path) -> None:
    path.write_text("\nversion: 1\n")
    assert resolve_policy(path).place(("mix", "real_min_share")) == (str(path), 1)


def test_every_value_says_whether_the_file_a_preset_or_nobody_set_it(path: Path) -> None:
    origins = {value.key: (value.value, value.origin) for value in resolve_policy(path).values()}
    assert origins["mix.real_min_share"] == (0.6, f"{path}:4")
    assert origins["accumulation.mode"] == ("superset", "preset:starter@1")
    assert origins["accumulation.replace_tolerance"] == (0.1, "default")
    assert origins["sources.web.min_share"] == (0.2, f"{path}:6")
    assert origins["coverage.planned_looks"] == (50, "preset:starter@1")


def test_values_of_a_file_that_is_extended_name_that_file(path: Path) -> None:
    path.with_name("child.yaml").write_text("version: 1\nextends: policy.yaml\nmix: {seed: 3}\n")
    resolved = resolve_policy(path.with_name("child.yaml"))
    origins = {value.key: value.origin for value in resolved.values()}
    assert origins["mix.real_min_share"] == f"{path}:4"
    assert origins["mix.seed"] == f"{path.with_name('child.yaml')}:3"
    assert origins["accumulation.mode"] == "preset:starter@1"
    assert resolved.place(("mix", "real_min_share")) == (str(path.with_name("child.yaml")), 2)
