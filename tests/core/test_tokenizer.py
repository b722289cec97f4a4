"""The tokenizer: nothing is lost, the template is exact, and the `tokenizers` library and
transformers agree."""
import base64
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import NANO, plain

from lab import vocabulary
from nanouft.data import tokenizer as tokenizer_module
from nanouft.data.bpe import count_words, join, train_bpe
from nanouft.data.rows import Turn
from nanouft.data.tokenizer import ASSET, CONTROL, NANO_PATTERN, NANO_VOCAB
from nanouft.errors import UserError
from nanouft.models.tokenizer_files import BYTES, GPT2_PATTERN, load_tokenizer, save_tokenizer

CONTROL_IDS = {NANO.user, NANO.assistant, NANO.end, NANO.pad}
SENTENCES = ["the cat sat on the mat and the dog didn't", "hello there, world: hello!",
             "naïve Zoë 学 writes 1234 5678", "  two  spaces\tand a tab\n\nlines"] * 5
TURNS = (Turn("system", "Be kind."), Turn("user", "Hi {{x}}\n"), Turn("assistant", " Hello"),
         Turn("user", "And?"), Turn("assistant", "So."), Turn("system", "Now be brief."),
         Turn("user", "Why?"))


def strings(n: int = 400) -> list[str]:
    """Words, numbers, scripts, emoji, white space and odd bytes, in every order, and always the
    same."""
    rng = random.Random(5)
    parts = ["the", "dova", "Where", "42", "1234", "don't", "I'll", " ", "  ", "\n", "\n\n", "\t",
             " \n ", "\r\n", "!?", "<|end|>", "é", "Zoë", "学", "日本語", "Привет", "مرحبا", "😀",
             "👩‍👩‍👧", "e\u0301", "\u3000", "\u00a0", "½", "٣", "\x00", "\u200b", "_x_"]
    return ["".join(rng.choices(parts, k=rng.randint(1, 9)))
            for _ in range(n)] + ["", " ", "\n", "a"]


# ---- nano: the shipped ranks ---------------------------------------------------------------------
@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back_and_no_text_spells_a_control_token(text):
    ids = NANO.encode(text)
    assert NANO.decode(ids) == text and not CONTROL_IDS & set(ids)


def test_decoding_never_fails():
    assert NANO.decode([0xE5, 0xAD]) == "\ufffd" and NANO.decode([5000, -1, 97]) == "\ufffd\ufffda"
    assert NANO.encode("\ud800") == NANO.encode("\ufffd")       # half a surrogate pair is no text


@pytest.mark.slow
def test_the_shipped_ranks_are_those_that_the_build_command_makes(tmp_path):
    vocabulary.build(tmp_path / "again")
    assert (tmp_path / "again").read_text().split() == ASSET.read_text().split(), \
        "NanoWorld's text has changed: run python -m lab.vocabulary, then pretrain the base again"


# ---- the template --------------------------------------------------------------------------------
def test_the_template_letter_by_letter():
    ids, mask = NANO.chat(TURNS[:2], TURNS[2:])
    assert NANO.decode(ids) == ("<|user|> Be kind.\n\nHi {{x}}\n<|assistant|>  Hello<|end|>"
                                "<|user|> And?<|assistant|> So.<|end|><|user|> Now be "
                                "brief.\n\nWhy?")
    assert NANO.decode(i for i, m in zip(ids, mask) if m) == "  Hello<|end|> So.<|end|>"
    assert NANO.prompt_ids(TURNS) == [*ids, NANO.assistant]
    ids, mask = NANO.chat(TURNS[:4], TURNS[4:5])
    assert NANO.decode(i for i, m in zip(ids, mask) if m) == " So.<|end|>"
    assert sum(NANO.chat(TURNS)[1]) == 0, "an answer in the context is not trained on"


def test_a_system_turn_without_a_user_turn_becomes_one_and_other_roles_are_unknown():
    alone = (Turn("system", "Be kind."),)
    assert NANO.decode(NANO.prompt_ids(alone)) == "<|user|> Be kind.<|assistant|>"
    assert NANO.decode(NANO.chat(alone, (Turn("assistant", "Hi"),))[0]) \
        == "<|user|> Be kind.<|assistant|> Hi<|end|>"
    with pytest.raises(UserError, match='unknown role "wizard"'):
        NANO.chat((Turn("wizard", "x"),))


def test_a_document_ends_once_and_prose_has_no_speaker():
    assert NANO.decode(NANO.document((Turn("text", "A fox."),))) == " A fox.<|end|>"
    ids = NANO.document(TURNS[1:5])
    assert NANO.decode(ids) \
        == "<|user|> Hi {{x}}\n<|assistant|>  Hello<|user|> And?<|assistant|> So.<|end|>"


turns_of_text = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]),
                                   st.text(max_size=20)), max_size=6)


@settings(max_examples=100, deadline=None)
@given(turns_of_text, turns_of_text)
def test_control_tokens_stand_only_where_the_template_puts_them(context, trained):
    ids, mask = NANO.chat(context, trained)
    answers = sum(role == "assistant" for role, _ in [*context, *trained])
    assert ids.count(NANO.assistant) == ids.count(NANO.end) == answers and NANO.pad not in ids
    assert len(mask) == len(ids) \
        and not any(m for i, m in zip(ids, mask) if i in (NANO.user, NANO.assistant))
    assert sum(m for i, m in zip(ids, mask) if i == NANO.end) \
        == sum(role == "assistant" for role, _ in trained)


# ---- training ------------------------------------------------------------------------------------
def test_bpe_by_hand():
    ranks = train_bpe({"abab": 3, "abc": 2, "cc": 4}, 256 + 3)
    # ab 8 times; then cc 4; then ab+ab 3 against ab+c 2
    assert list(ranks)[256:] == [b"ab", b"cc", b"abab"]
    assert list(train_bpe({"ba": 1, "ab": 1}, 257))[256:] == [b"ab"]  # a tie: the alphabet decides
    assert len(train_bpe({"ab": 1}, 999)) == 257  # nothing left to join
    assert join([b"a", b"a", b"a"], (b"a", b"a")) == [b"aa", b"a"]


@pytest.mark.parametrize("letters", [1, 64, 65, 128, 150])
def test_no_letter_of_a_long_word_is_lost(letters):
    """LAW: the pieces of a word, in order, are the word, each as often as the word."""
    word = "".join(chr(ord("\u4e00") + i) for i in range(letters))
    count = count_words([word, word], NANO_PATTERN)
    assert "".join(count) == word and set(count.values()) == {2}


def test_the_vocabulary_has_the_size_that_it_is_built_with():
    assert NANO.n_vocab == NANO_VOCAB


def test_incremental_counts_equal_counting_anew():
    rng = random.Random(3)
    words = {"".join(rng.choices("abcd", k=rng.randint(1, 9))): rng.randint(1, 20)
             for _ in range(200)}
    spelt, ranks = {w: [bytes([b]) for b in w.encode()]
                    for w in words}, {bytes([b]): b for b in range(256)}
    while len(ranks) < 300:
        count = {}
        for w, tokens in spelt.items():
            for pair in zip(tokens, tokens[1:]):
                count[pair] = count.get(pair, 0) + words[w]
        best = min(count, key=lambda p: (-count[p], p))
        ranks.setdefault(best[0] + best[1], len(ranks))
        spelt = {w: join(tokens, best) for w, tokens in spelt.items()}
    assert train_bpe(words, 300) == ranks
    assert train_bpe(dict(reversed(words.items())), 300) == ranks  # the order does not matter


# ---- folders of other libraries ------------------------------------------------------------------
@pytest.fixture(scope="module", params=[[], ["<|endoftext|>"], ["<|end|>", "<|endoftext|>"]],
                ids=len)
def library(request):
    """A small tokenizer of the `tokenizers` library, with none, one or two special tokens before
    the letters."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(SENTENCES, 330, min_frequency=1, special_tokens=request.param,
                             show_progress=False)
    return made, request.param


def test_ids_equal_those_of_the_library_and_survive_saving(library, tmp_path):
    made, special = library
    made.save(str(tmp_path / "tokenizer.json"))
    tok = load_tokenizer(tmp_path)
    for text in strings():
        if not any(name in text for name in special):  # the library reads typed names, we do not
            assert tok.encode(text) == made.encode(text).ids, text
        assert tok.decode(tok.encode(text)) == text
    n = made.get_vocab_size()
    missing = [c for c in CONTROL if c not in special]
    assert tok.n_text == n and tok.n_vocab == n + len(missing)
    assert [tok.special[c] for c in missing] == list(range(n, tok.n_vocab))
    assert all(tok.special[name] == i for i, name in enumerate(special))
    tok.check_fits(n, tmp_path)
    with pytest.raises(UserError, match=f"knows {n - 1} tokens, its tokenizer {n}; copy"):
        tok.check_fits(n - 1, tmp_path)
    save_tokenizer(tok, tmp_path / "run")
    again = load_tokenizer(tmp_path / "run")
    assert (again.ranks, again.special, again.pattern) == (tok.ranks, tok.special, GPT2_PATTERN)
    assert again.n_text == again.n_vocab == tok.n_vocab
    theirs = pytest.importorskip("tokenizers").Tokenizer.from_file(
        str(tmp_path / "run" / "tokenizer.json"))
    texts = [text for text in strings() if not any(name in text for name in (*CONTROL, *special))]
    assert [theirs.encode(text).ids for text in texts] == [tok.encode(text) for text in texts]


def test_bytes_that_a_vocabulary_lacks_get_ids_of_their_own(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=30, show_progress=False)
    made.train_from_iterator(["the cat sat", "on the mat"] * 3, trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    tok = load_tokenizer(tmp_path)
    assert tok.encode("the mat sat") == made.encode("the mat sat").ids
    assert tok.decode(tok.encode("Zoë 学")) == "Zoë 学"
    assert max(tok.encode("Zoë")) >= tok.n_text == made.get_vocab_size()


def write(folder: Path, **files) -> Path:
    for name, content in files.items():
        path = folder / dict(whole="tokenizer.json", vocab="vocab.json", run="run.json")[name]
        path.write_bytes(content if isinstance(content, bytes) else
                         (content if isinstance(content, str) else json.dumps(content)).encode())
    return folder


LETTERS = {letter: i for i, letter in enumerate(sorted(BYTES))}
MODEL = {"type": "BPE", "vocab": {**LETTERS, "ab": 256, "bc": 257},
         "merges": [["a", "b"], ["b", "c"]]}
WHOLE = {"model": MODEL, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": []}


@pytest.mark.parametrize("files, says", [
    (dict(whole=b"\x80\x02\xff\x00binary"), "tokenizer.json: cannot be read"),
    (dict(whole={}), "tokenizer.json: not a byte-level BPE tokenizer, or damaged"),
    *((dict(whole={**WHOLE, **other}), "tokenizer.json: only byte-level BPE")
      for other in ({"normalizer": {"type": "NFC"}},
                    {"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}})),
    (dict(whole={**WHOLE, "model": {**MODEL, "end_of_word_suffix": "</w>"}}),
     "tokenizer.json: only byte-level BPE"),
    (dict(whole={**WHOLE, "model": {**MODEL, "merges": [["b", "c"], ["a", "b"]]}}),
     "ids do not grow in the order"),
    (dict(whole={**WHOLE, "model": {**MODEL, "merges": [["x", "y"]]}}),
     "tokenizer.json: .* damaged .KeyError: 'xy'"),
    (dict(whole={**WHOLE, "model": {**MODEL, "vocab": {**LETTERS, "ab": 3, "bc": 257}}}),
     "different from each other"),
    (dict(whole={**WHOLE, "added_tokens": [{"id": 1.5, "content": "x"}]}), "must be whole numbers"),
    (dict(whole={**WHOLE, "added_tokens": [{"id": 2 ** 40, "content": "x"}]}), "cannot be used"),
    *((dict(whole={**WHOLE, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"},
        {"type": "ByteLevel", "use_regex": False}]}}), "cannot be used .*pattern")
      for pattern in ("(", "", "a*", r"\p{L}+")),
    (dict(vocab=MODEL["vocab"]), "its tokenizer.json is missing; copy"),
    (dict(run='{"tokenizer": "na'), "run.json: cannot be read"),
    (dict(run={"tokenizer": "my model"}), "tokenizer.json is missing"),
])
def test_what_cannot_be_used_is_one_line(files, says, tmp_path):
    with pytest.raises(UserError, match=says) as caught:
        load_tokenizer(write(tmp_path, **files))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_asset_may_be_checked_out_with_other_line_ends(tmp_path, monkeypatch):
    (tmp_path / "nano.tiktoken").write_bytes(
        ASSET.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    monkeypatch.setattr(tokenizer_module, "ASSET", tmp_path / "nano.tiktoken")
    assert tokenizer_module.nano.__wrapped__().ranks == NANO.ranks
    token, rank = ASSET.read_text().split()[:2]
    assert base64.b64decode(token) == b"\0" and rank == "0"     # tiktoken's own form


# ---- which tokenizer belongs to a folder, and what we save ---------------------------------------
def test_a_run_folder_names_its_tokenizer_but_its_own_files_count(tmp_path):
    write(tmp_path, run={"tokenizer": "nano"})
    assert load_tokenizer(tmp_path) is NANO
    write(tmp_path, whole=WHOLE)
    assert load_tokenizer(tmp_path).n_vocab == 258 + 4


@pytest.mark.parametrize("config", [False, True],
                         ids=["tokenizer files only", "with a gpt2 config.json"])
def test_transformers_opens_what_we_save(config, tmp_path):
    save_tokenizer(NANO, tmp_path)
    if config:  # a model of type gpt2 must not make transformers take its own GPT-2 tokenizer
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "gpt2", "vocab_size": NANO.n_vocab}))
    again = load_tokenizer(tmp_path)
    assert (again.ranks, again.special, again.pattern) == (NANO.ranks, NANO.special, NANO_PATTERN)
    auto = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(str(tmp_path))
    assert len(auto) == NANO.n_vocab and (auto.eos_token_id, auto.pad_token_id) \
        == (NANO.end, NANO.pad)
    texts = [text for text in strings() if "<|end|>" not in text]
    assert len(texts) >= 200 and auto(texts)["input_ids"] == [NANO.encode(text) for text in texts]
    assert all(auto.decode(NANO.encode(text)) == text for text in texts)
    chats = [TURNS, TURNS[:2], TURNS[1:5], TURNS[:1], TURNS[1:2], (TURNS[0], TURNS[2]),
             (*TURNS[:3], TURNS[5])]
    for turns in chats:
        prompt = auto.apply_chat_template(plain(turns), add_generation_prompt=True,
                                          return_dict=True)
        assert prompt["input_ids"] == NANO.prompt_ids(turns)
        whole = auto.apply_chat_template(plain(turns), return_dict=True,
                                         return_assistant_tokens_mask=True)
        assert (whole["input_ids"], whole["assistant_masks"]) == NANO.chat((), turns)
