"""Mixes of streams: every real row, synthetic rows as far as the caps allow at any moment, and an exact place."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from datasets import DatasetInfo, Features, IterableDataset

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.stream_mix import (
    MixExamples,
    MixRules,
    MixState,
    StreamHead,
    mix_part,
    mix_state,
    row_tags,
)
from collapse_guard.integrations.hugging_face.stream_reader import StreamReader, known_rows
from collapse_guard.integrations.hugging_face.tags import TAG_FEATURES
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.mixing.prefix import PrefixCaps
from collapse_guard.policy import Policy
from collapse_guard.records import ID, PROVENANCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

#: Rows that are read to see the columns of a stream that does not say them.
_PEEKED_ROWS: Final = 100


def mix_streams(
    real: IterableDataset | Sequence[IterableDataset],
    synthetic: IterableDataset | Sequence[IterableDataset],
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    seed: int | None = None,
) -> IterableDataset:
    """Return one stream of every real row, once, and of synthetic rows as far as the caps allow.

    Each cap holds at every moment, on the rows given so far: the real share is never below ``mix.real_min_share``.
    Real rows never wait for synthetic ones, and the stream does not end before they do. Which stream is read next
    comes from a hash of the seed and the step; sizes that are known spread the rows evenly. The first row of each
    stream is read here.

    The stream is an ordinary one: ``state_dict`` and ``load_state_dict`` lead back to the very row, also over a shuffle
    buffer of a stream that was mixed, which is then read from its beginning again. Shuffle the streams before mixing:
    a buffer after it blurs the caps and its place. Split by node after mixing; ranks and workers share out the shards
    of the streams if all have enough of them, and each of these mixes keeps the caps. Else ranks take turns at the
    rows of one mix, and only one worker reads.

    Args:
        real, synthetic: tagged streams (:func:`collapse_guard.tag`).
        policy: a Policy, a mapping, or the path of a YAML file; ``mix``, ``sources`` and ``provenance`` decide.
        seed: instead of ``mix.seed``.

    Raises ProvenanceError for streams that have no rows, are not tagged, or are tagged otherwise (here for the first
    row, else when the row comes); InputError for a policy that asks for what only a plan over all rows can keep, and
    when a state of other streams or of another policy is loaded and read.

    >>> from datasets import Dataset
    >>> from collapse_guard import tag
    >>> web = tag(Dataset.from_dict({"text": list("abcd")}), origin="real", source="web").to_iterable_dataset()
    >>> bot = tag(Dataset.from_dict({"text": list("wxyz")}), origin="synthetic", source="bot", generation=1)
    >>> mixed = mix_streams(web, bot.to_iterable_dataset(), {"version": 1, "mix": {"real_min_share": 0.8}})
    >>> sorted(row["text"] for row in mixed)
    ['a', 'b', 'c', 'd', 'w']
    """
    rules = Policy.coerce(policy)
    caps = PrefixCaps.of_policy(rules)
    streams = [(stream, is_real) for part, is_real in ((real, True), (synthetic, False)) for stream in _listed(part)]
    if not any(is_real for _, is_real in streams):
        raise ProvenanceError("a mix needs a real stream; all rows would be synthetic")
    named = [(stream, is_real, f"{'real' if is_real else 'synthetic'} stream {n}") for n, (stream, is_real) in _numbered(streams)]
    features = _joined_features([(_features(stream, name), name) for stream, _, name in named])
    tokens = {repo: token for stream, _, _ in named for repo, token in getattr(stream, "_token_per_repo_id", {}).items()}
    parts = [deepcopy(stream._ex_iterable) for stream, _, _ in named]  # noqa: SLF001 - as interleave_datasets does
    first = [_first(deepcopy(p), features, tokens, is_real, name) for p, (_, is_real, name) in zip(parts, named, strict=True)]
