"""Sections of the page of a gate result that show the data: mix, accumulation, provenance, and how it was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.report.gate_grid import Grid, Part, Section, bar, crossed, drawn, more, number, percent
from collapse_guard.report.gate_plots import chain_plot, depth_plot, mix_plot

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS: Final = {
    "root": "the root digest: the same real shards stand in both generations",
    "shards": "the digests of shards: those of the parent are here unchanged",
    "rows": "rows: those of changed shards were compared one by one",
}
_MOST_GROUPS: Final = 200


def mix_section(view: Mapping[str, Any]) -> Section:
    """Return the mix by generation and by source, against floors and caps."""
    mix = view["figures"]["mix"]
    unit, floor = mix["unit"], mix["real_min_share"]
    now = mix["generations"][-1]
    real = sum(each["amount_share"] for each in now["origins"] if each["origin"] == "real")
    asked = "the policy sets no floor" if floor is None else f"the floor is {percent(floor)}"
    said = f"Real rows are {percent(real)} of what trains, in {unit}; {asked}."
    rows = [
        (
            f"{each['which']}: {each['name']}",
            number(each["generation"]),
            origin["origin"],
            number(origin["rows"]),
            percent(origin["row_share"]),
            number(origin["amount"]),
            percent(origin["amount_share"]),
        )
        for each in mix["generations"]
        for origin in each["origins"]
    ]
    columns = ("manifest", "generation", "origin", "rows", "share of rows", f"amount ({unit})", "share of amount")
    by_origin = Grid("Origins by generation", columns, rows, frozenset({2}))
    return Section("mix", "Mix", (said,), (Part(by_origin, drawn(mix_plot(mix))), Part(_sources(mix))))


def _sources(mix: dict[str, Any]) -> Grid:
    rows = []
    for each in mix["sources"]:
        now, before = (each["generations"].get(which, {}) for which in ("this", "previous"))
        share = now.get("share", 0.0)
        limits = (("min", each["min_share"]), ("max", each["max_share"]))
        marks = [("limit", limit) for _, limit in limits if limit is not None]
        low, high = each["min_share"], each["max_share"]
        is_out = (low is not None and share < low) or (high is not None and share > high)
        origin = each["origins"][0] if len(each["origins"]) == 1 else "mixed" if each["origins"] else "unknown"
        rows.append(
            (
                each["source"],
                ", ".join(each["origins"]) or "no rows",
                bar([(origin, share)], marks),
                crossed(percent(share), when=is_out),
                percent(before.get("share")),
                percent(low),
                percent(high),
                number(now.get("rows", 0)),
                number(now.get("amount", 0)),
            )
        )
    columns = ("source", "origin", "", "share", "share before", "floor", "cap", "rows", f"amount ({mix['unit']})")
    note = "Shares are of the amount that trains; lines across a bar are the floor and the cap; \u2716 is beyond one."
    return Grid("Sources", columns, rows, frozenset({1, 2}), f"{note} {more(mix['n_more_sources'], 'sources')}".strip())


def accumulation_section(view: Mapping[str, Any]) -> Section:
    """Return what became of the parent's real rows, by source, and the sizes of the chain."""
    found, proof = view["figures"]["accumulation"], view["accumulation"]
    if found is None:
        text = "No parent was given, so that nothing was compared: pass --against PREVIOUS, or set manifests.previous."
        return Section("accumulation", "Accumulation", (text,))
    said = ["No proof was made: accumulation is off, or the ids of both generations follow different rules."]
    if proof is not None:
        summary = proof["summary"]
        said = [f"{summary[:1].upper()}{summary[1:]}.", f"Decided by {_LEVELS.get(proof['level'], proof['level'])}."]
    parts = [Part(_retained(found)), Part(_lost(proof or {}))]
    if len(found["chain"]) > 1:
        parts.append(Part(_chain(found["chain"]), drawn(chain_plot(found["chain"]))))
    return Section("accumulation", "Accumulation", tuple(said), tuple(parts))


def _retained(found: dict[str, Any]) -> Grid:
    rows = []
    most = max([1, *(max(each["before"], each["now"]) for each in found["sources"])])
    for each in found["sources"]:
        pieces = [("real", each.get("retained", each["now"])), ("bad", each["lost"]), ("taken", each["taken_down"])]
        pieces.append(("added", max(each.get("added", 0), 0)))
        rows.append(
            (
                each["source"],
                bar([(name, n / most) for name, n in pieces]),
                number(each["before"]),
                number(each.get("retained")),
                crossed(number(each["lost"]), when=each["lost"] > 0) if each["in_scope"] else "not asked",
                number(each["taken_down"]) if each["in_scope"] else "-",
                number(each.get("added")),
                number(each["now"]),
            )
        )
    columns = ("source", "", "before", "retained", "lost", "taken down", "added", "now")
    note = (
        "Bars: retained, lost, taken down, added, in this order. A row that moved to another source counts as retained"
    )
    note = f"{note} in its old one, and as added on balance. {more(found['n_more_sources'], 'sources')}".strip()
    return Grid("Real rows by source", columns, rows, frozenset({1}), note)


def _lost(proof: Mapping[str, Any]) -> Grid:
    groups = proof.get("lost_by") or []
    rows = [(source, "(no class)" if label is None else label, number(n)) for source, label, n in groups]
    note = more(len(rows) - _MOST_GROUPS, "groups")
    return Grid("Real rows lost", ("source", "class", "rows"), rows[:_MOST_GROUPS], frozenset({1}), note)


def _chain(chain: list[dict[str, Any]]) -> Grid:
    rows = [
        (each["name"], number(each["generation"]), number(each["rows"]), number(each["real_rows"])) for each in chain
    ]
    return Grid("Generations of the chain, oldest first", ("manifest", "generation", "rows", "real rows"), rows)


def provenance_section(view: Mapping[str, Any]) -> Section:
    """Return the depth of the generations, the generators, how origins are known, and own outputs that came back."""
    found = view["figures"]["provenance"]
    limit = found["max_generation_depth"]
    asked = "the policy sets no limit" if limit is None else f"the limit is {limit}"
    deepest = max((each["generation"] for each in found["depths"] if each["generation"] is not None), default=0)
    said = f"The deepest row is of generation {deepest}; {asked}."
    depths = [
        (
            "unknown" if each["generation"] is None else number(each["generation"]),
            number(each["rows"]),
            percent(each["share"]),
        )
        for each in found["depths"]
    ]
    grid = Grid("Rows by their generation", ("generation", "rows", "share of amount"), depths)
    back = [(each["message"],) for each in view["findings"] if each["code"] == "CG305" and each["status"] == "fail"]
    parts = (
        Part(grid, drawn(depth_plot(found["depths"], limit)) if depths else ""),
        Part(_generators(found)),
        Part(_evidence(found)),
        Part(Grid("Own outputs that came back (CG305)", ("finding",), back[:_MOST_GROUPS])),
    )
    return Section("provenance", "Provenance", (said,), parts)


def _generators(found: dict[str, Any]) -> Grid:
    cap = found["per_generator_max_share"]
    rows = [
        (
            each["generator"],
            bar([("synthetic", each["share"])], [] if cap is None else [("limit", cap)]),
            crossed(percent(each["share"]), when=cap is not None and each["share"] > cap),
            number(each["rows"]),
            number(each["amount"]),
        )
        for each in found["generators"]
    ]
    note = f"{'' if cap is None else f'The cap is {percent(cap)}.'} {more(found['n_more_generators'], 'generators')}"
    return Grid("Generators", ("generator", "", "share", "rows", "amount"), rows, frozenset({1}), note.strip())


def _evidence(found: dict[str, Any]) -> Grid:
    rows = [(each["origin"], each["evidence"].replace("_", " "), number(each["rows"])) for each in found["evidence"]]
    return Grid("How origins are known", ("origin", "evidence", "rows"), rows, frozenset({1}))


def counted_how(view: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Part, ...]]:
    """Return how rows were counted, and the manifests that were read; nothing without figures."""
    method = (view["figures"] or {}).get("method")
    if method is None:
        return (), ()
    of_classes = "no classes" if method["class_column"] is None else f"classes from {method['class_column']}"
    counted = f"Counting is {method['counting']}; {of_classes}; ids by {method['id_rule']}; unit {method['unit']}."
    said = (counted, "Intervals of shares are those of Clopper and Pearson, 95 %, but where a method is named.")
    return said, (Part(_manifests(method["manifests"])),)


def _manifests(found: list[dict[str, Any]]) -> Grid:
    rows = [
        (
            f"{each['which']}: {each['name']}",
            number(each["generation"]),
            number(each["rows"]),
            number(each["amount"]),
            each["created"],
            each["tool"],
            each["digest"],
        )
        for each in found
    ]
    columns = ("manifest", "generation", "rows", "amount", "created", "written by", "digest")
    return Grid("Manifests that were read", columns, rows, frozenset({5, 6}))
