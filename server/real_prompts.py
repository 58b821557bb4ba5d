"""Makes prompts of about as many tokens as are wanted, for a tokenizer that nobody has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

# Short and common, so that most tokenizers have one token for each with its leading space.
_TEXT: Final = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea body information back "
    "parent face others level office door health person art war history party result change"
)
WORDS: Final = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True)
class PromptScale:
    """How many words make how many tokens at one server.

    Attributes:
        fixed_tokens: Of the instruction and the chat template.
        tokens_per_word: Above 0.
    """

    fixed_tokens: float = 0.0
    tokens_per_word: float = 1.0

    def words(self, tokens: int) -> int:
        """Words that make about so many tokens in all; at least 1."""
        return max(round((tokens - self.fixed_tokens) / self.tokens_per_word), 1)


def make_prompt(words: int, rng: np.random.Generator) -> str:
    """So many words at random: a prompt without a beginning that the server may have cached."""
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=words))


def fit_scale(short: tuple[int, int], long: tuple[int, int]) -> PromptScale:
    """The scale through two measurements of (words, tokens), the second of more words."""
    (few_words, few_tokens), (many_words, many_tokens) = short, long
    per_word = max((many_tokens - few_tokens) / (many_words - few_words), 0.1)
    return PromptScale(max(few_tokens - per_word * few_words, 0.0), per_word)
