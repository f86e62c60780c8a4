"""What the page of a gate result draws, as plain values: mix, accumulation, provenance, tails, filters, diversity.

Everything is counted from the census that checking leaves, and from headers; no index is read into memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import CollapseGuardError
from collapse_guard.manifest.index import origin_name
from collapse_guard.records import UNKNOWN_GENERATION, Evidence
from collapse_guard.report.gate_mix import MOST_NAMES, accumulation_of, mix_of, named, share_of
from collapse_guard.report.gate_tails import diversity_of, filters_of, tails_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.manifest import Limits, Manifest
    from collapse_guard.policy import Policy
    from collapse_guard.rules.registry import Subject

SECTIONS: Final = ("mix", "accumulation", "provenance", "tails", "filters", "diversity", "measured", "method")
#: Measured figures that are listed.
MOST_FIGURES: Final = 1_000


def figures(subject: Subject) -> dict[str, Any]:
    """Return what the page draws of a subject: a section each, null where there is nothing to count.

    Under ``missing`` stands why the sections are null, empty if they are there. Never raises for a manifest that
    cannot be read: that is a finding already.
    """
    if subject.manifest is None:
        return _nothing("the manifest could not be read")
    if not subject.index_is_readable:
        return _nothing("an index could not be read (CG004)")
    try:
        return {"missing": "", **_sections(subject, subject.manifest)}
    except CollapseGuardError as error:
        return _nothing(str(error))


def generations_of(subject: Subject) -> list[tuple[str, Manifest]]:
    """Return the manifests that are compared, oldest first: ``reference``, ``previous``, ``this``."""
    found = [("reference", subject.reference), ("previous", subject.previous), ("this", subject.manifest)]
    if subject.reference is not None and subject.previous is not None:
        found = found[subject.reference.digest == subject.previous.digest :]
    return [(which, manifest) for which, manifest in found if manifest is not None]


def _nothing(reason: str) -> dict[str, Any]:
    return {"missing": reason, **dict.fromkeys(SECTIONS)}


def _sections(subject: Subject, manifest: Manifest) -> dict[str, Any]:
    generations, limits = generations_of(subject), subject.limits
    return {
        "mix": mix_of(subject.policy, generations, limits),
        "accumulation": accumulation_of(subject, manifest),
        "provenance": _provenance(subject.policy, manifest, limits),
        "tails": tails_of(subject),
        "filters": filters_of(subject),
        "diversity": [diversity_of(which, each, limits) for which, each in generations],
        "measured": measured_of(subject),
        "method": _method(manifest, generations),
    }


def _provenance(policy: Policy | None, manifest: Manifest, limits: Limits | None) -> dict[str, Any]:
    generators = [each for each in _counted(manifest, "generator", limits) if each["generator"] is not None]
    evidence = manifest.rows_by("origin", "evidence", limits=limits)
    return {
        "max_generation_depth": None if policy is None else policy.provenance.max_generation_depth,
        "per_generator_max_share": None if policy is None else policy.mix.per_generator_max_share,
        "depths": [_depth(each) for each in _counted(manifest, "generation", limits)],
        "generators": sorted(generators, key=lambda each: -each["amount"])[:MOST_NAMES],
        "n_more_generators": len(generators[MOST_NAMES:]),
        "evidence": [
            {"origin": origin_name(code), "evidence": _evidence_name(how), "rows": rows}
            for (code, how), rows in sorted(evidence.items())
        ],
    }


def _counted(manifest: Manifest, column: str, limits: Limits | None) -> list[dict[str, Any]]:
    rows, amounts = (count(column, limits=limits) for count in (manifest.rows_by, manifest.amount_by))
    groups: Iterable[Any] = sorted((value for (value,) in rows), key=lambda value: (isinstance(value, str), value or 0))
    return [
        {
            column: value,
            "rows": rows[value,],
            "amount": amounts[value,],
            "share": share_of(amounts[value,], manifest.amount),
        }
        for value in groups
    ]


def _depth(counted: dict[str, Any]) -> dict[str, Any]:
    return counted | {"generation": None} if counted["generation"] == UNKNOWN_GENERATION else counted


def _evidence_name(code: int) -> str:
    return Evidence(code).name.lower() if code in set(Evidence) else f"code {code}"


def measured_of(subject: Subject) -> list[dict[str, Any]]:
    """Return the figures that outside measurements give for this manifest, those of a series by their dates."""
    digest = None if subject.manifest is None else subject.manifest.digest
    found = [figure for each in subject.measurements if each.manifest == digest for figure in each.figures]
    listed = [
        {
            "name": figure.name,
            "source": figure.source,
            "class": figure.class_,
            "at": figure.at,
            "value": figure.value,
            "n": figure.n,
            "low": figure.interval[0],
            "high": figure.interval[1],
            "level": figure.level,
            "method": figure.method,
            "before": None if figure.before is None else figure.before.value,
        }
        for figure in sorted(found, key=lambda figure: tuple(map(str, figure.key)))
    ]
    return listed[:MOST_FIGURES]


def _method(manifest: Manifest, generations: list[tuple[str, Manifest]]) -> dict[str, Any]:
    header = manifest.header
    return {
        "unit": header.unit,
        "unit_column": header.unit_column,
        "id_rule": header.id_rule,
        "class_column": header.class_column,
        "counting": "exact; every row is counted while the digests are recomputed",
        "manifests": [
            named(which, each)
            | {
                "file": None if each.path is None else each.path.name,
                "created": each.header.created,
                "tool": each.header.tool,
                "rows": each.n_rows,
                "amount": each.amount,
                "digest": each.digest,
            }
            for which, each in generations
        ],
    }
