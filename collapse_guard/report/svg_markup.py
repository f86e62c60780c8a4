"""Matplotlib's SVG as markup of a page: its colours are the page's, its names are its own, it carries no style."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

_DROPPED: Final = {"metadata", "style"}
_REFERENCE: Final = re.compile(r"#([\w.-]+)")
_LONG: Final = re.compile(r"-?\d+\.\d{3,}")
_SPACE: Final = re.compile(r"\s+")
#: What matplotlib writes as style and the page sets itself.
_OURS: Final = {"font-family", "font"}


def inlined(svg: bytes, *, name: str, label: str, colours: Mapping[str, str]) -> str:
    """Return an ``<svg>`` element to stand in a page.

    Names get the prefix ``name``, so that plots do not take each other's; style becomes attributes, which a content
    security policy without inline style lets pass.

    Args:
        svg: what matplotlib wrote, with ``svg.fonttype: none``.
        name: prefix of the names inside, one word, once on a page.
        label: what the plot shows, for those who hear the page.
        colours: what stands for each colour of the plot, such as ``{"#000001": "currentColor"}``.

    >>> text = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path id="a" style="fill: #000001"/></svg>'
    >>> inlined(text, name="p", label="a < b", colours={"#000001": "currentColor"})
    '<svg viewBox="0 0 1 1" class="plot" role="img" aria-label="a &lt; b"><path fill="currentColor" /></svg>'
    """
    root = ET.fromstring(svg)  # noqa: S314 - written by matplotlib a moment ago
    asked = {found for element in root.iter() for value in element.attrib.values() for found in _asked(value)}
    _clean(root, name, asked, colours)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-label": label}
    return ET.tostring(root, encoding="unicode")


def _asked(value: str) -> list[str]:
    return _REFERENCE.findall(value) if value.startswith("#") or "url(#" in value else []


def _clean(element: Any, name: str, asked: set[str], colours: Mapping[str, str]) -> None:
    element.tag = _local(element.tag)
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    plain = _plain(element.attrib, colours)
    if plain.get("id") not in asked:
        plain.pop("id", None)
    element.attrib = {key: _renamed(key, value, name) for key, value in plain.items()}
    for child in list(element):
        if _local(child.tag) in _DROPPED:
            element.remove(child)
        else:
            _clean(child, name, asked, colours)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _plain(attributes: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, str]:
    """Return attributes with the style taken apart, colours of the page, and two digits after the point."""
    found = {_local(key): value for key, value in attributes.items() if key != "style"}
    for declared in attributes.get("style", "").split(";"):
        key, _, value = declared.partition(":")
        if value and key.strip() not in _OURS:
            found[key.strip()] = value.strip()
    return {key: _short(colours.get(value, value)) for key, value in found.items()}


def _short(value: str) -> str:
    return _SPACE.sub(" ", _LONG.sub(lambda number: f"{float(number[0]):.2f}", value)).strip()


def _renamed(key: str, value: str, name: str) -> str:
    return f"{name}-{value}" if key == "id" else _REFERENCE.sub(rf"#{name}-\1", value) if _asked(value) else value
