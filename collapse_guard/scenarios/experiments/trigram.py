"""An interpolated trigram model of sentences; all sentences of a sample are drawn side by side.

To draw the next word of a context is to pick one of its occurrences in the training text and to take the word that
followed it there. Occurrences are sorted by context once, so that a step of all sentences is a few look-ups.
Source of the model: Jelinek and Mercer (1980), interpolated estimation of Markov source parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

END, START = 0, 1
#: Ids that are no words.
N_MARKS: Final = 2
#: Weights of three-word, two-word and single-word counts.
WEIGHTS: Final = (0.7, 0.25, 0.05)
#: Share of a probability that is spread over the vocabulary when text is scored; sampling draws seen words only.
FLOOR: Final = 0.01
MAX_WORDS: Final = 200


@dataclass(frozen=True)
class Corpus:
    """Sentences as word ids, laid end to end.

    Args:
        words: ids of all words, ``N_MARKS`` or more, shape (words,).
        lengths: words of each sentence, 1 or more, shape (sentences,).

    >>> Corpus.of([[5, 6], [7]]).sentences()
    [[5, 6], [7]]
    """

    words: Ids
    lengths: Ids

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]]) -> Self:
        """Return sentences of ids as a corpus; raises InputError for none, or for an empty one."""
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        if lengths.size == 0 or int(lengths.min()) == 0:
            raise InputError("a corpus needs sentences of one word or more")
        return cls(np.concatenate([np.asarray(sentence, dtype=np.int64) for sentence in sentences]), lengths)

    def __len__(self) -> int:
        return self.lengths.size

    def take(self, rows: Ids) -> Corpus:
        """Return the sentences with numbers ``rows``, shape (rows,), in that order."""
        starts = np.cumsum(self.lengths) - self.lengths
        lengths = self.lengths[rows]
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Corpus(self.words[np.repeat(starts[rows], lengths) + within], lengths)

    def joined(self, other: Corpus) -> Corpus:
        """Return the sentences of both."""
        return Corpus(np.concatenate([self.words, other.words]), np.concatenate([self.lengths, other.lengths]))

    def sentences(self) -> list[list[int]]:
        """Return a list of ids for each sentence."""
        return [part.tolist() for part in np.split(self.words, np.cumsum(self.lengths)[:-1])]


class _Steps(NamedTuple):
    """Every step of a corpus, sentence ends included: the word, and the two before it; shape (steps,) each."""

    before: Ids
    previous: Ids
    word: Ids


def _steps(corpus: Corpus) -> _Steps:
    ends = np.cumsum(corpus.lengths + 1) - 1
    word = np.full(corpus.words.size + len(corpus), END, dtype=np.int64)
    inside = np.ones(word.size, dtype=bool)
    inside[ends] = False
    word[inside] = corpus.words
    first = np.zeros(word.size, dtype=bool)
    first[0], first[ends[:-1] + 1] = True, True
    previous = np.where(first, START, np.roll(word, 1))
    return _Steps(np.where(first | np.roll(first, 1), START, np.roll(previous, 1)), previous, word)


class _Places(NamedTuple):
    """Where each context stands in the text: ``order[starts[i]:starts[i + 1]]`` are the steps in context ``i``."""

    contexts: Ids
    starts: Ids
    order: Ids
    of_step: Ids

    @classmethod
    def of(cls, contexts: Ids) -> Self:
        unique, of_step = np.unique(contexts, return_inverse=True)
        starts = np.append(0, np.cumsum(np.bincount(of_step)))
        return cls(unique, starts, np.argsort(of_step, kind="stable"), of_step)

    def find(self, contexts: Ids) -> Ids:
        """Return the number of each context, -1 for one that was never seen."""
        found = np.minimum(np.searchsorted(self.contexts, contexts), self.contexts.size - 1)
        return np.where(self.contexts[found] == contexts, found, -1)

    def sizes(self, numbers: Ids) -> Ids:
        """Return how many steps each context has; 0 for number -1."""
        return np.where(numbers >= 0, self.starts[numbers + 1] - self.starts[numbers], 0)

    def draw(self, numbers: Ids, rng: np.random.Generator) -> Ids:
        """Return a step in each context, at random; of number -1, one that nobody may use."""
        numbers = np.maximum(numbers, 0)
        sizes = self.starts[numbers + 1] - self.starts[numbers]
        return self.order[self.starts[numbers] + (rng.random(numbers.size) * sizes).astype(np.int64)]


@dataclass(frozen=True)
class Trigram:
    """Next-word tables of one, two and three words, interpolated by fixed weights.

    >>> model = Trigram.fit(Corpus.of([[2, 3, 4], [2, 3, 5]]), n_ids=6)
    >>> bool(model.sample(2, np.random.default_rng(0)).lengths.min() >= 1)
    True
    """

    n_ids: int
    steps: _Steps
    pairs: _Places
    singles: _Places

    @classmethod
    def fit(cls, corpus: Corpus, *, n_ids: int) -> Self:
        """Return the model of a corpus whose ids are all under ``n_ids``; raises InputError for others."""
        if int(corpus.words.max()) >= n_ids or int(corpus.words.min()) < N_MARKS:
            raise InputError(f"word ids must lie in [{N_MARKS}, {n_ids}), got one outside")
        steps = _steps(corpus)
        return cls(n_ids, steps, _Places.of(steps.before * n_ids + steps.previous), _Places.of(steps.previous))

    def sample(self, n_sentences: int, rng: np.random.Generator) -> Corpus:
        """Return ``n_sentences`` sentences of 1 to ``MAX_WORDS`` words."""
        drawn = np.full((n_sentences, MAX_WORDS), END, dtype=np.int64)
        alive = np.arange(n_sentences)
        pair = np.repeat(self.pairs.find(np.array([START * self.n_ids + START])), n_sentences)
        single = np.repeat(self.singles.find(np.array([START])), n_sentences)
        for place in range(MAX_WORDS):
            step, pair = self._next(pair, single, rng)
            word = self.steps.word[step]
            drawn[alive, place] = word
            going = word != END
            alive, pair, single = alive[going], pair[going], self.singles.find(word[going])
            if alive.size == 0:
                break
        lengths = (drawn != END).sum(axis=1)
        made = Corpus(drawn[drawn != END], lengths[lengths > 0])
        n_empty = n_sentences - len(made)  # the end may be drawn first; an empty sentence is no document
        return made.joined(self.sample(n_empty, rng)) if n_empty else made

    def _next(self, pair: Ids, single: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Return a step for each context, whose word comes next, and the number of the pair that it leads to.

        The weights choose a table. A step that was found by its context leads where it led in the text; the pair
        after a word that was drawn alone is looked up.
        """
        share = rng.random(pair.size)
        step = np.where((share < WEIGHTS[0]) & (pair >= 0), self.pairs.draw(pair, rng), self.singles.draw(single, rng))
        then = np.append(self.pairs.of_step, -1)[step + 1]
        alone = np.flatnonzero(share >= WEIGHTS[0] + WEIGHTS[1])
        step[alone] = (rng.random(alone.size) * self.steps.word.size).astype(np.int64)
        previous = self.singles.contexts[single[alone]]
        then[alone] = self.pairs.find(previous * self.n_ids + self.steps.word[step[alone]])
        return step, then

    def log_likelihoods(self, corpus: Corpus) -> NDArray[np.float64]:
        """Return the log probability of every step of ``corpus``, sentence ends included, shape (steps,)."""
        steps = _steps(corpus)
        two, one = steps.before * self.n_ids + steps.previous, steps.previous
        three = (self.steps.before * self.n_ids + self.steps.previous) * self.n_ids + self.steps.word
        share_two = _share(three, two * self.n_ids + steps.word, self.pairs.sizes(self.pairs.find(two)))
        pairs = self.steps.previous * self.n_ids + self.steps.word
        share_one = _share(pairs, one * self.n_ids + steps.word, self.singles.sizes(self.singles.find(one)))
        share = _share(self.steps.word, steps.word, np.full(steps.word.size, self.steps.word.size))
        seen = WEIGHTS[0] * share_two + WEIGHTS[1] * share_one + WEIGHTS[2] * share
        return np.asarray(np.log((1 - FLOOR) * seen + FLOOR / self.n_ids))

    def perplexity(self, corpus: Corpus) -> float:
        """Return exp of the mean negative log probability of a step of ``corpus``."""
        return math.exp(-float(self.log_likelihoods(corpus).mean()))


def _share(seen: Ids, asked: Ids, n_context: Ids) -> NDArray[np.float64]:
    """Return how often each of ``asked`` was seen, over the size of its context; 0 in a context without rows."""
    kinds, counts = np.unique(seen, return_counts=True)
    found = np.minimum(np.searchsorted(kinds, asked), kinds.size - 1)
    n_seen = np.where(kinds[found] == asked, counts[found], 0)
    return np.asarray(n_seen / np.maximum(n_context, 1))
