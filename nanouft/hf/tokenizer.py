"""A tokenizer of transformers, with the interface of `Tokenizer`: a model keeps its own words and
chat template.

    tok = TransformersTokenizer(folder)
    ids, mask = tok.chat(context, trained)      # ids: those of transformers' apply_chat_template

The template writes a dialogue as one text, and once more with marks in place of its texts: so we
know which tokens are an answer. The mask begins where a prompt for it ends, and ends with the end
token after it. Without a template our own is added (data/tokenizer.py), after the <s> that the
tokenizer writes. What a tool says, and thoughts in <think>, are left to the template, which must
mark what the assistant says (`generation`, as in TRL's training templates); without marks a
template that changes an answer is refused.
Simplified: only tokenizers of the `tokenizers` library (tokenizer.json).
"""
import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from nanouft.data.rows import ANSWERS, Turn, Turns
from nanouft.data.tokenizer import CONTROL, END, JINJA, PAD, Tokenizer, fold_system
from nanouft.errors import UserError
from nanouft.hf.trial import try_out
from nanouft.run.storage import checksum
from nanouft.run.time_limit import at_most
from nanouft.run.words import one_line, optional

MARK = re.compile("\ue000([0-9]+)\ue001")       # in a text's place while a template is looked at
ROLES = {"tool": "user", "shown": "assistant"}  # for templates that know no tools
QUIET = {"enable_thinking": False, "thinking": False}   # the names that templates know
FILES = ("tokenizer.json", "*.model", "vocab.*")        # one of these makes a tokenizer
SAMPLE = "Hello there, 12."
SECONDS = 5                                     # that a template may take for one dialogue
DAY = datetime(2024, 7, 26)                     # for templates that tell the day: runs repeat
PARTS = "".join(f".replace('%{c}', '{DAY.strftime('%' + c)}')" for c in "aAbBdHIjmMpSyY")
FIXED = ("{%- macro strftime_now(form) -%}{{- form.replace('%-', '%')" + PARTS
         + " -}}{%- endmacro +%}")
MARKS = re.compile(r"{%-?\s*generation\s*-?%}")
GENERATION = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")      # transformers' own tags
REMEDY = ("give the model's folder a chat_template.jinja with {% generation %} marks (TRL has such "
          "training templates), or leave these rows out")
Places = list[tuple[int, int]]                  # (start, end) of each turn in a text


class TransformersTokenizer(Tokenizer):
    """`t` is transformers' own. Ids `end`, `pad`; `user` and `assistant` are -1 but for our own
    template."""

    def __init__(self, folder: Path):
        self.t = t = read_tokenizer(folder)
        self.n_text = 1 + max(t.get_vocab().values())
        self.name = f"{type(t).__name__} {checksum(repr(sorted(t.get_vocab().items())))[:8]}"
        self.brought = bool(t.chat_template)
        if not self.brought:
            add_chat(t)
        try_out(GENERATION.sub("", self._template))
        self.marks = MARKS.search(self._template) is not None
        self.ranks = t.get_vocab()
        self.control = [str(token) for token in t.added_tokens_decoder.values() if token.special]
        ours = str(t.chat_template).strip() == JINJA.strip()
        ids = t.convert_tokens_to_ids(list(CONTROL[:2])) if ours else (-1, -1)
        self.user, self.assistant = ids
        self.settings: dict[str, bool] = {}     # what else the template gets
        self.folds = False                      # must a system turn be folded into the user's?
        self.folds = not self._takes_system()
        thinks = not self._trains_as_it_asks()
        if thinks:
            self.settings = QUIET
        self.end = self._end()
        self.stops = {self.end}
        # reward models in transformers read the last token that is no padding
        spare = [i for i in (t.pad_token_id, t.unk_token_id, t.bos_token_id)
                 if i not in (None, self.end)]
        self.pad = spare[0] if spare else self.end
        self.about = f"{folder}: " + "; ".join(self._remarks(thinks))

    @property
    def n_vocab(self) -> int:
        return max(self.n_text, 1 + max(self.ranks.values()))

    # ---- text ------------------------------------------------------------------------------------
    def encode(self, text: str) -> list[int]:
        return self.t.encode(text, add_special_tokens=False, split_special_tokens=True)

    def text_ids(self, text: str) -> list[int]:
        return self.t.encode(text, split_special_tokens=True)

    def decode(self, ids: Iterable[int]) -> str:
        return self.t.decode([int(i) for i in ids], skip_special_tokens=False,
                             clean_up_tokenization_spaces=False)

    # ---- conversations ---------------------------------------------------------------------------
    def chat(self, context: Turns, trained: Turns = ()) -> tuple[list[int], list[int]]:
        """Ids, and a mask of equal length: 1 on the tokens of assistant turns of `trained`, end
        token included. UserError if the template refuses these roles, or changes a text."""
        if self._is_special(context + trained):
            return self._marked(context, trained)
        turns = self._turns(context, trained)
        messages = [Turn(role, text) for role, text, _ in turns]
        text, places = self._places(messages)
        spans = []
        for i, (role, _, train) in enumerate(turns):
            if role == "assistant" and train:
                asked = self._write(messages[:i], waits=True) if i else ""
                start = len(asked) if asked and text.startswith(asked) else places[i][0]
                spans.append((start, self._stop(text, places, i)))
        ids, ends = self._cut(text, places)
        return ids, [int(any(start < end <= stop for start, stop in spans)) for end in ends]

    def _stop(self, text: str, places: Places, i: int) -> int:
        """Where turn number i ends in `text`: with the end token before the next turn, if any."""
        after = places[i][1]
        following = places[i + 1][0] if i + 1 < len(places) else len(text)
        at = text.find(self.end_text, after, following)
        return after if at < 0 else at + len(self.end_text)

    def prompt_ids(self, turns: Turns) -> list[int]:
        if self._is_special(turns):
            return self._apply(self._as_messages(turns), True, tokenize=True,
                               return_dict=True)["input_ids"]
        messages = [Turn(role, text) for role, text, _ in self._turns(turns)]
        return self._cut(*self._places(messages, waits=True))[0]

    def _turns(self, context: Turns, trained: Turns = ()) -> list[tuple[str, str, bool]]:
        """(role, text, is it trained on?) in the roles that every template knows: what a tool says
        is the user's, "shown" the assistant's."""
        turns = [(ROLES.get(role, role), text, i >= len(context) and role != "shown")
                 for i, (role, text) in enumerate(context + trained)]
        return list(fold_system(turns)) if self.folds else turns

    # ---- tools and thoughts, as the template writes them -----------------------------------------
    def _is_special(self, turns: Turns) -> bool:
        """Is there a tool, or a thought with a place that the template can mark?"""
        return self.brought and any(turn.role == "tool" or self.marks and "</think>" in turn.text
                                    for turn in turns)

    def _as_messages(self, turns: Turns) -> list[dict]:
        for token in self.control:
            if any(token in turn.text for turn in turns):
                raise UserError(f"a text with the control token {token} cannot stand beside tools "
                                "or thoughts; remove it")
        return [as_message(turn) for turn in turns]

    def _marked(self, context: Turns, trained: Turns) -> tuple[list[int], list[int]]:
        """Ids and mask by the template's own marks."""
        if not self.marks:
            raise UserError("this chat template does not mark what the assistant says beside "
                            f"tools; {REMEDY}")
        turns = context + trained
        out = self._apply(self._as_messages(turns), tokenize=True, return_dict=True,
                          return_assistant_tokens_mask=True)
        learn = [i >= len(context) and turn.role == "assistant" for i, turn in enumerate(turns)
                 if turn.role in ANSWERS]
        ids, mask = out["input_ids"], out["assistant_masks"]
        begins = [i for i, on in enumerate(mask) if on and not (i and mask[i - 1])]
        if len(begins) != len(learn):
            raise UserError(f"this chat template marks {len(begins)} of {len(learn)} answers of a "
                            f"dialogue; {REMEDY}")
        return ids, [int(on and learn[bisect_right(begins, i) - 1]) for i, on in enumerate(mask)]

    # ---- the template ----------------------------------------------------------------------------
    @cached_property
    def _template(self) -> str:
        """The model's own; where it asks for the day, with a macro that says a fixed one."""
        template = self.t.get_chat_template()
        return FIXED + template if "strftime_now" in template else template

    def _write(self, messages: list[Turn], waits: bool = False) -> str:
        """The dialogue as the template writes it; `waits`: up to where the assistant begins."""
        return self._apply([{"role": m.role, "content": m.text} for m in messages], waits,
                           tokenize=False)

    def _apply(self, messages: list[dict], waits: bool = False, **how: bool) -> Any:
        try:
            with at_most(SECONDS, TimeoutError(f"took more than {SECONDS} seconds")):
                return self.t.apply_chat_template(
                    messages, add_generation_prompt=waits, chat_template=self._template,
                    date_string=f"{DAY:%d %b %Y}", **how, **self.settings)
        except Exception as e:                  # templates raise what they like
            roles = ", ".join(m["role"] for m in messages)
            raise UserError(f"the chat template refuses a dialogue of {roles} "
                            f"({one_line(str(e))})") from None

    def _places(self, messages: list[Turn], waits: bool = False) -> tuple[str, Places]:
        """What `_write` returns, and where the text of each turn is in it."""
        text = self._write(messages, waits)
        marked = self._write([Turn(m.role, f"\ue000{i}\ue001") for i, m in enumerate(messages)],
                             waits)
        between, order = MARK.split(marked)[::2], [int(i) for i in MARK.findall(marked)]
        if sorted(order) != list(range(len(messages))):
            left = ", ".join(m.role for i, m in enumerate(messages) if order.count(i) != 1)
            raise UserError(f"the chat template leaves out a turn, or writes it twice ({left})")
        places, at = [(0, 0)] * len(messages), len(between[0])
        for i, following, after in zip(order, [*order[1:], order[-1]], between[1:]):
            whole = messages[i].text                            # many templates strip white space
            forms = (whole, whole.strip(), whole.lstrip(), whole.rstrip())
            found = [form for form in forms if text.startswith(form + after, at)]
            if not found:
                # where this text is whole, the next turn begins in another way
                is_whole = any(text.startswith(form, at) for form in forms)
                changed = messages[following if is_whole else i]
                remedy = f"; {REMEDY}" if "</think>" in changed.text else ""
                raise UserError(f"the chat template changes the text of a turn ({changed.role}: "
                                f"{one_line(changed.text, 60)}){remedy}")
            places[i] = (at, at + len(found[0]))
            at += len(found[0]) + len(after)
        return text, places

    def _cut(self, text: str, places: Places) -> tuple[list[int], list[int]]:
        """(ids of a text, where in the text each token ends). As a whole, as transformers does; but
        a control token that somebody typed in one of the `places` stays text: then that place is
        cut by itself."""
        ids: list[int] = []
        ends: list[int] = []
        typed = [(a, b) for a, b in sorted(places) if any(c in text[a:b] for c in self.control)]
        edges = [0, *(edge for place in typed for edge in place), len(text)]
        for i, (a, b) in enumerate(zip(edges, edges[1:])):          # every second one is `typed`
            cut = self.t(text[a:b], add_special_tokens=False, return_offsets_mapping=True,
                         split_special_tokens=i % 2 == 1)
            ids += cut["input_ids"]
            ends += [a + end for _, end in cut["offset_mapping"]]
        return ids, ends

    # ---- what the template does ------------------------------------------------------------------
    def _takes_system(self) -> bool:
        try:
            self._places([Turn("system", "a"), Turn("user", "b")], waits=True)
            return True
        except UserError:
            return False

    def _trains_as_it_asks(self, rounds: int = 1) -> bool:
        """Does a dialogue go on as the prompt for each answer ends, and always in the same way?
        Some prompts open a thought that no text closes."""
        return len(set(self._beginnings(rounds))) == 1

    def _beginnings(self, rounds: int) -> list[str]:
        """The text between the prompt for each answer and the answer; [] if a prompt is not what
        the dialogue begins with."""
        talk = [Turn("user", "a"), Turn("assistant", "b")] * rounds
        whole, places = self._places(talk)
        asked = [self._write(talk[:i], waits=True) for i in range(1, len(talk), 2)]
        if not all(map(whole.startswith, asked)):
            return []
        return [whole[len(text):start] for text, (start, _) in zip(asked, places[1::2])]

    def _end(self) -> int:
        """Id of the first control token after an answer; `end_text` is its text."""
        text, places = self._places([Turn("user", "a"), Turn("assistant", "b")])
        for i in self.t.encode(text[places[1][1]:], add_special_tokens=False):
            self.end_text = str(self.t.convert_ids_to_tokens(i))
            if self.end_text in self.control:
                return i
        raise UserError("the chat template puts no end token after an answer, so the model would "
                        "never learn to stop; repair the template (chat_template in "
                        "tokenizer_config.json), or delete it for nanouft's own")

    def _remarks(self, thinks: bool) -> Iterable[str]:
        yield ("its own chat template is kept" if self.brought else
               "no chat template there, so nanouft's own is added")
        yield f"an answer ends with {self.end_text}"
        if self.folds:
            yield "it knows no system turn: that text goes in front of the user's"
        if thinks:
            yield ("it is told not to think first" if self._trains_as_it_asks() else
                   "what it writes before an answer is not what it writes there in training")
        elif not self._trains_as_it_asks(rounds=2):
            yield "in a dialogue it writes the earlier answers in another way than the last one"
        if any("</think>" in text for text in self._beginnings(1)):
            yield "an answer without a thought teaches it not to think"

    def save(self, folder: str | Path) -> None:
        self.t.save_pretrained(str(folder))


def read_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer in a folder. UserError unless a text becomes tokens and comes back;
    capital letters may be lost."""
    transformers = optional("transformers", f"{folder}: its tokenizer")
    transformers.logging.set_verbosity_error()
    try:
        if not any(file for kind in FILES for file in folder.glob(kind)):
            raise ValueError("there are no tokenizer files")
        t = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True,
                                                       trust_remote_code=False)
        if not t.is_fast:
            raise ValueError("no tokenizer.json, which the `tokenizers` library reads")
        ids = t.encode(SAMPLE, add_special_tokens=False)
        back = t.decode(ids, clean_up_tokenization_spaces=False)
        if t.unk_token_id in ids or back.strip().lower() != SAMPLE.lower():
            raise ValueError(f"of {SAMPLE!r} comes back {one_line(back, 40)!r}")
        if t.chat_template and not isinstance(t.get_chat_template(), str):
            raise ValueError("its chat template is no text")
        return t
    except Exception as e:                      # whatever a damaged or strange file leads to
        raise UserError(f"{folder}: its tokenizer cannot be used ({one_line(str(e))}); put the "
                        "tokenizer files that belong to the model into its folder") from None


def as_message(turn: Turn) -> dict:
    """A turn as templates expect it: a call of a tool (JSON, on the last line) as "tool_calls"."""
    words, _, last = turn.text.rpartition("\n")
    calls = []
    try:
        found: Any = json.loads(last) if turn.role == "shown" else None
        for item in found if isinstance(found, list) else [found]:
            call = dict(item.get("function", item))
            if not isinstance(call["arguments"], dict):
                call["arguments"] = json.loads(call["arguments"])
            calls.append({"type": "function", "function": call})
    except (ValueError, AttributeError, TypeError, KeyError):           # no call
        role = "assistant" if turn.role == "shown" else turn.role
        return {"role": role, "content": turn.text}
    return {"role": "assistant", "content": words, "tool_calls": calls}


def add_chat(t: Any) -> None:
    """Our four chat tokens and our template, after the token with which this tokenizer begins every
    text, if any."""
    first = t("a").input_ids[0]
    t.add_tokens(list(CONTROL), special_tokens=True)
    t.chat_template = ("{{- bos_token -}}" if first == t.bos_token_id else "") + JINJA
    t.eos_token, t.pad_token = END, PAD
