"""What a checkpoint says about its guard, read without building a model and without running pickled code."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from collapse_guard._optional import need
from collapse_guard.errors import InputError
from collapse_guard.monitor.run import STATE_SCHEMA
from collapse_guard.records import Action

if TYPE_CHECKING:
    from os import PathLike

    Verdict = Literal["guarded", "halted", "other manifest", "unknown manifest", "not guarded"]

_WATCHES: Final = ("watch", "predictions")
_PREFIX: Final = "collapse_guard."
_HUGGING_FACE_FILE: Final = "trainer_state.json"
_SHARDED_FILE: Final = "meta.pt"
_ACCELERATE_FILES: Final = "custom_checkpoint_*.pkl"
_KNOWN: Final = f"{_HUGGING_FACE_FILE} (Hugging Face), {_SHARDED_FILE} (sharded Lightning), {_ACCELERATE_FILES}"
_HINT: Final = "the guard's report, collapse_guard.<name>.json in the folder of the run, tells"


@dataclass(frozen=True, slots=True)
class GuardRecord:
    """What one guard left in a checkpoint.

    Args:
        name: name of the guard in its trainer.
        halted: whether it had decided to halt.
        reason: why, as in ``Decision.reason``; None while nothing was decided.
        message: one sentence for people; empty if the checkpoint holds none.
        manifest_digest: manifest of the training data; None if the guard had none.
        n_looks: looks at samples and at predictions so far.
    """

    name: str
    halted: bool
    reason: str | None = None
    message: str = ""
    manifest_digest: str | None = None
    n_looks: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """What a checkpoint says about its guards.

    Args:
        path: file or folder that was read.
        format: ``lightning``, ``hugging-face``, ``accelerate`` or ``torch`` (a plain file of ``torch.save``).
        guards: a record each, in their order.
        step: optimizer steps so far; None if the checkpoint does not say.
        note: what a reader should know; empty if nothing.

    >>> CheckpointRecord("last.ckpt", "lightning", (GuardRecord("default", halted=True),)).verdict()
    'halted'
    """

    path: str
    format: str
    guards: tuple[GuardRecord, ...] = ()
    step: int | None = None
    note: str = ""

    def verdict(self, manifest_digest: str | None = None) -> Verdict:
        """Return what holds, worst first; ``manifest_digest`` is the data that the checkpoint should come from."""
        if not self.guards:
            return "not guarded"
        if any(guard.halted for guard in self.guards):
            return "halted"
        if manifest_digest is None:
            return "guarded"
        named = {guard.manifest_digest for guard in self.guards} - {None}
        if not named:
            return "unknown manifest"
        return "guarded" if named == {manifest_digest} else "other manifest"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def read_checkpoint(path: str | PathLike[str]) -> CheckpointRecord:
    """Return what a checkpoint says about its guards.

    Args:
        path: a Lightning checkpoint, any other file of ``torch.save``, a ``trainer_state.json``, or a checkpoint folder
            of the Hugging Face Trainer, of Accelerate or of sharded Lightning.

    Raises InputError for what is missing, damaged or nothing known, for what only pickled code could load (it is never
    run), and for states of a newer version.

    Example: ``read_checkpoint("checkpoints/last.ckpt").verdict()``
    """
    target = Path(path)
    if not target.exists():
        raise InputError(f"{target}: no such file or folder")
    if target.is_dir():
        return _of_folder(target)
    if target.suffix == ".json":
        return _of_trainer_state(target)
    return _of_content(target, _loaded(target))


def _of_folder(folder: Path) -> CheckpointRecord:
    if (folder / _HUGGING_FACE_FILE).is_file():
        return _of_trainer_state(folder / _HUGGING_FACE_FILE)
    if (folder / _SHARDED_FILE).is_file():
        return _of_content(folder, _loaded(folder / _SHARDED_FILE))
    custom = sorted(folder.glob(_ACCELERATE_FILES))
    if custom:
        found = [(file.name, content) for file in custom if is_state(content := _loaded(file))]
        return CheckpointRecord(str(folder), "accelerate", tuple(_guard(folder, name, [one]) for name, one in found))
    inside = sorted(
        each.name for each in folder.glob("*") if each.suffix == ".ckpt" or (each / _HUGGING_FACE_FILE).is_file()
    )
    hint = f"name one of its checkpoints, such as {folder / inside[-1]}" if inside else f"known are {_KNOWN}"
    raise InputError(f"{folder}: the folder holds no checkpoint that is known; {hint}")


# ------------------------------------------------------------------ files of torch


def _loaded(file: Path) -> Any:
    """Return the content of a file of ``torch.save``; tensors stay on disk, pickled code is refused."""
    torch = need("torch", extra="lightning")
    if file.stat().st_size == 0:
        raise InputError(f"{file}: the file is empty; the run that wrote it was cut off, or the disk was full")
    if not zipfile.is_zipfile(file):
        raise InputError(f"{file}: not a checkpoint of torch 1.6 or later, or cut off; name a file of torch.save")
    try:
        with warnings.catch_warnings(action="ignore"):  # what torch says of an archive is in its error too
            return torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a file that nobody vouches for may fail in any way
        raise InputError(f"{file}: {_refusal(str(error))}") from None


def _refusal(text: str) -> str:
    """Return why torch did not load a file, in one line."""
    code = re.search(r"GLOBAL ([\w.]+)", text)
    if code is not None:
        return f"only pickled code could load it ({code[1]}), and none is run here; {_HINT}"
    if "TorchScript" in text:
        return f"a TorchScript program, no checkpoint; {_HINT}"
    return "damaged, or no file of torch.save; take another checkpoint of the run"


def _of_content(path: Path, content: Any) -> CheckpointRecord:
    """Return the record of a loaded file: Lightning's, or anything else in which a guard's state lies at the top."""
    if not isinstance(content, Mapping):
        return CheckpointRecord(str(path), "torch", note=f"the file holds no state of a trainer; {_HINT}")
    if is_state(content):
        return CheckpointRecord(str(path), "torch", (_guard(path, "session", [content]),))
    is_lightning = "pytorch-lightning_version" in content
    callbacks = content.get("callbacks")
    states = {
        **_named(callbacks if isinstance(callbacks, Mapping) else {}),
        **{str(key): value for key, value in content.items() if is_state(value)},
    }
    notes = content.get("collapse_guard")
    guards = tuple(_guard(path, name, [state]) for name, state in states.items())
    return CheckpointRecord(
        str(path),
        "lightning" if is_lightning else "torch",
        guards if is_state(notes) else _with_note(path, guards, notes),
        step=_whole(content.get("global_step")),
        note=_weights_note(is_lightning=is_lightning, has_callbacks=callbacks is not None, is_guarded=bool(guards)),
    )


def _named(callbacks: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the states of the guards among those of Lightning's callbacks, by name."""
    found = {key: value for key, value in callbacks.items() if isinstance(key, str) and key.startswith(_PREFIX)}
    return {key.removeprefix(_PREFIX): value for key, value in found.items()}


def _with_note(path: Path, guards: tuple[GuardRecord, ...], note: Any) -> tuple[GuardRecord, ...]:
    """Return the guards and, if it says more than they do, the note that stands beside the callbacks."""
    if note is None:
        return guards
    said = _guard(path, "note", [note])
    is_more = not guards or (said.halted and not any(guard.halted for guard in guards))
    return (*guards, said) if is_more else guards


def _weights_note(*, is_lightning: bool, has_callbacks: bool, is_guarded: bool) -> str:
    if is_guarded or has_callbacks:
        return ""
    if is_lightning:
        return f"saved with weights only, so that no callback left its state; {_HINT}"
    return f"the file holds no state of a guard; {_HINT}"


# ------------------------------------------------------------------ Hugging Face


def _of_trainer_state(file: Path) -> CheckpointRecord:
    """Return the record of a ``trainer_state.json``."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON ({error}); take another checkpoint of the run") from None
    if not isinstance(content, dict) or "global_step" not in content:
        raise InputError(f"{file}: not the state of a Hugging Face Trainer; name a {_HUGGING_FACE_FILE}")
    entries = content.get("stateful_callbacks") or {}
    if not isinstance(entries, dict):
        raise InputError(f"{file}: stateful_callbacks must be a mapping, got {type(entries).__name__}")
    listed = [(key, item) for key, value in entries.items() for item in (value if isinstance(value, list) else [value])]
    found = [(key, item, parts) for key, item in listed if (parts := list(_parts(item)))]
    step = _whole(content["global_step"])
    told = [(_guard(file, _name_of(item) or key, parts), _seen(parts)) for key, item, parts in found]
    # A trainer without the guard carries the entry of an earlier checkpoint on: that guard saw nothing since.
    stale = [(guard, seen) for guard, seen in told if seen is not None and seen != step and not guard.halted]
    guards = tuple(guard for guard, seen in told if (guard, seen) not in stale)
    note = "; ".join(f"guard {guard.name!r} last saw step {seen} of {step}" for guard, seen in stale)
    return CheckpointRecord(str(file), "hugging-face", guards, step=step, note=note)


def _seen(parts: list[Mapping[str, Any]]) -> int | None:
    """Return the optimizer step that a guard's state was saved at; None where it does not say."""
    return next((step for part in parts if (step := _whole(part.get("step"))) is not None), None)


def _parts(item: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what a callback's entry holds of a guard, at the top or under ``attributes``: its state, its note."""
    if not isinstance(item, Mapping):
        return
    attributes = item.get("attributes")
    held = [item, attributes, *(attributes.values() if isinstance(attributes, Mapping) else ()), *item.values()]
    for part in {id(part): part for part in held}.values():
        if is_state(part) or is_note(part):
            yield part


def _name_of(item: Mapping[str, Any]) -> str | None:
    for part in (item, item.get("args"), item.get("attributes")):
        if isinstance(part, Mapping) and isinstance(part.get("name"), str):
            return str(part["name"])
    return None


# ------------------------------------------------------------------ states and notes


def is_state(value: Any) -> bool:
    """Return whether a value is the state that a guard saves.

    >>> is_state({"schema": 1, "manifest_digest": None, "watch": None}), is_state({"weight": 1})
    (True, False)
    """
    return isinstance(value, Mapping) and {"schema", "manifest_digest", "watch"} <= value.keys()


def is_note(value: Any) -> bool:
    """Return whether a value is the note that a guard leaves for readers of checkpoints."""
    return isinstance(value, Mapping) and {"schema", "manifest_digest", "halted"} <= value.keys()


def _guard(path: Path, name: str, parts: Iterable[Any]) -> GuardRecord:
    """Return the record of a guard from its state, its note, or both; what halts in any of them is a halt."""
    given = [_checked(path, name, part) for part in parts]
    read = [*given, *(part["note"] for part in given if is_note(part.get("note")))]
    decisions = [decision for part in read for decision in _decisions(part)]
    halts = [decision for decision in decisions if decision.get("action") == Action.HALT.value]
    noted = [{"reason": part.get("reason"), "message": ""} for part in read if part.get("halted") is True]
    told = [*halts, *noted, *decisions, *({"reason": part.get("reason")} for part in read), {}][0]
    watches = [part[key] for part in read for key in _WATCHES if isinstance(part.get(key), Mapping)]
    return GuardRecord(
        name=name,
        halted=bool(halts or noted),
        reason=None if told.get("reason") is None else str(told["reason"]),
        message=str(told.get("message", "")),
        manifest_digest=next((str(each["manifest_digest"]) for each in read if each["manifest_digest"]), None),
        n_looks=sum(_whole(watch.get("n_looks")) or 0 for watch in watches),
    )


def _checked(path: Path, name: str, part: Any) -> Mapping[str, Any]:
    """Return a state or a note; raises InputError for anything else and for that of a newer version."""
    if not isinstance(part, Mapping) or not (is_state(part) or is_note(part)):
        raise InputError(f"{path}: guard {name!r} left no state that can be read; {_HINT}")
    schema = part["schema"]
    if not isinstance(schema, int) or schema > STATE_SCHEMA:
        text = f"guard {name!r} left state of schema {schema!r}, this version reads up to {STATE_SCHEMA}"
        raise InputError(f"{path}: {text}; upgrade collapse-guard")
    return part


def _decisions(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the decisions in a state: its own, and those of its watches."""
    for holder in (part, *part.values()):
        if isinstance(holder, Mapping):
            for key in ("halt", "decision"):
                if isinstance(holder.get(key), Mapping):
                    yield holder[key]


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
