"""The tokenizer and the chat template of a transformers folder: a conversation -> ids and a mask.

    tok = HFTokenizer(folder)
    ids, mask = tok.chat(context, trained)  # ids: those of transformers' apply_chat_template

A template is asked once for each SHAPE of a dialogue: its roles, and which answers begin with a
thought. What does it write around the texts? Where do answers begin (where their prompt ends), and
where do they end (with their end token)? Then each dialogue is written once, and its texts must
stand in it as in its shape, else it is refused: so no text is lost without a line. As in our own
tokenizer, no text becomes a control token: a typed "<|im_end|>" is read as its letters
(transformers would read the control token).
"""
import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple
from unicodedata import normalize

from nanouft.models.template_shapes import MARK, Shape, marked, parts_of, text_offsets
from nanouft.models.tokenizer import (
    ANSWERS,
    CONTROL,
    END,
    JINJA,
    PAD,
    Chat,
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
CUT = "\ud800"          # half of a character; no text has one: see `as_letters`
FRAME = "\ue002"        # stands for an answer that is put in afterwards


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for unpaired surrogates (scraped JSON has halves of emoji), as in our
    tokenizer."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def lines_without_space(text: str) -> list[str]:
    return ["".join(line.split()) for line in normalize("NFC", text).strip().split("\n")]


class Written(NamedTuple):
    """A dialogue as its template writes it."""
    turns: Turns
    text: str                       # with CUTs
    cuts: list[int]                 # letters at which trained answers begin and end
    lost_thoughts: bool             # True: an earlier answer is there without its thought


def tokens_at(cuts: list[int], text: str, encoded: list[Any]) -> list[int] | None:
    """The numbers of the tokens that begin at these letters; None if one begins at none. encoded:
    what the tokenizer made of each part of the text."""
    at, letters, tokens = {len(text): sum(len(part.ids) for part in encoded)}, 0, 0
    for part, said in zip(encoded, text.split(CUT)):
        for cut in cuts:
            place = cut - letters
            token = part.char_to_token(place) if 0 <= place < len(said) else None
            if token is not None and part.token_to_chars(token)[0] == place:
                at[cut] = tokens + token
        letters += len(said) + 1
        tokens += len(part.ids)
    return [at[cut] for cut in cuts] if {*cuts} <= at.keys() else None


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
        if not t.is_fast:
            raise UserError(f"{folder}: its tokenizer is written in Python ({type(t).__name__}) "
                            "and cannot be used; save it with a tokenizer.json")
        self.ours = not t.chat_template or str(t.chat_template).endswith(JINJA)
        if not t.chat_template:
            self.added = t.add_tokens(list(CONTROL), special_tokens=True)
            adds_bos = t("a").input_ids[0] == t.bos_token_id
            t.chat_template = ("{{- bos_token -}}" if adds_bos else "") + JINJA
            t.eos_token, t.pad_token = END, PAD
        special = {*t.all_special_ids, *t.added_tokens_decoder}
        self.next_turn = self.end_text = ""     # written after answers by a template without end
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
            return [i for i in self._ids(text)
                    if i in special and self.t.convert_ids_to_tokens(i) in text]
        talk = (Turn("user", "ask"), Turn("assistant", "zebra"))
        text = self._write(talk)
        ends = written(text.rpartition("zebra")[2])
        if not ends:
            goes_on = self._write((*talk, Turn("user", "lynx"))).removeprefix(text)
            first = written(goes_on.partition("lynx")[0])[:1]
            begins = self._ids(text.partition("ask")[2].partition("zebra")[0])
            if first and first[0] not in begins:
                ends, self.next_turn = first, self.decode(first)
        return ends

    @property
    def n_vocab(self) -> int:
        return len(self.t)

    def encode(self, text: str) -> list[int]:
        return self._ids(self.as_letters(text))

    def as_letters(self, text: str) -> str:
        """The text with a CUT after the first letter of each control token that is typed in it."""
        return self.control.sub(lambda first: first[0] + CUT, replace_surrogates(text))

    def _ids(self, text: str) -> list[int]:
        """Ids of the text that a chat template wrote, with its control tokens. The parts between
        two CUTs are tokenized one by one, so none of them holds a typed control token."""
        return [i for part in text.split(CUT)
                for i in self.t.encode(part, add_special_tokens=False)]

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text as transformers reads it, control tokens included, but without an end token
        behind it, because the text will go on."""
        ids = self.t.encode(replace_surrogates(text))
        return ids[:-1] if ids[-1:] == [self.t.eos_token_id] else ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.t.decode([int(i) for i in ids], skip_special_tokens=False,
                             clean_up_tokenization_spaces=False)

    # ---- a dialogue -> its text ------------------------------------------------------------------
    def _write(self, turns: Turns, waits: bool = False, thinks: bool | None = None) -> str:
        """The chat template applied to a dialogue, with CUTs in its texts. waits: the text ends
        where an answer begins. thinks: its `enable_thinking`; None leaves the template's default.
        """
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

    def _put_in(self, turns: Turns) -> str:
        """The text of a dialogue that ends with this very answer: if the prompt of an answer ends
        with the beginning of a thought ("<think>\\n"), a template may leave thoughts out."""
        framed = self._write((*turns[:-1], Turn("assistant", FRAME)))
        whole = framed.replace(FRAME, self.as_letters(turns[-1].text))
        return whole if framed.count(FRAME) == 1 else framed

    @lru_cache(maxsize=1000)
    def _shape(self, talk: Turns, first: int, waits: bool) -> Shape | UserError:
        """The shape of a dialogue of marks whose answers from turn `first` on are trained, or why
        the template cannot write it. waits: an answer is to follow."""
        try:
            text, put_in = self._write(talk, waits), False
            spans = []
            for i in range(first, len(talk)):
                if talk[i].role != "assistant":
                    continue
                last = i + 1 == len(talk)
                begins, upto, is_put_in = self._answer(talk[:i + 1])
                if last and is_put_in:
                    text, put_in = upto, True
                if not text.startswith(upto):
                    return OneAnswerOnly(GOES_ON)
                end = upto.rfind(self.end_text, begins)         # a line feed may follow
                spans.append((begins, len(upto) if end < 0 else end + len(self.end_text)))
        except UserError as e:
            return e
        pieces = MARK.split(text)
        return Shape(pieces[::2], [*map(int, pieces[1::2])], spans, put_in)

    def _answer(self, talk: Turns) -> tuple[int, str, bool]:
        """Of a dialogue that ends with an answer: (the letter at which the answer begins, the text,
        whether the answer had to be put in). UserError if it doesn't begin as its prompt ends."""
        text = self._write(talk)
        prompts = [self._write(talk[:-1], True, thinks) for thinks in (None, False, True)]
        for prompt in prompts:
            if text.startswith(prompt):
                return len(prompt), text, False
        text = self._put_in(talk)
        if not text.startswith(prompts[0]):
            raise UserError("the chat template does not begin a response as its generation prompt "
                            f"does ({prompts[0][-20:]!r}); begin each response in that way, for "
                            "instance with a thought, or fix the generation prompt")
        return len(prompts[0]), text, True

    def _written(self, turns: Turns, first: int, waits: bool) -> Written:
        """A dialogue whose answers from turn `first` on are trained. UserError if the template
        leaves out or rewrites a text: it may only leave out thoughts of earlier answers, and white
        space around a text."""
        parts = [*map(parts_of, turns)]
        shape = self._shape(marked((role for role, _ in turns), parts), first, waits)
        if isinstance(shape, UserError):                # a new one: this one stays in the cache
            raise type(shape)(str(shape))
        texts = [self.as_letters(text) for x in parts for text in (x.thought, x.rest)]
        left_out = {i for i, text in enumerate(texts) if text.strip()} - {*shape.order}
        may_be = {2 * i for i, turn in enumerate(turns) if i < first and turn.role in ANSWERS}
        if left_out <= may_be:
            text = self._put_in(turns) if shape.put_in else self._write(turns, waits)
            places, lost = text_offsets(shape, text, texts)
        else:
            lost = min(left_out - may_be)
        if lost >= 0:
            role, said = turns[lost // 2]
            raise UserError("the chat template drops or rewrites a part of "
                            f'"{shorten(said, 80, placeholder=" ...")}" of the '
                            f'{"assistant" if role == "masked" else role}')

        def in_text(letter: int) -> int:
            in_shape, at = places[bisect_right(places, (letter, len(text))) - 1]
            return at + letter - in_shape
        return Written(turns, text, [in_text(x) for span in shape.spans for x in span],
                       bool(left_out))

    def check(self, context: Turns, trained: Turns = ()) -> bool:
        """UserError if the template leaves out or rewrites the text of a turn, as `chat`. True if
        it leaves out thoughts of earlier answers."""
        return self._written(context + trained, len(context), not trained).lost_thoughts

    # ---- its text -> ids -------------------------------------------------------------------------
    def prompt_ids(self, turns: Turns) -> list[int]:
        return self._ids(self._write(turns, True))

    def chat(self, context: Turns, trained: Turns = ()) -> tuple[list[int], list[int]]:
        """Ids, and a mask: 1 on each assistant turn of `trained`, from the end of its prompt to its
        end token. UserError if the template writes an answer anywhere else, or loses a text."""
        chat, = self._chats([(context + trained, len(context), False)])
        if isinstance(chat, UserError):
            raise chat
        return chat.ids, chat.mask

    def chats(self, dialogues: Iterable[tuple[Turns, Turns]]) -> list[Chat | UserError]:
        return self._chats((context + trained, len(context), not trained)
                           for context, trained in dialogues)

    def _chats(self, dialogues: Iterable[tuple[Turns, int, bool]]) -> list[Chat | UserError]:
        """Of dialogues as in `_written`, by one call of the tokenizer."""
        written: list[Written | UserError] = []
        for dialogue in dialogues:
            try:
                written.append(self._written(*dialogue))
            except UserError as e:
                written.append(e)
        parts = [part for x in written if isinstance(x, Written) for part in x.text.split(CUT)]
        tokenizer = self.t.backend_tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        encoded = iter(tokenizer.encode_batch(parts, add_special_tokens=False))
        return [x if isinstance(x, UserError) else
                self._chat(x, [next(encoded) for _ in x.text.split(CUT)]) for x in written]

    def _chat(self, written: Written, encoded: list[Any]) -> Chat | UserError:
        """encoded: what the tokenizer made of the parts of its text."""
        turns, text, cuts, lost_thoughts = written
        ids = [i for part in encoded for i in part.ids]
        if CUT in text and self.decode(ids) != self.decode(self._ids(text.replace(CUT, ""))):
            return UserError("a text contains a special token, which this tokenizer cannot encode "
                             "as plain text; remove it")
        at = tokens_at(cuts, text, encoded)
        if at is None:              # a token reaches from a prompt on, which is read alone
            pieces = [self._ids(text[a:b]) for a, b in pairwise([0, *cuts, len(text)])]
            own = [i for piece in pieces for i in piece]
            if self.decode(own) != self.decode(ids):
                return UserError("one token covers the end of the prompt and the beginning of the "
                                 "response; fix the chat template's generation prompt")
            ids, at = own, [*accumulate(map(len, pieces))][:-1]
        ends = [0, *at, len(ids)]
        mask = [n % 2 for n, (a, b) in enumerate(pairwise(ends)) for _ in range(a, b)]
        return Chat(ids, mask, lost_thoughts, self._word_changed(turns, text, ids))

    def _word_changed(self, turns: Turns, text: str, ids: list[int]) -> str:
        """The first word of a dialogue that becomes another one in the tokenizer, such as "<unk>";
        or "". Spaces don't count, nor how an accent is written."""
        text = text.replace(CUT, "")
        read = self.decode(ids)
        if read == text or lines_without_space(read) == lines_without_space(text):
            return ""

        def back(text: str) -> str:
            return self.decode(self.encode(text))

        def differs(text: str) -> bool:
            whole = replace_surrogates(text)
            return lines_without_space(back(text)) != lines_without_space(whole)
        said = next((turn.text for turn in turns if differs(turn.text)), "")
        word = next(filter(differs, said.split()), said)        # else only line breaks are lost
        return word and " becomes ".join(json.dumps(x.strip()[:60], ensure_ascii=False)
                                         for x in (word, back(word)))

    def save(self, folder: str | Path) -> None:
        self.t.save_pretrained(str(folder))
        file = Path(folder) / "tokenizer_config.json"
        config = read_json(file)
        if config.get("tokenizer_class") == "TokenizersBackend":    # in transformers 4 it is:
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        write_json(file, config)
