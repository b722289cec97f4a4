"""The tokenizer and the chat template of a transformers folder: a conversation -> ids and a mask.

    tok = HFTokenizer(folder)
    ids, mask = tok.chat(context, trained)  # ids: those of transformers' apply_chat_template

The mask comes from comparing beginnings: an answer begins where the text of its prompt ends, and
ends with its end token. `check` refuses a template that loses a text. As in our own tokenizer, no
text of a dialogue becomes a control token: a typed "<|im_end|>" is read as its letters
(transformers would read the control token).
"""
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, chain, pairwise
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
from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.files import read_json, write_json

SAFE: Any = {"trust_remote_code": False, "local_files_only": True}
# templates that write the date always write this one, so that a run goes on tomorrow
DAY = "26 Jul 2024"
THAT_DAY = ("{% macro strftime_now(form) %}{{ form.replace('%d', '26').replace('%B', 'July')"
            ".replace('%b', 'Jul').replace('%m', '07').replace('%Y', '2024') }}{% endmacro %}"
            "{{ '' }}")
GOES_ON = ("the chat template writes a response differently when the dialogue continues; give each "
           "response its own row")
FRAME = "\ue000"        # put in place of an answer, to see what a template writes around it
CUT = "\ud800"          # half of a character; after `whole` no text has one: see `as_letters`


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for unpaired surrogates (scraped JSON has halves of emoji), as in our
    tokenizer."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_space(text: str) -> str:
    return "".join(text.split())


def lost_turns(turns: Turns, text: str) -> list[int]:
    """Numbers of the turns that are not in the text, in order. A system turn may be anywhere, and a
    text may be written as JSON (the result of a tool)."""
    text, at, lost = without_space(text), 0, []
    for i, (role, content) in enumerate(turns):
        forms = [without_space(x) for x in (content, json.dumps(content, ensure_ascii=False)[1:-1])]
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
            self.t = t = transformers.AutoTokenizer.from_pretrained(str(folder), **SAFE)
        except Exception as e:
            raise UserError(f"{folder}: its tokenizer cannot be used "
                            f"({' '.join(str(e).split())[:200]})") from None
        if not t("a").input_ids:
            raise UserError(f"{folder}: has no tokenizer.json")
        self.ours = not t.chat_template or str(t.chat_template).endswith(JINJA)
        if not t.chat_template:
            self.added = t.add_tokens(list(CONTROL), special_tokens=True)
            adds_bos = t("a").input_ids[0] == t.bos_token_id
            t.chat_template = ("{{- bos_token -}}" if adds_bos else "") + JINJA
            t.eos_token, t.pad_token = END, PAD
        special = {*t.all_special_ids, *t.added_tokens_decoder}
        self.next_turn = ""             # written after answers by a template without end token
        self.control = re.compile("(?!)")               # finds nothing: `_ends` asks plain words
        try:
            ends = self._ends(special)
        except UserError as e:                          # of the template
            raise UserError(f"{folder}: {e}") from None
        if not ends:
            raise UserError(f"{folder}: its chat template has no EOS token after a response, so "
                            "the model would never learn to stop; fix chat_template.jinja")
        added = {token.content for i, token in t.added_tokens_decoder.items()
                 if token.special or i in ends}
        names = {*t.all_special_tokens, *added} - {""}
        firsts = re.escape("".join(sorted({name[0] for name in names})))       # ten times as fast
        every = "|".join(map(re.escape, sorted(names)))
        # the first letter of each name in a text, even if two overlap
        self.control = re.compile(f"(?=[{firsts}])(?={every}).", re.DOTALL)
        self.name = type(t).__name__
        self.end, self.stops = ends[-1], {ends[-1]}
        self.end_text = self.decode([self.end])
        self.pad = self.end if t.pad_token_id is None else t.pad_token_id
        control = t.convert_tokens_to_ids(list(CONTROL[:2])) if self.ours else (-1, -1)
        self.user, self.assistant = control
        self.about = (f"{folder}: {'our' if self.ours else 'its own'} chat template; the EOS token "
                      f"of a response is {t.convert_ids_to_tokens(self.end)}")

    def _ends(self, special: set[int]) -> list[int]:
        """Control tokens after an answer. If there is none (GLM), the token that begins the next
        question ends an answer, unless it begins every turn."""
        def written(text: str) -> list[int]:    # <unk> stands for a letter, and is not written
            return [i for i in self.rendered_ids(text)
                    if i in special and self.t.convert_ids_to_tokens(i) in text]
        talk = (Turn("user", "ask"), Turn("assistant", "zebra"))
        text = self._text(talk)
        ends = written(text.rpartition("zebra")[2])
        if not ends:
            goes_on = self._text((*talk, Turn("user", "lynx"))).removeprefix(text)
            first = written(goes_on.partition("lynx")[0])[:1]
            begins = self.rendered_ids(text.partition("ask")[2].partition("zebra")[0])
            if first and first[0] not in begins:
                ends, self.next_turn = first, self.decode(first)
                self._text.cache_clear()
        return ends

    @property
    def n_vocab(self) -> int:
        return len(self.t)

    def encode(self, text: str) -> list[int]:
        return self.rendered_ids(self.as_letters(text))

    def as_letters(self, text: str) -> str:
        """The text with a CUT after the first letter of each control token that is typed in it."""
        return self.control.sub(lambda first: first[0] + CUT, replace_surrogates(text))

    def rendered_ids(self, text: str) -> list[int]:
        """Ids of the text that a chat template wrote, with its control tokens. The parts between
        two CUTs are tokenized one by one, so none of them holds a typed control token."""
        def of(part: str) -> list[int]:
            return self.t.encode(part, add_special_tokens=False)
        ids = [i for part in text.split(CUT) for i in of(part)]
        if CUT in text and self.decode(ids) != self.decode(of(text.replace(CUT, ""))):
            raise UserError("a text contains a special token, which this tokenizer cannot encode "
                            "as plain text; remove it")
        return ids

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text as transformers reads it, control tokens included, but without an end token
        behind it, because the text will go on."""
        ids = self.t.encode(replace_surrogates(text))
        return ids[:-1] if ids[-1:] == [self.t.eos_token_id] else ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.t.decode([int(i) for i in ids], skip_special_tokens=False,
                             clean_up_tokenization_spaces=False)

    @lru_cache(maxsize=8)                       # `check` and `chat` of a row read the same text
    def _text(self, turns: Any, waits: bool = False, thinks: bool | None = None) -> str:
        """The chat template applied to a dialogue whose texts have CUTs. waits: the text ends where
        an answer begins. thinks: its `enable_thinking`; None leaves the template's default."""
        names = {"masked": "assistant"} | ({"tool": "user"} if self.ours else {})
        messages = [{"role": names.get(role, role), "content": self.as_letters(text)}
                    for role, text in turns]
        thinking = {} if thinks is None else {"enable_thinking": thinks}
        try:
            text = self.t.apply_chat_template(messages, add_generation_prompt=waits, tokenize=False,
                                              chat_template=THAT_DAY + self.t.get_chat_template(),
                                              date_string=DAY, **thinking)
            answered = turns and turns[-1].role in ANSWERS and not waits
            return text + self.next_turn if answered else text
        except Exception as e:                          # a template may raise anything
            raise UserError(f"the chat template rejects a dialogue of {[r for r, _ in turns]} "
                            f"({' '.join(str(e).split())[:120] or type(e).__name__})") from None

    def _dialogue(self, turns: Turns) -> str:
        """The text of a dialogue. If the prompt of an answer ends with the beginning of a thought
        ("<think>\\n") and the template leaves thoughts out, the last answer is put in unchanged."""
        text = self._text(turns)
        if not turns or turns[-1].role != "assistant":
            return text
        asked = self._text(turns[:-1], True)
        if text.startswith(asked):
            return text
        framed = self._text((*turns[:-1], Turn("assistant", FRAME)))
        put_in = framed.replace(FRAME, self.as_letters(turns[-1].text))
        return put_in if framed.count(FRAME) == 1 and put_in.startswith(asked) else text

    def prompt_ids(self, turns: Turns) -> list[int]:
        return self.rendered_ids(self._text(turns, True))

    def chat(self, context: Turns, trained: Turns = ()) -> tuple[list[int], list[int]]:
        """Ids, and a mask: 1 on each assistant turn of `trained`, from the end of its prompt to its
        end token. UserError if the template writes an answer anywhere else."""
        turns = context + trained
        text = self._dialogue(turns)
        cuts = [0]                              # letters at which answers begin and end
        for i in range(len(context), len(turns)):
            if turns[i].role == "assistant":
                cuts += self._answer(turns, i, text)
        ids = self.rendered_ids(text)
        pieces = [self.rendered_ids(text[a:b]) for a, b in pairwise([*cuts, len(text)])]
        ends = [*accumulate(map(len, pieces))]                  # the same in the ids
        own = [*chain.from_iterable(pieces)]
        if own != ids:                  # some tokenizers put a space before each text, so before
            parts = [self.rendered_ids(text[:cut]) for cut in cuts[1:]]         # each piece
            if all(ids[:len(part)] == part for part in parts):
                ends = [*map(len, parts), len(ids)]
            elif self.decode(own) == self.decode(ids):
                ids = own               # a token reaches from a prompt, which is read alone, on
            else:
                raise UserError("one token covers the end of the prompt and the beginning of the "
                                "response; fix the chat template's generation prompt")
        mask = [n % 2 for n, (a, b) in enumerate(pairwise([0, *ends])) for _ in range(a, b)]
        return ids, mask

    def _answer(self, turns: Turns, i: int, text: str) -> tuple[int, int]:
        """The letters of the text at which the i-th turn, an answer, begins and ends."""
        upto = text if i + 1 == len(turns) else self._dialogue(turns[:i + 1])
        prompts = [self._text(turns[:i], True, thinks) for thinks in (None, False, True)]
        before = next(filter(upto.startswith, prompts), None)
        if before is None:
            raise UserError("the chat template does not begin a response as its generation prompt "
                            f"does ({prompts[0][-20:]!r}); begin each response in that way, for "
                            "instance with a thought, or fix the generation prompt")
        if not text.startswith(upto):
            raise OneAnswerOnly(GOES_ON)
        last = upto.rfind(self.end_text, len(before))       # a line feed may follow
        return len(before), len(upto) if last < 0 else last + len(self.end_text)

    @lru_cache(maxsize=1000)
    def _dropped_turns(self, roles: tuple[str, ...]) -> list[int]:
        """Numbers of the turns that the template leaves out of a dialogue of these roles: found by
        texts that are nowhere else. A short one, such as a tool's "1", may be there by chance."""
        marked = tuple(Turn(role, f"text {i}.") for i, role in enumerate(roles))
        return lost_turns(marked, self._text(marked))

    def check(self, context: Turns, trained: Turns = ()) -> bool:
        """UserError if the template leaves out or rewrites the text of a turn. White space does not
        count. It may leave out a part of earlier answers, such as their thoughts. Returns True if
        it does."""
        turns = tuple(Turn(role, replace_surrogates(text)) for role, text in context + trained)
        never = self._dropped_turns(tuple(turn.role for turn in turns))
        lost = {*never, *lost_turns(turns, self._dialogue(turns).replace(CUT, ""))}
        others = [i for i in sorted(lost) if i >= len(context) or turns[i].role not in ANSWERS]
        if others:
            role, content = turns[others[0]]
            if role in ANSWERS and others[0] + 1 < len(turns):
                raise OneAnswerOnly(GOES_ON)                # as the last turn it may be whole
            raise UserError("the chat template drops or rewrites a part of "
                            f'"{shorten(content, 80, placeholder=" ...")}" of the '
                            f'{"assistant" if role == "masked" else role}')
        return len(lost) > 0

    def save(self, folder: str | Path) -> None:
        self.t.save_pretrained(str(folder))
        file = Path(folder) / "tokenizer_config.json"
        config = read_json(file)
        if config.get("tokenizer_class") == "TokenizersBackend":    # in transformers 4 it is:
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        write_json(file, config)
