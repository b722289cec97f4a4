"""From rows to batches by our own tokenizer: which tokens are trained on, what is left of a row
that is too long, and in which order rows come."""
import json
from itertools import product

import golden
import numpy as np
import pytest
from made import BYTES, LETTERS, NANO, say

from nanouft.data.batches import collate, encode, encode_what_fits, order
from nanouft.data.row import Row
from nanouft.data.rows import read_dataset
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.folders import read_tokenizer, save_model
from nanouft.models.tokenizer import JINJA, NANO_PATTERN, Tokenizer, Turn
from nanouft.objectives import OBJECTIVES
from nanouft.run.plan import with_brackets

ROLES = {x[0]: x for x in "user assistant system tool".split()}


def talk(text: str) -> tuple[Turn, ...]:
    """ "s Be kind.|u a|a b": turns, each with the first letter of its role."""
    return tuple(Turn(ROLES[x[0]], x[2:]) for x in text.split("|"))


def one(prompt: str, answer: str, **more) -> Row:
    return Row(roles={"answer": (talk(prompt), talk(answer))}, **more)


# ---- a row -> tokens -----------------------------------------------------------------------------
@pytest.mark.parametrize("given", golden.read("tokens_of_rows"), ids=lambda line: line[:40])
def test_a_row_that_is_too_long_loses_as_few_of_its_oldest_questions_as_it_takes(given, recorded):
    """Never its last one, and no answer to it. Each letter is a token here."""
    method, _, items = given.partition(" ")
    rows, _ = read_dataset(json.loads(items))
    row = OBJECTIVES[method]().choose(rows)[0]
    lengths: dict[str, list[int]] = {}
    for n_ctx in range(70, 4, -1):
        kept, report = encode_what_fits([row], LETTERS, n_ctx)
        text = "\n  ".join(f"{role}: {with_brackets(tokens, LETTERS)}"
                           for e in kept for role, tokens in e.seqs.items() if role != "mismatch")
        lengths.setdefault(text, []).append(n_ctx)
        assert [why[:10] for why in report.why.values()] == ["too long ("] * (not kept)
        notes = [line.partition(",")[0] for line in report.lines()]
        assert notes == ["1: without the oldest turns"] * (text != [*lengths][0] and bool(kept))
        if method == "kto" and kept:                    # what it borrows ends with the context
            ids = LETTERS.chat(kept[0].row.prompt, row.roles["mismatch"][1])[0]
            assert kept[0].seqs["mismatch"].ids.tolist() == ids[:n_ctx + 1]
    recorded("tokens_of_rows", given, "\n".join(
        f"{ns[0]} to {ns[-1]} tokens:\n  {text or 'too long'}" for text, ns in lengths.items()))


def test_targets_follow_inputs_and_padding_is_on_the_right():
    """Masks and other columns follow the targets."""
    rows, report = encode([one("u a", "a b"), one("u hi", "a yo")], LETTERS, 64)
    for e in rows:
        e.seqs["answer"].extra["x"] = np.arange(1, e.length)
    batch = collate(rows, [1, 0], LETTERS.pad)
    s = batch.seqs["answer"]
    texts = [["".join(map(LETTERS.decode, ([i] for i in row))) for row in ids.tolist()]
             for ids in (s.inputs, s.targets)]
    assert texts == [
        ["<|user|> hi<|assistant|> yo", "<|user|> a<|assistant|> b<|pad|><|pad|>"],
        [" hi<|assistant|> yo<|end|>", " a<|assistant|> b<|end|><|pad|><|pad|>"]]
    assert s.mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0]]
    assert s.not_padding.tolist() == [8 * [1], 6 * [1] + 2 * [0]] and batch.tokens == {"answer": 7}
    assert s.extra["x"].tolist() == [[*range(1, 9)], [*range(1, 7), 0, 0]]
    assert batch.take([1]).seqs["answer"].inputs.shape == (1, 6) and not report.why


def test_twice_as_many_turns_cost_twice_as_much():
    """Not four times, though a dialogue that is too long is tried without its first turns."""
    class Counting(Tokenizer):
        turns = 0

        def chat(self, context, trained=()):
            self.turns += len(context + trained)
            return super().chat(context, trained)

    def cost(n: int) -> int:
        tok = Counting("letters", BYTES, NANO_PATTERN)
        encode([one("u q", "a a" + "|u q|a a" * n)], tok, 60)
        return tok.turns
    assert cost(1000) < 2.5 * cost(500)


# ---- the order -----------------------------------------------------------------------------------
def test_no_row_comes_again_before_all_others_have_come_and_a_step_has_like_lengths():
    """In all small cases: an epoch may end anywhere in a step, or in a pool. The steps of a pool
    come in no order of length, or short rows would always meet the highest rates."""
    for n, rows, steps in [(1020, 32, 96), *product(range(1, 13), range(1, 6), [40])]:
        lengths = np.random.default_rng(0).integers(10, 91, n)
        made = order([*lengths], rows, steps, 3)
        seen = np.cumsum([np.bincount(step, minlength=n) for step in made], axis=0)
        assert made.shape == (steps, rows) and np.ptp(seen, axis=1).max() <= 1, (n, rows)
        assert n < 1000 or (made != order([*lengths], rows, steps, 4)).any()
        assert n < 1000 or np.ptp(lengths[made], axis=1).mean() < 0.2 * np.ptp(lengths)
        assert n < 1000 or (np.diff(lengths[made[:20]].mean(1)) < 0).sum() > 4


# ---- the tokenizer -------------------------------------------------------------------------------
TEXTS = ["Where does the dova live?", "don't 1234 42", "  two\t\n\n \r\n", "naïve Zoë 学 日本語 😀",
         "e\u0301 \u3000\u200b\x00 ½ ٣", "<|end|> <|user|>", "", "_x_"]


def test_any_text_comes_back_and_no_text_spells_a_control_token():
    control = {NANO.user, NANO.assistant, NANO.end, NANO.pad}
    for text in [*TEXTS, *(a + b for a in TEXTS for b in TEXTS)]:
        ids = NANO.encode(text)
        assert NANO.decode(ids) == text and not control & {*ids}
    assert NANO.decode([0xE5, 0xAD]) == "\ufffd" and NANO.n_vocab == 1024
    assert NANO.decode([NANO.n_vocab, NANO.end]) == "<|end|>", "none for a padded embedding's id"


@pytest.mark.parametrize("told", ["u a", "s S|u a", "u a|a b|u c", "u a|t b", "s S", "u a|s S",
                                  "s S|s Z", "u a|a b|s S"])
def test_what_is_asked_is_what_stands_before_the_answer_in_training(told):
    asked, (ids, mask) = NANO.prompt_ids(talk(told)), NANO.chat(talk(told), say("assistant", "yes"))
    assert ids[:len(asked)] == asked and sum(mask) == len(ids) - len(asked)


def test_transformers_reads_our_tokenizer_and_template(tmp_path):
    transformers = pytest.importorskip("transformers")
    save_model(tmp_path, GPT(GPTConfig(NANO.n_vocab, 32, 1, 1, 8), seed=0), NANO)
    assert read_tokenizer(tmp_path) is NANO
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert theirs.chat_template == JINJA
    assert (theirs.eos_token_id, theirs.pad_token_id) == (NANO.end, NANO.pad)
    for text in TEXTS:
        if "<|end|>" not in text:                       # a name that is typed is theirs, not ours
            assert theirs(text)["input_ids"] == NANO.encode(text)
            assert theirs.decode(NANO.encode(text)) == text
    for told in ("s S|u Hi {{x}}\n|a  Hello|u And?|a So.|s S|u Why?", "s S|u Hi", "s S", "s S|a b",
                 "u Hi|a  Hello|u And?|a So.", "s S|u Hi|a  Hello|s S", "s S|s Be kind.|u Hi|a b"):
        turns = talk(told)
        plain = [{"role": role, "content": text} for role, text in turns]
        whole = theirs.apply_chat_template(plain, return_dict=True,
                                           return_assistant_tokens_mask=True)
        assert (whole["input_ids"], whole["assistant_masks"]) == NANO.chat((), turns)
        assert NANO.chat(turns) == (whole["input_ids"], [0] * len(whole["input_ids"]))
        assert theirs.apply_chat_template(plain, add_generation_prompt=True,
                                          return_dict=True)["input_ids"] == NANO.prompt_ids(turns)
