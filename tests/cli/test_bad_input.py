"""Bad input through the command itself: exit code 2, one clear line, no traceback, nothing written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse_guard import cli
from collapse_guard.manifest.inventory import take_inventory

CHECK = ("check", "-p", "policy.yaml", "-m", "m.cgm.json")
STARTER = "version: 1\nextends: preset:starter@1\n"
Call = Callable[..., "Said"]
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def faults(self) -> list[str]:
        """The lines that name a fault, less what is only their remedy."""
        starts = ("CG0", "CG2", "CG9", "error: ")
        return [line for line in (self.out + self.err).splitlines() if line.startswith(starts)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a manifest of three rows and a policy that it keeps."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "web"
    data.mkdir()
    (data / "rows.csv").write_text("text,label\na,cat\nb,dog\nc,dog\n")
    take_inventory(data, to=tmp_path / "m.cgm.json", source="web", origin="real", class_column="label")
    (tmp_path / "policy.yaml").write_text(STARTER)
    return tmp_path


@pytest.fixture
def call(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command as the shell does; whatever it prints is printable, and it raises nothing but its exit."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["collapse-guard", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert "Traceback" not in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        return Said(int(caught.value.code or 0), printed.out, printed.err)

    return run


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(call: Call, here: Path, said: str, *arguments: str) -> None:
    before = files(here)
    found = call(*(arguments or CHECK))
    assert found.code == 2
    assert len(found.faults) == 1, found.faults
    assert said in found.faults[0]
    assert len(found.faults[0]) < 1000
    assert files(here) == before


ALIASES = "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("ab", "bc", strict=True)
)
POLICIES: dict[str, tuple[str | bytes, str]] = {
    "bomb": (f"version: 1\nname: &a [x]\nunit: {'[' * 3}{','.join(['*a'] * 9)}{']' * 3}\n", "aliases (*name)"),
    "too large": (b"version: 1\n#" + b"x" * (2 << 20), "is larger than 1 MiB"),
    "tab": ("version: 1\nmix:\n\treal_min_share: 0.5\n", "policy.yaml:3: not YAML"),
    "utf-16": ("version: 1\n".encode("utf-16"), "is not UTF-8"),
    "merge key": ("version: 1\nmix:\n  <<: {real_min_share: 0.5}\n", "merge keys (<<) are not allowed"),
    "duplicate key": ("version: 1\nunit: rows\nunit: tokens\n", "policy.yaml:3: unit: duplicate key"),
    "deep list": ("version: 1\nmix: " + "[" * 5000 + "]" * 5000 + "\n", "nested too deeply"),
    "deep list, open": ("version: 1\nmix: " + "[" * 5000 + "\n", "nested too deeply"),
    "deep map": ("version: 1\nmix: " + "{a: " * 2000 + "1" + "}" * 2000 + "\n", "nested too deeply"),
    "deep block": ("version: 1\n" + "".join(f"{' ' * n}a:\n" for n in range(600)), "nested too deeply"),
    "NUL": (b"version: 1\0\n", "not YAML"),
    "NaN": ("version: 1\nmix: {real_min_share: .nan}\n", "must be a finite number"),
    "infinity": ("version: 1\nmix: {synthetic_to_real_max: .inf}\n", "must be a finite number"),
    "tag": ("version: 1\nname: !!python/object/apply:os.mkdir [made]\n", "tags (!!python/object/apply:os.mkdir)"),
    "empty": ("", "a policy is a mapping of keys"),
    "binary": (bytes(range(128, 256)), "is not UTF-8"),
    "itself": ("version: 1\nextends: policy.yaml\n", "policies extend each other: policy.yaml -> policy.yaml"),
    "extends a folder": ("version: 1\nextends: web\n", "web: is a directory"),
    "extends NUL": ('version: 1\nextends: "a\\0b"\n', "extends: a\\x00b: cannot be read"),
    "extends a preset's neighbour": ("version: 1\nextends: preset:../starter@1\n", "no such preset"),
    "huge number": (f"version: 1\nmix: {{real_min_share: {'9' * 5000}}}\n", "is not a value of its kind"),
    "half a surrogate": ('version: 1\nname: "\\ud800"\n', "is not Unicode text"),
    "two documents": ("version: 1\n---\nversion: 1\n", "found another document"),
    "NUL in a path": ('version: 1\nmanifests: {previous: "a\\0b"}\n', "cannot be read: embedded null byte"),
    "hostile key": ('version: 1\n"a\\n::error::%0A]]>\\u202e": 1\n', "unknown key"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    text, said = POLICIES[name]
    here.joinpath("policy.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    if name == "bomb":  # a line for each alias, and no more
        found = call(*CHECK)
        assert found.code == 2
        assert all(said in line for line in found.faults if "aliases" in line)
        assert 1 < len(found.out.splitlines()) < 40
    else:
        refused(call, here, said)
    assert not (here / "made").exists()


@pytest.mark.parametrize(
    "text",
    [STARTER.encode("utf-8-sig"), STARTER.replace("\n", "\r\n").encode(), STARTER.replace("\n", "\r").encode()],
)
def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(call: Call, here: Path, text: bytes) -> None:
    here.joinpath("policy.yaml").write_bytes(text)
    assert call(*CHECK).code == 0


def test_policies_that_extend_each_other(call: Call, here: Path) -> None:
    here.joinpath("policy.yaml").write_text("version: 1\nextends: other.yaml\n")
    here.joinpath("other.yaml").write_text("version: 1\nextends: policy.yaml\n")
    refused(call, here, "policies extend each other: policy.yaml -> other.yaml -> policy.yaml")
    for number in range(200):
        here.joinpath(f"{number}.yaml").write_text(f"version: 1\nextends: {number + 1}.yaml\n")
    here.joinpath("policy.yaml").write_text("version: 1\nextends: 0.yaml\n")
    refused(call, here, "more than 16 policies extend one another")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("web", "is a directory"),
        ("away.yaml", "no such file"),
        ("nowhere", "no such file"),
        ("loop", "cannot be read"),
        ("m.cgm.json", "version: missing key"),
        ("x" * 400, "cannot be read"),
    ],
)
def test_a_policy_that_is_none(call: Call, here: Path, policy: str, said: str) -> None:
    here.joinpath("nowhere").symlink_to("away.yaml")
    here.joinpath("loop").symlink_to("loop")
    found = call("check", "-p", policy, "-m", "m.cgm.json")
    assert found.code == 2
    assert said in found.faults[0]


def replaced(before: str, after: str) -> Change:
    def change(header: Path) -> None:
        text = header.read_text()
        assert before in text
        header.write_text(text.replace(before, after, 1))

    return change


def rewritten(data: bytes) -> Change:
    def change(file: Path) -> None:
        file.write_bytes(data)

    return change


def claims_a_billion_rows(header: Path) -> None:
    plain = json.loads(header.read_text())
    for entry in (plain["sources"][0], plain["shards"][0]):
        entry |= {"rows": 10**9, "real_rows": 10**9, "amount": 1e9}
    plain["index"]["rows"] = 10**9
    header.write_text(json.dumps(plain))


def names_a_shard_twice(header: Path) -> None:
    plain = json.loads(header.read_text())
    plain["shards"] *= 2
    header.write_text(json.dumps(plain))


HEAD = b'{"schema": "collapse-guard/manifest/2", '
HEADERS: dict[str, tuple[Change, str]] = {
    "a billion rows": (claims_a_billion_rows, "3 rows, the header says 1000000000"),
    "more rows than there are numbers": (replaced('"rows": 3', f'"rows": {10**400}'), "/index/rows: "),
    "negative": (replaced('"amount": 3.0', '"amount": -1.0'), "/shards/0/amount: "),
    "NaN": (replaced('"amount": 3.0', '"amount": NaN'), "/shards/0/amount: "),
    "infinity": (replaced('"amount": 3.0', '"amount": 1e999'), "/shards/0/amount: "),
    "a key twice": (replaced('"generation": 0', '"generation": 0, "generation": 3'), "key 'generation' stands twice"),
    "schema twice": (replaced('"schema"', '"schema": "x", "schema"'), "key 'schema' stands twice"),
    "an unknown key": (replaced('"generation"', '"a\\n::error::x": 1, "generation"'), "/a\\n::error::x: "),
    "an origin that is none": (replaced('"origin": "real"', '"origin": "rael"'), "/sources/0/origin: must be one of"),
    "an index outside": (replaced('"folder": "m.index"', '"folder": "../m.index"'), "/index/folder: must be the name"),
    "data outside": (replaced('"path": "rows.csv"', '"path": "../rows.csv"'), "leaves its folder"),
    "a digest of two lines": (replaced('"sha256:', '"sha\\n256:'), "must be 'sha256:'"),
    "a shard twice": (names_a_shard_twice, "/shards: two shards are called 'web/rows.csv#0'"),
    "deep": (rewritten(HEAD + b'"filters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "not JSON"),
    "rather deep": (rewritten(HEAD + b'"filters": ' + b"[" * 900 + b"]" * 900 + b"}"), "recursion limit"),
    "large": (rewritten(HEAD + b'"name": "' + b"x" * (10 << 20) + b'"}'), "/generation: "),
    "empty": (rewritten(b""), "not JSON"),
    "a list": (rewritten(b"[]"), "/schema is None"),
    "a long schema": (rewritten(json.dumps({"schema": "x\n" * 5000}).encode()), "/schema is "),
    "binary": (rewritten(bytes(range(256))), "not JSON"),
    "half a surrogate": (replaced('"name": "m"', '"name": "\\ud800"'), "/: Invalid JSON"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    change, said = HEADERS[name]
    change(here / "m.cgm.json")
    refused(call, here, said)
    for command in ("show", "log", "verify", "prune"):
        assert call("manifest", command, "m.cgm.json").code in {0, 1, 2}


def test_other_line_ends_and_a_byte_order_mark_leave_a_header_as_it_is(call: Call, here: Path) -> None:
    header = here / "m.cgm.json"
    header.write_bytes(b"\xef\xbb\xbf" + header.read_bytes().replace(b"\n", b"\r\n"))
    assert call(*CHECK).code == 0


@pytest.mark.parametrize("manifest", ["web", "away.cgm.json", "loop", "/dev/zero", "x" * 400, "policy.yaml"])
def test_a_manifest_that_is_none(call: Call, here: Path, manifest: str) -> None:
    here.joinpath("loop").symlink_to("loop")
    refused(call, here, "CG003", "check", "-p", "policy.yaml", "-m", manifest)


def rows_of(part: Path) -> pa.Table:
    with pq.ParquetFile(part) as file:
        return file.read()


def column(name: str, values: pa.Array) -> Change:
    def change(part: Path) -> None:
        rows = rows_of(part)
        pq.write_table(pa.table({key: values if key == name else rows[key] for key in rows.column_names}), part)

    return change


def as_a_folder(part: Path) -> None:
    part.unlink()
    part.mkdir()


def linked_to(target: str) -> Change:
    def change(part: Path) -> None:
        part.unlink()
        part.symlink_to(target.format(part.name))

    return change


def as_table(make: Callable[[pa.Table], pa.Table]) -> Change:
    return lambda part: pq.write_table(make(rows_of(part)), part)


PARTS: dict[str, tuple[Change, str]] = {
    "truncated": (lambda part: rewritten(part.read_bytes()[:-40])(part), "it was cut or changed"),
    "empty": (rewritten(b""), "it was cut or changed"),
    "missing": (Path.unlink, "no such part of the index"),
    "a folder": (as_a_folder, "no such part of the index"),
    "a device": (linked_to("/dev/zero"), "no such part of the index"),
    "a link to itself": (linked_to("{}"), "no such part"),
    "of another form": (as_table(lambda _: pa.table({"a": [1, 2, 3]})), "columns are a int64"),
    "of another type": (column("amount", pa.array([1, 1, 1], pa.float32())), "columns are id_hi"),
    "without a source": (column("source", pa.nulls(3, pa.string())), "it was cut or changed"),
    "of no amount": (column("amount", pa.array([1.0, float("nan"), 1.0])), "an amount is no number"),
    "longer": (as_table(lambda rows: pa.concat_tables([rows, rows])), "6 rows, the header says 3"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    change, said = PARTS[name]
    (part,) = here.joinpath("m.index").glob("*.parquet")
    change(part)
    refused(call, here, said)


def test_a_byte_changed_anywhere_in_a_part_is_told(call: Call, here: Path) -> None:
    (part,) = here.joinpath("m.index").glob("*.parquet")
    whole = part.read_bytes()
    for place in range(0, len(whole), len(whole) // 23):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        found = call(*CHECK)
        assert found.code in {1, 2}, place
        assert "CG004" in found.out


def test_links_stay_inside(call: Call, here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    index, away = here / "m.index", tmp_path_factory.mktemp("away")
    here.joinpath("link.yaml").symlink_to("policy.yaml")
    here.joinpath("link.cgm.json").symlink_to("m.cgm.json")
    assert call("check", "-p", "link.yaml", "-m", "link.cgm.json").code == 0
    shutil.move(index, here / "other.index")
    index.symlink_to("other.index")
    assert call(*CHECK).code == 0
    index.unlink()
    shutil.move(here / "other.index", away / "m.index")
    index.symlink_to(away / "m.index")
    refused(call, here, "a link that leaves the folder of its manifest")


HOSTILE = (
    "🐱🐈‍⬛",
    "100%0A%",
    "two\nlines",
    "]]>",
    "::error::x",
    "<script>alert(1)</script>",
    "a|b`c*",
    "\u202egnp\x1b[31m",
)
LOSSY = f"{STARTER}coverage: {{cells: [{{kind: labels, column: label}}], reference: real.cgm.json}}\n"


@pytest.fixture
def lossy(here: Path) -> Path:
    """A child that lost every class of its real reference but one; the classes have hostile names."""
    for name, labels in (("real", (*HOSTILE, "cat")), ("child", ("cat",))):
        folder = here / name
        folder.mkdir()
        lines = [json.dumps({"text": f"{label} {n}", "label": label}) for label in labels for n in range(30)]
        folder.joinpath("rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        take_inventory(folder, to=here / f"{name}.cgm.json", source="web", origin="real", class_column="label")
    here.joinpath("policy.yaml").write_text(LOSSY)
    return here


def test_hostile_class_names_go_through_every_format(call: Call, lossy: Path) -> None:
    formats = ("azure", "github", "gitlab", "html", "json", "junit", "markdown", "plain", "sarif")
    wanted = [part for name in formats for part in ("--output", f"{name}=out/{name}")]
    found = call("check", "-p", "policy.yaml", "-m", "child.cgm.json", *wanted)
    assert found.code == 1
    text = {name: lossy.joinpath("out", name).read_text(encoding="utf-8") for name in formats}
    view: dict[str, Any] = json.loads(text["json"])
    told = json.dumps(view["findings"], ensure_ascii=False)
    assert "🐱" in told
    for name in ("gitlab", "sarif"):
        json.loads(text[name])
    ET.fromstring(text["junit"])
    assert "<script>alert" not in text["html"].replace("\\u003c", "<!")
    assert not re.search(r"(?<!\\)<script", re.sub(r"```.*?```", "", text["markdown"], flags=re.DOTALL))
    for name in ("github", "azure", "plain"):
        assert not any(line.startswith(("]]>", "::error::x", "lines", "0A%")) for line in text[name].splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ("manifest", "diff", "m.cgm.json", "away.cgm.json"),
        ("manifest", "merge", "m.cgm.json", "web", "-o", "out.cgm.json"),
        ("manifest", "verify", "web/rows.csv"),
        ("prove", "m.cgm.json", "a\0b"),
        ("report", "m.cgm.json"),
        ("report", "web"),
        ("baseline", "write", "-p", "web", "-m", "m.cgm.json"),
        ("export", "web/rows.csv", "--to", "in-toto"),
        ("takedown", "web/rows.csv", "zz", "--reason", "x"),
        (*CHECK, "--output", "serif=out"),
        (*CHECK, "--output", "json=web"),
        (*CHECK, "--select", "CG999"),
        ("check", "-p", "a\0b", "-m", "m.cgm.json"),
        ("check", "-p", "policy.yaml", "-m", "a\0b"),
    ],
)
def test_other_commands_refuse_as_well(call: Call, here: Path, arguments: tuple[str, ...]) -> None:
    before = files(here)
    found = call(*arguments)
    assert found.code == 2
    assert found.err or found.faults
    assert files(here) == before
