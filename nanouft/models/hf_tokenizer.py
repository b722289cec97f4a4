"""The tokenizer and the chat template of a transformers folder: a conversation -> ids and a mask.

    tok = HFTokenizer(folder)
    ids, mask = tok.chat(context, trained)  # ids: those of transformers' apply_chat_template

As in our own tokenizer, no text of a dialogue becomes a control token: a typed "<|im_end|>" is read
as its letters (transformers would read the control token).
"""
import json
import math
import os.path
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

from nanouft.models.tokenizer import (
    ANSWERS,
    CONTROL,
    END,
    JINJA,
    PAD,
    OneAnswerOnly,
    Tokenizer,
    Turn,
    Turns,
)
from nanouft.plumbing.errors import TooLong, UserError, at_most, library
from nanouft.plumbing.files import read_json, write_json

SAFE: Any = {"trust_remote_code": False, "local_files_only": True}
# entries that name code or other files: they are not followed, and what is saved has none of them
ELSEWHERE = ("auto_map", "_auto_class", "custom_generate", "fusion_config", "transformers_weights")
SECONDS, GIGABYTES = 5, 4       # that a chat template may take for a dialogue
LONGEST, GROWTH = 10**6, 1000   # letters that it may add to one; that a tokenizer makes of one
DAY = datetime(2024, 7, 26)
GOES_ON = ("the chat template writes an answer in another way when the dialogue goes on; give each "
           "answer a row of its own")
FRAME = "\ue000"        # put in place of an answer, to see what a template writes around it
CUT = "\ud800"          # half of a character; after `whole` no text has one: see `as_letters`


def objects(part: Any) -> Iterator[dict]:
    """The objects in a JSON value, itself among them."""
    if isinstance(part, dict):
        yield part
        part = [*part.values()]
    for inner in part if isinstance(part, list) else ():
        yield from objects(inner)


def growth(steps: Any) -> int:
    """How many letters a normalizer or decoder of tokenizer.json may make of one by its steps."""
    return math.prod(2 if step.get("type") == "ByteLevel" else len(step.get("content") or "") or 1
                     for step in objects(steps))


def whole(text: str) -> str:
    """The text with U+FFFD for unpaired surrogates (scraped JSON has halves of emoji), as in our
    tokenizer."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def on_one_day(template: str) -> str:
    """The template with DAY in place of today's date, so that a run can go on tomorrow."""
    return re.sub(r"""strftime_now\(\s*(["'])((?:(?!\1).)*)\1\s*\)""",
                  lambda call: repr(DAY.strftime(call[2])), template)


def without_space(text: str) -> str:
    return "".join(text.split())


def lost_turns(turns: Turns, text: str) -> list[int]:
    """Numbers of the turns that are not in the text, in order. A system turn may be anywhere, and a
    text may be written as JSON (the result of a tool)."""
    text, at, lost = without_space(text), 0, []
    for i, (role, said) in enumerate(turns):
        forms = [without_space(x) for x in (said, json.dumps(said, ensure_ascii=False)[1:-1])]
        place = max(text.find(form, 0 if role == "system" else at) for form in forms)
        if place < 0:
            lost.append(i)
        elif role != "system":
            at = place + len(forms[0])
    return lost


class HFTokenizer(Tokenizer):
    """`t` is transformers' own. Without a chat template ours is added, with its control tokens."""

    def __init__(self, folder: str | Path):
        transformers = library("transformers", f"{folder}: its tokenizer")
        try:
            for file in Path(folder).glob("tokenizer*.json"):
                parts = read_json(file)
                if max(growth(parts.get(x)) for x in ("normalizer", "decoder")) > GROWTH:
                    raise UserError(f"{file}: makes more than {GROWTH:,} letters of one")
            self.t = t = transformers.AutoTokenizer.from_pretrained(str(folder), **SAFE)
            if not t("a").input_ids:
                raise UserError(f"{folder}: has no tokenizer (tokenizer.json)")
            if not t.chat_template:
                t.add_tokens(list(CONTROL), special_tokens=True)
                adds_bos = t("a").input_ids[0] == t.bos_token_id
                t.chat_template = ("{{- bos_token -}}" if adds_bos else "") + JINJA
                t.eos_token, t.pad_token = END, PAD
            with at_most(SECONDS, GIGABYTES):
                self.template = on_one_day(t.get_chat_template())   # of several, the default
                self.ours = self.template.endswith(JINJA)
                special = {*t.all_special_ids, *t.added_tokens_decoder}
                self.next_turn = ""         # written after answers by a template without end token
                self.control = re.compile("(?!)")       # finds nothing: `_ends` asks plain words
                ends = self._ends(special)
                self.prompt_ids((Turn("user", "ask"),))
        except BaseException as e:              # a panic of tokenizers is no Exception
            if isinstance(e, (UserError, KeyboardInterrupt)):
                raise
            raise UserError(f"{folder}: its tokenizer or chat template cannot be used "
                            f"({' '.join(str(e).split())[:200]})") from None
        if not ends:
            raise UserError(f"{folder}: its chat template puts no end token after an answer, so "
                            "the model would never learn to stop; repair chat_template.jinja")
        names = {*t.all_special_tokens, *(
            token.content for i, token in t.added_tokens_decoder.items()
            if token.special or i in ends)} - {""}
        firsts = "|".join(re.escape(letter) for letter in sorted({name[0] for name in names}))
        every = "|".join(re.escape(name) for name in sorted(names))
        # the first letter of each name in a text, even if two overlap
        self.control = re.compile(f"(?={firsts})(?={every}).", re.DOTALL)
        self.name = type(t).__name__
        self.lost: dict[tuple, list[int]] = {}          # roles -> turns that are left out
        self.end, self.stops = ends[-1], {ends[-1]}
        self.end_text = self.decode([self.end])
        self.pad = self.end if t.pad_token_id is None else t.pad_token_id
        control = t.convert_tokens_to_ids(list(CONTROL[:2])) if self.ours else (-1, -1)
        self.user, self.assistant = control
        self.about = (f"{folder}: {'our' if self.ours else 'its own'} chat template; an answer "
                      f"ends with {t.convert_ids_to_tokens(self.end)}")

    def _ends(self, special: set[int]) -> list[int]:
        """Control tokens after an answer. If there is none, the token that begins the next question
        ends an answer, unless it begins every turn."""
        talk = (Turn("user", "ask"), Turn("assistant", "zebra"))
        text = self._text(talk)
        ends = [i for i in self.rendered_ids(text.rpartition("zebra")[2]) if i in special]
        if ends:
            return ends
        longer = self._text((*talk, Turn("user", "lynx")))
        goes_on = longer.removeprefix(text).partition("lynx")[0] if longer.startswith(text) else ""
        first = [i for i in self.rendered_ids(goes_on) if i in special][:1]
        answer_begins = text.partition("ask")[2].partition("zebra")[0]
        if first and first[0] not in self.rendered_ids(answer_begins):
            self.next_turn = self.decode(first)
            return first
        return []

    @property
    def n_vocab(self) -> int:
        return len(self.t)

    def encode(self, text: str) -> list[int]:
        return self.rendered_ids(self.as_letters(text))

    def as_letters(self, text: str) -> str:
        """The text with a CUT after the first letter of each control token that is typed in it."""
        return self.control.sub(lambda first: first[0] + CUT, whole(text))

    def rendered_ids(self, text: str) -> list[int]:
        """Ids of the text that a chat template wrote, with its control tokens. The parts between
        two CUTs are tokenized one by one, so none of them holds a typed control token."""
        def of(part: str) -> list[int]:
            return self.t.encode(part, add_special_tokens=False)
        ids = [i for part in text.split(CUT) for i in of(part)]
        if CUT in text and self.decode(ids) != self.decode(of(text.replace(CUT, ""))):
            raise UserError("a control token is typed into a text, and this tokenizer cannot write "
                            "it as letters; take it out")
        return ids

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text as transformers reads it, control tokens included, but without an appended
        end token, because the text will go on."""
        ids = self.t.encode(whole(text))
        own = self.t.encode(whole(text), add_special_tokens=False)
        appends = ids[-1:] == [self.t.eos_token_id] and ids[len(ids) - 1 - len(own):-1] == own
        return ids[:-1] if appends else ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.t.decode([int(i) for i in ids], skip_special_tokens=False,
                             clean_up_tokenization_spaces=False)

    @lru_cache(maxsize=8)                       # `check` and `chat` of a row read the same text
    def _text(self, turns: Any, waits: bool = False, thinks: bool | None = None) -> str:
        """The chat template applied to a dialogue whose texts have CUTs.
        waits: its `add_generation_prompt`; the text then ends where an answer begins
        thinks: its `enable_thinking`; None leaves the template's default"""
        names = {"masked": "assistant"} | ({"tool": "user"} if self.ours else {})
        talk = [{"role": names.get(role, role), "content": self.as_letters(text)}
                for role, text in turns]
        more = {} if thinks is None else {"enable_thinking": thinks}
        try:
            text = self.t.apply_chat_template(talk, add_generation_prompt=waits, tokenize=False,
                                              chat_template=self.template,
                                              date_string=DAY.strftime("%d %b %Y"), **more)
            if len(text) > LONGEST + 10 * sum(len(said["content"]) for said in talk):
                raise ValueError(f"it makes {len(text):,} letters of it")
            is_answered = turns and turns[-1][0] in ANSWERS and not waits
            return text + self.next_turn if is_answered else text
        except (Exception, TooLong) as e:       # a template may raise anything
            raise UserError(f"the chat template refuses a dialogue of {[r for r, _ in turns]} "
                            f"({' '.join(str(e).split())[:120] or type(e).__name__})") from None

    def _dialogue(self, turns: Turns) -> str:
        """The text of a dialogue. If the prompt of an answer ends with the beginning of a thought
        ("<think>\\n") and the template leaves thoughts out, the last answer is put in unchanged."""
        text = self._text(turns)
        if not turns or turns[-1].role != "assistant":
            return text
        asked = self._text(turns[:-1], True, None)
        if text.startswith(asked):
            return text
        framed = self._text((*turns[:-1], Turn("assistant", FRAME)))
        put_in = framed.replace(FRAME, self.as_letters(turns[-1].text))
        return put_in if framed.count(FRAME) == 1 and put_in.startswith(asked) else text

    def prompt_ids(self, turns: Turns) -> list[int]:
        return self.rendered_ids(self._text(turns, True, None))

    def chat(self, context: Turns, trained: Turns = ()) -> tuple[list[int], list[int]]:
        """Ids, and a mask: 1 on each assistant turn of `trained`, from the end of its generation
        prompt to its end token. UserError if the template writes an answer anywhere else."""
        turns = context + trained
        text = self._dialogue(turns)
        cuts = [0]                              # letters at which answers begin and end
        for i in range(len(context), len(turns)):
            if turns[i].role == "assistant":
                cuts += self._answer(turns, i, text)
        pieces = [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)])]
        ids = self.rendered_ids(text)
        ends = [0]                              # the same in the ids
        for before, cut in zip(cuts, cuts[1:]):
            n = self._tokens_in(text[before:cut], ids, ends[-1])
            ends.append(self._tokens_in(text[:cut], ids) if n < 0 else n)
        ends = ends[1:]
        if -1 in ends:
            ids, ends = self._piece_by_piece(pieces, ids)
        mask = [0] * len(ids)
        for begin, end in zip(ends[::2], ends[1::2]):
            mask[begin:end] = [1] * (end - begin)
        return ids, mask

    def _answer(self, turns: Turns, i: int, text: str) -> tuple[int, int]:
        """The letters of the text at which the i-th turn, an answer, begins and ends."""
        upto = text if i + 1 == len(turns) else self._dialogue(turns[:i + 1])
        prompts = (self._text(turns[:i], True, thinks) for thinks in (None, False, True))
        before = next(filter(upto.startswith, prompts), None)
        if before is None:
            asked = self._text(turns[:i], True, None)
            extra = asked[len(os.path.commonprefix([asked, upto])):]
            begins = f"begin each answer with {extra[-20:]!r}, as the prompt asks for it, or "
            raise UserError("the chat template does not write an answer where its prompt for one "
                            f"ends: {begins * (extra == extra.lstrip())}"     # which answers lose
                            "repair its generation prompt")
        if not text.startswith(upto):
            raise OneAnswerOnly(GOES_ON)
        last = upto.rfind(self.end_text, len(before))       # a line feed may follow
        return len(before), len(upto) if last < 0 else last + len(self.end_text)

    def _tokens_in(self, part: str, ids: list[int], begin: int = 0) -> int:
        """The number of ids up to the end of a part of the text that begins at id `begin`. -1 if a
        token goes beyond this end, or if the part has other ids in the text than alone."""
        if begin < 0:
            return -1
        if part.endswith(self.end_text):        # a control token is never a part of another token
            ends = (n for n in range(begin, len(ids)) if ids[n] == self.end)
            return next(islice(ends, part.count(self.end_text) - 1, None), -2) + 1
        own = self.rendered_ids(part)
        return begin + len(own) if ids[begin:begin + len(own)] == own else -1

    def _piece_by_piece(self, pieces: list[str], whole: list[int]) -> tuple[list[int], list[int]]:
        """Ids and ends of pieces that are tokenized one by one. This is for a token that reaches
        from the prompt into the answer, such as one for a line feed and spaces. A model that
        answers reads the prompt alone, so it will see these pieces."""
        ids: list[int] = []
        ends = []
        for piece in pieces:
            ids += self.rendered_ids(piece)
            ends.append(len(ids))
        if self.decode(ids) != self.decode(whole):
            raise UserError("a token of this tokenizer reaches from the chat template's prompt "
                            "into the answer; repair its generation prompt")
        return ids, ends

    def check(self, context: Turns, trained: Turns = ()) -> bool:
        """UserError if the template leaves out or rewrites the text of a turn. White space does not
        count. A short text may occur in the rendering by chance, so each sequence of roles is also
        tried once with texts that cannot. A template may leave out a part of earlier answers, such
        as their thoughts. Returns True if it does."""
        turns = tuple(Turn(role, whole(said)) for role, said in context + trained)
        roles = tuple(turn.role for turn in turns)
        if roles not in self.lost:
            marked = tuple(Turn(role, f"text {i}") for i, role in enumerate(roles))
            with at_most(SECONDS, GIGABYTES):
                self.lost[roles] = lost_turns(marked, self._text(marked))
        text = self._dialogue(turns).replace(CUT, "")
        lost = lost_turns(turns, text)
        earlier = [i for i in lost if i < len(context) and roles[i] in ANSWERS]
        for i in [*self.lost[roles], *lost]:
            if i in earlier:
                continue
            role, said = turns[i]
            if i + 1 < len(turns) and role in ANSWERS and i not in self.lost[roles]:
                raise OneAnswerOnly(GOES_ON)            # as the last turn it may be whole
            raise UserError("the chat template leaves out or rewrites a part of "
                            f'"{shorten(said, 80, placeholder=" ...")}" of the '
                            f'{"assistant" if role == "masked" else role}')
        return bool(earlier)

    def save(self, folder: str | Path) -> None:
        self.t.save_pretrained(str(folder))
        file = Path(folder) / "tokenizer_config.json"
        config = {name: x for name, x in read_json(file).items() if name not in ELSEWHERE}
        if config.get("tokenizer_class") == "TokenizersBackend":    # in transformers 4 it is:
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        write_json(file, config)
