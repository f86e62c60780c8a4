"""``collapse-guard check``: the gate."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from collapse_guard import gate
from collapse_guard.cli.asked import (
    AgainstOption,
    BaselineOption,
    FailOn,
    ManifestOption,
    NoConfig,
    PolicyOption,
    asked,
    codes,
)
from collapse_guard.cli.limits import MaxMemory, Threads  # noqa: TC001 - typer reads annotations at run time
from collapse_guard.cli.outputs import check_format, check_spared, parse_outputs, show_gate
from collapse_guard.manifest import Limits
from collapse_guard.report.formats import append_summary, write
from collapse_guard.report.terminal import NORMAL, QUIET, VERBOSE
from collapse_guard.rules import Choice

if TYPE_CHECKING:
    from collapse_guard.gate import GateResult

#: Formats that carry the figures of the page, so that it can be drawn from them again.
_WITH_FIGURES: Final = frozenset({"html", "json", "json-v1"})


def check(  # noqa: PLR0913, PLR0917 - an option each
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    against: AgainstOption = None,
    baseline: BaselineOption = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", help="Rules to run, by code or its beginning: CG1,CG203.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Rules to leave out; the report says so.")
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--output-format",
            help="On the screen: auto (rich on a terminal, plain otherwise), rich, plain, json, sarif, junit, github,"
            " gitlab, azure, markdown, html.",
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            help="Also write FORMAT=PATH; a path alone says it by its suffix; may be repeated.",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option("--fail-on", help="Least severity that fails the check; error if left out.")
    ] = None,
    require_signature: Annotated[
        Path | None,
        typer.Option("--require-signature", metavar="KEY", help="Public key (PEM) that must have signed the manifest."),
    ] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 where it would be 1 or 3.")] = False,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Policy and headers alone; rules that look at rows do not run.")
    ] = False,
    no_waivers: Annotated[
        bool, typer.Option("--no-waivers", help="Apply neither the policy's waivers nor the baseline.")
    ] = False,
    allow_unsafe_waivers: Annotated[
        bool, typer.Option("--allow-unsafe-waivers", help="Take waivers of rules that guard the evidence itself.")
    ] = False,
    show_policy: Annotated[
        bool, typer.Option("--show-policy", help="Print every value of the policy and where it comes from; no check.")
    ] = False,
    no_config: NoConfig = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The verdict and what failed, nothing else.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="All findings with their evidence, and each rule.")
    ] = False,
    max_memory: MaxMemory = None,
    threads: Threads = None,
) -> None:
    """Check a data manifest against a policy.

    Exit code: 0 kept, 1 violated, 2 unusable input, 3 inconclusive; the same for every format.

    Examples:
      collapse-guard check

      collapse-guard check -p collapse_guard.yaml -m gen4/manifest.cgm.json --against gen3/manifest.cgm.json

      collapse-guard check --output-format github --output sarif=gate.sarif --output html=gate.html
    """
    files = parse_outputs(output or [])
    check_format(output_format or "auto")
    wanted = asked(policy, manifest, against, baseline, no_config=no_config)
    shown = check_format(output_format or wanted.found.project.output_format or "auto")
    if show_policy:
        from collapse_guard.cli.show_policy import show  # noqa: PLC0415 - only for this flag

        show(wanted.found, is_json=shown == "json")
        return
    result = gate.check(
        wanted.policy,
        wanted.manifest,
        against=wanted.against,
        fail_on=wanted.fail_on(fail_on).value,
        choice=Choice(codes(select), wanted.ignore(ignore), headers_only),
        governing=gate.Governing(wanted.baseline, is_strict=no_waivers, is_unsafe_allowed=allow_unsafe_waivers),
        signature_key=require_signature,
        limits=Limits(max_memory, threads),
    )
    formats = {shown, *(name for name, _ in files)}
    view = _view(result, has_figures=bool(formats & _WITH_FIGURES) and not headers_only)
    view["notes"] += wanted.notes
    check_spared(files, result.inputs)
    write(view, files)  # first: a file that cannot be written must not follow a verdict
    show_gate(view, shown, VERBOSE if verbose else QUIET if quiet else NORMAL)
    if shown == "github":
        append_summary(view, os.environ)
    raise typer.Exit(0 if exit_zero and result.exit_code != gate.UNUSABLE else result.exit_code)


def _view(result: GateResult, *, has_figures: bool) -> dict[str, Any]:
    return result.as_dict(figures=has_figures and result.subject.index_is_readable)
