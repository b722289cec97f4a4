"""The tokenizer: text <-> ids, and the chat template: a conversation -> ids and a mask.

    nano().encode("Where does the dova live?")      # ids

It is `tiktoken.Encoding` plus four control tokens. Byte-level BPE splits text with a pattern, turns
each word into bytes and joins the neighbours with the smallest id until no pair is left to join. So
any text can be encoded and comes back unchanged.
    <|user|> TEXT<|assistant|> TEXT<|end|>      repeated; the one space in front of TEXT is ours
No text becomes a control token: a typed "<|end|>" becomes the plain tokens of its letters
(transformers would read it as a control token).
"""
import base64
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import tiktoken

from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say

USER, ASSISTANT, END, PAD = CONTROL = ("<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
ASSET = Path(__file__).parents[1] / "assets" / "nano.tiktoken"
# BPE joins within a word, one or two digits, or punctuation, each with the space before it, or
# within white space.
NANO_PATTERN = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# `Tokenizer.chat` in the template language of transformers. A system turn joins the next user turn;
# `generation` marks the same tokens as the mask (TRL's assistant_only_loss reads it:
# sft_trainer.py:941 of 1.16).
JINJA = """{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}{%- set ns.system = ns.system + m['content'] + '\\n\\n' -%}
{%- elif m['role'] == 'user' -%}\
{{- '<|user|> ' + ns.system + m['content'] -}}{%- set ns.system = '' -%}
{%- elif m['role'] == 'assistant' -%}
{%- if ns.system -%}{{- '<|user|> ' + ns.system[:-2] -}}{%- set ns.system = '' -%}{%- endif -%}
{{- '<|assistant|>' -}}\
{%- generation -%}{{- ' ' + m['content'] + '<|end|>' -}}{%- endgeneration -%}
{%- else -%}{{- raise_exception('unknown role ' + m['role']) -}}
{%- endif -%}
{%- endfor -%}
{%- if ns.system -%}{{- '<|user|> ' + ns.system[:-2] -}}{%- endif -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"""


class Turn(NamedTuple):
    role: str       # system | user | assistant | tool | masked: an answer that is not trained on
    text: str


Turns = tuple[Turn, ...]
ANSWERS = ("assistant", "masked")        # roles in which the model speaks


class OneAnswerOnly(UserError):
    """The chat template writes an answer in another way when the dialogue goes on."""


class Chat(NamedTuple):
    """A conversation as ids."""
    ids: list[int]
    mask: list[int]                 # as long; 1 on what is trained
    lost_thoughts: bool = False     # True: the template leaves out a part of an earlier answer
    changed: str = ""               # a word that does not come back: '"Café" becomes "cafe"'


class Tokenizer:
    """A `tiktoken.Encoding` (`enc`) and four ids of control tokens: `user`, `assistant`, `end`,
    `pad`."""
    about = ""                          # a note on its template, printed at the start of a run
    added = 0                           # control tokens that its folder does not have

    def __init__(self, name: str, ranks: dict[bytes, int], pattern: str):
        """`ranks`: bytes -> id, all single bytes among them; smaller ids are joined first. The next
        four ids are those of CONTROL; no text becomes one of them."""
        special = {name: len(ranks) + i for i, name in enumerate(CONTROL)}
        self.name = name
        self.enc = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks,
                                     special_tokens=special)
        self.user, self.assistant, self.end, self.pad = (special[c] for c in CONTROL)
        self.stops = {self.end}             # each of these ends an answer

    @property
    def n_vocab(self) -> int:
        return self.enc.n_vocab

    # ---- text ------------------------------------------------------------------------------------
    def encode(self, text: str) -> list[int]:
        """Ids of plain text. A control token that is typed in it is text like any other."""
        try:
            return self.enc.encode_ordinary(text)
        except BaseException as e:              # tiktoken's regex, on a million spaces
            if type(e).__name__ != "PanicException":
                raise
            raise UserError(f"tiktoken cannot encode a text of {len(text):,} characters; make it "
                            "shorter") from None

    text_ids = encode       # of a plain text: a tokenizer of transformers may put <s> before it

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids. Control tokens are shown by name, bytes that are no UTF-8 as U+FFFD. Ids
        without a token (from a padded embedding) have no text."""
        n_vocab = self.n_vocab
        known = [i for i in map(int, ids) if i < n_vocab]
        return self.enc.decode(known, errors="replace")

    # ---- conversations ---------------------------------------------------------------------------
    def chat(self, context: Turns, trained: Turns = ()) -> tuple[list[int], list[int]]:
        """Ids of a conversation, and a mask of equal length: 1 on assistant turns of `trained`, on
        their text and <|end|>, but not on the <|assistant|> before."""
        ids, mask = [], []
        turns = [(*turn, False) for turn in context] + [(*turn, True) for turn in trained]
        for role, text, train in fold_system(turns):
            answer = role in ANSWERS
            body = self.encode(" " + text) + ([self.end] if answer else [])
            ids += [self.assistant if answer else self.user, *body]
            mask += [0] + [int(role == "assistant" and train)] * len(body)
        return ids, mask

    def prompt_ids(self, turns: Turns) -> list[int]:
        """Ids of a conversation that waits for the assistant. The last one is <|assistant|>."""
        return [*self.chat(turns)[0], self.assistant]

    def chats(self, dialogues: Iterable[tuple[Turns, Turns]]) -> list[Chat | UserError]:
        """Each (context, trained turns), or why it cannot be written. One without trained turns
        waits for the assistant."""
        return [self._chat_or_error(context, trained) for context, trained in dialogues]

    def _chat_or_error(self, context: Turns, trained: Turns) -> Chat | UserError:
        try:
            if trained:
                return Chat(*self.chat(context, trained))
            ids = self.prompt_ids(context)
            return Chat(ids, [0] * len(ids))
        except UserError as e:
            return e

    def document(self, turns: Turns) -> list[int]:
        """Ids of a document of NanoWorld's corpus: prose (role "text") or a chat, with <|end|> only
        at its very end."""
        head = {"text": [], "user": [self.user], "assistant": [self.assistant]}
        ids = [i for role, text in turns for i in [*head[role], *self.encode(" " + text)]]
        return [*ids, self.end]


def fold_system(turns: list[tuple[str, str, bool]]) -> Iterator[tuple[str, str, bool]]:
    """Put a system turn in front of the next user turn, with a blank line between; if none follows,
    it becomes a user turn itself."""
    system = ""
    for role, text, train in turns:
        if role == "system":
            system += text + "\n\n"
        elif role in ("user", "tool"):
            yield role, system + text, train
            system = ""
        elif role in ANSWERS:
            if system:
                yield "user", system[:-2], train
                system = ""
            yield role, text, train
        else:
            raise UserError(f'unknown role "{role}" in a conversation; it must be system, user or '
                            "assistant")
    if system:
        yield "user", system[:-2], False


# ---- the shipped tokenizer -----------------------------------------------------------------------
@cache
def nano() -> Tokenizer:
    """1,024 ids: every word of NanoWorld is one token, nearly every name two (3.9 bytes per token,
    about 2 in ordinary English). The file was made once, from worlds of many seeds, by joining the
    most frequent pair of neighbours, again and again. Of equal pairs, the first in the alphabet
    came first."""
    lines = [line.split() for line in ASSET.read_text(encoding="ascii").splitlines() if line]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return Tokenizer("nano", ranks, NANO_PATTERN)


def say_sizes(folder: Path, rows: int, tokens: int) -> None:
    """A line if the embedding has fewer rows than the tokenizer has tokens, so that it is enlarged,
    or far more: the two may not belong together. A few rows are often left over."""
    if rows < tokens:
        say(f"{folder}: the embedding is enlarged from {rows:,} to {tokens:,} tokens, as many as "
            "its tokenizer has; the new ones are untrained")
    elif rows > 2 * tokens:
        say(f"{folder}: the embedding has {rows:,} tokens and the tokenizer {tokens:,}; is it the "
            "model's own?")
