"""The registry: names are used once, broken plug-ins of others are skipped aloud."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest

from collapse_guard import plugins
from collapse_guard.errors import InputError
from collapse_guard.plugins import Registry, nearest


@dataclass(frozen=True)
class Point:
    """What importlib.metadata hands out, as far as the registry uses it."""

    name: str
    value: str
    subject: Any

    def load(self) -> Any:
        if isinstance(self.subject, Exception):
            raise self.subject
        return self.subject


def installed(monkeypatch: pytest.MonkeyPatch, *points: Point) -> list[str]:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[Point]:
        asked.append(group)
        return list(points)

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return asked


def test_a_broken_entry_point_warns_and_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(
        monkeypatch,
        Point("bad", "their.module:Bad", ImportError("no module named 'theirs'")),
        Point("good", "other.module:Good", int),
    )
    registry = Registry[type]("cell_map")
    with pytest.warns(UserWarning, match=r"cell_map plug-in 'bad' \(their\.module:Bad\) is skipped: no module named"):
        found = dict(registry.items())
    assert found == {"good": int}


def test_a_skipped_plug_in_is_not_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Point("bad", "their.module:Bad", RuntimeError("broken")))
    registry = Registry[type]("cell_map")
    registry.register("own")(str)
    with (
        pytest.warns(UserWarning, match="'bad'"),
        pytest.raises(InputError, match="no cell_map is called 'bad'; allowed: own"),
    ):
        registry.get("bad")


def test_entry_points_are_asked_for_once_and_in_the_group_of_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = installed(monkeypatch, Point("bad", "x:y", ValueError("broken")))
    registry = Registry[type]("statistic")
    assert asked == []
    with pytest.warns(UserWarning, match="statistic plug-in"):
        assert list(registry.items()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(registry.items()) == []
    assert asked == ["collapse_guard.statistics"]


def test_a_plug_in_cannot_take_the_place_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Point("labels", "their.module:Labels", float))
    registry = Registry[type]("cell_map")
    registry.register("labels")(int)
    assert registry.get("labels") is int


def test_a_name_is_used_once() -> None:
    registry = Registry[type]("filter")
    assert registry.register("one")(int) is int
    with pytest.raises(InputError, match="a filter called 'one' is already registered"):
        registry.register("one")(float)
    assert registry.get("one") is int


def test_items_come_sorted_by_name() -> None:
    registry = Registry[type]("nothing_installed")
    registry.register("b")(int)
    registry.register("a")(float)
    assert list(registry.items()) == [("a", float), ("b", int)]


def test_an_unknown_name_gets_the_nearest_or_the_whole_list() -> None:
    assert nearest("labls", ["labels", "ngrams"]) == "did you mean 'labels'?"
    assert nearest("zzz", ["ngrams", "labels"]) == "allowed: labels, ngrams"
