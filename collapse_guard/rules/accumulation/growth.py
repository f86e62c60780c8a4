"""CG205: does the real pool grow from generation to generation?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapse_guard.errors import ManifestError
from collapse_guard.manifest.chain import chain_of
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.loss import accumulates
from collapse_guard.rules.registry import Subject, rule
from collapse_guard.rules.unanswered import not_evaluated, without_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.manifest.header import Header
    from collapse_guard.policy import Policy


@dataclass(frozen=True, slots=True)
class Lineage:
    """Generations from a manifest back to the oldest that is found.

    Args:
        headers: of this generation, its parent, and so on.
        gap: why the line ends before its beginning, empty if it does not.
    """

    headers: tuple[Header, ...]
    gap: str = ""


@rule("CG205", Severity.WARNING, "real pool did not grow", needs=("policy", "manifest"))
def real_pool_grows(subject: Subject) -> Iterator[Finding]:
    """Generations, this one first, of which each holds no more real rows in scope than its parent.

    Headers alone are read. The parent is the one that was given; older generations are those whose headers lie beside
    it (as ``collapse-guard manifest log`` finds them), and where they are needed and missing the question stays open.
    A chain that is younger than ``accumulation.grow_within`` passes. Rows are counted and not distinct ids.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    within = subject.policy.accumulation.grow_within
    if within is None:
        return
    missing = without_parent(subject) or _several(subject.manifest.header)
    if missing:
        yield not_evaluated("CG205", Severity.WARNING, missing, key=("accumulation", "grow_within"))
    if missing or subject.previous is None:
        return
    line = Lineage((subject.manifest.header, subject.previous.header))
    sizes = _sizes(subject.policy, line)
    if sizes[0] <= sizes[1]:  # older generations are read only where they matter
        line = _lineage(subject)
        sizes = _sizes(subject.policy, line)
    still = next((number for number, size in enumerate(sizes[:-1]) if size > sizes[number + 1]), len(sizes) - 1)
    if still >= within:
        yield _standing(within, still, sizes, line)
    elif still == len(sizes) - 1 and line.gap:
        text = f"the real pool did not grow for {still} of {within} generations, and {line.gap}"
        yield not_evaluated("CG205", Severity.WARNING, text, key=("accumulation", "grow_within"))


def _standing(within: int, still: int, sizes: list[int], line: Lineage) -> Finding:
    shown = sizes[: still + 1]
    generations = [header.generation for header in line.headers[: still + 1]]
    return Finding(
        "CG205",
        Severity.WARNING,
        f"the real pool did not grow for {still} {'generation' if still == 1 else 'generations'}:"
        f" {', '.join(map(str, reversed(shown)))} real rows, the newest last; it is to grow within {within}",
        evidence={"real_rows": list(reversed(shown)), "generations": list(reversed(generations))},
        subject="real",
        measured=still,
        limit=within - 1,
        unit="generations",
        key=("accumulation", "grow_within"),
        remedy="add fresh real rows, or raise accumulation.grow_within in review",
    )


def _sizes(policy: Policy, line: Lineage) -> list[int]:
    """Return the real rows in scope of each generation."""
    return [
        sum(source.real_rows for source in header.sources if accumulates(policy, source.name))
        for header in line.headers
    ]


def _lineage(subject: Subject) -> Lineage:
    """Return the generations that can be walked."""
    assert subject.manifest is not None
    assert subject.previous is not None
    own, parent = subject.manifest.header, subject.previous.header
    try:
        known = _beside(subject)
    except ManifestError as error:
        return Lineage((own, parent), f"its ancestors cannot be read ({error})")
    return _walked([own, parent], known)


def _beside(subject: Subject) -> dict[str, Header]:
    assert subject.manifest is not None
    assert subject.previous is not None
    if subject.previous.path is None:
        return {}
    folders = [] if subject.manifest.path is None else [subject.manifest.path.parent]
    return {link.header.digest: link.header for link in chain_of(subject.previous.path, folders)}


def _several(header: Header) -> str:
    """Return, as a clause, that a generation has several parents: which of them the pool grew from is not told."""
    n_parents = len(header.parents)
    return f"generation {header.generation} has {n_parents} parents" if n_parents > 1 else ""


def _walked(line: list[Header], known: Mapping[str, Header]) -> Lineage:
    seen = {header.digest for header in line}
    while line[-1].parents:
        links, several = line[-1].parents, _several(line[-1])
        if several:
            return Lineage(tuple(line), several)
        if links[0].digest not in known or links[0].digest in seen:
            return Lineage(tuple(line), f"{links[0].name!r}, {links[0].digest[:19]}..., is not beside its child")
        line.append(known[links[0].digest])
        seen.add(links[0].digest)
    return Lineage(tuple(line))
