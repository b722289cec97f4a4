"""The tokenizer file of transformers, read and written: tokenizer.json.

    tok = load_tokenizer("out/my-run")
    save_tokenizer(tok, "out/copy")             # the same ids when it is loaded again

It gives the ids of the `tokenizers` library, for byte-level BPE in GPT-2's manner; anything else (a
normalizer, SentencePiece, CLIP's word ends, a damaged file) is a UserError that names the file.
Simplified: no `add_prefix_space`; words added beside the BPE are never read from text.
"""
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

import regex

from nanouft.data.tokenizer import CONFIG, JINJA, Tokenizer, nano
from nanouft.errors import UserError
from nanouft.run.schema import read
from nanouft.run.storage import read_json, regular, write_text
from nanouft.run.words import quoted

GPT2_PATTERN = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
NAME = re.compile(r"[<\[].*[>\]]")                          # <|endoftext|>, [PAD]
Parts = tuple[dict[bytes, int], str, dict[str, int]]        # token -> id, pattern, name -> id


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a model folder; of a run without tokenizer files the shipped one, if
    run.json names it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no model folder; check the name")
    run = folder / "run.json"
    is_nano = run.exists() and read(run).get("tokenizer") == "nano"
    if (parts := read_files(folder)) is None:
        if is_nano:
            return nano()
        raise UserError(f"{folder}: its tokenizer.json is missing; copy the tokenizer files of "
                        "this model, too")
    try:
        check_pattern(parts[1])
        return Tokenizer("nano" if is_nano else folder.name, *parts)
    except (ValueError, OverflowError) as e:        # a pattern, name or id that tiktoken refuses
        raise UserError(f"{folder}: its tokenizer files cannot be used ({e}); copy them "
                        "again") from None


def save_tokenizer(tok: Tokenizer, folder: str | Path) -> None:
    """tokenizer.json and tokenizer_config.json, which transformers and TRL open."""
    if hasattr(tok, "save"):                        # one of transformers
        return tok.save(folder)
    for file, content in (
            ("tokenizer.json", tokenizer_json(tok.ranks, tok.pattern, tok.special)),
            ("tokenizer_config.json", CONFIG)):
        write_text(Path(folder, file), json.dumps(content, ensure_ascii=False, indent=1))


def check_pattern(pattern: str) -> None:
    """ValueError unless the pattern cuts all of a text into words: tiktoken stops at an empty one,
    and would leave out what lies between them."""
    text = "It's 12 words,\n\n  and\tmore: é, 漢字!  "
    try:
        words = [word[0] for word in regex.finditer(pattern, text, timeout=1)]
    except (regex.error, TimeoutError) as e:
        raise ValueError(f"its pattern is no regular expression for words: {e}") from None
    if not all(words) or "".join(words) != text:
        raise ValueError(f"its pattern {quoted(pattern)} does not cut every text into words")


# ---- files of transformers -> tokenizer ----------------------------------------------------------
def byte_letters() -> dict[int, str]:
    """GPT-2's alphabet, the letters of its files for bytes: printable Latin-1 is itself, the rest
    letters 256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(rest)}


LETTERS = byte_letters()
BYTES = {letter: bytes([b]) for b, letter in LETTERS.items()}


def brings_template(folder: Path) -> bool:
    """Does the tokenizer in `folder` bring a chat template that is not ours?"""
    config, file = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    found = None
    if file.exists():
        try:
            found = regular(file).read_text(encoding="utf-8")
        except (OSError, ValueError) as e:
            raise UserError(f"{file}: cannot be read as UTF-8 text ({e}); copy the file "
                            "again") from None
    elif config.exists():
        found = read_json(config).get("chat_template")
    return bool(found) and str(found).strip() != JINJA.strip()


def read_files(folder: Path) -> Parts | None:
    """The tokenizer.json in `folder`; None without one."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    try:
        spec = read_json(path)
        model, pattern = spec["model"], split_pattern(spec, path)
        added = {token["content"]: token["id"] for token in spec.get("added_tokens") or ()}
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return from_merges({**model["vocab"], **added}, pairs, pattern, path, added)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise UserError(f"{path}: not a byte-level BPE tokenizer, or damaged ({type(e).__name__}: "
                        f"{e}); copy the file again or take another model") from None


def split_pattern(spec: dict, path: Path) -> str:
    """The regular expression that cuts text into words; UserError for what tiktoken cannot do."""
    pre, model = spec.get("pre_tokenizer") or {}, spec["model"]
    steps = pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]
    kinds, split = [step.get("type") for step in steps], steps[0]
    other = (model.get("type", "BPE") != "BPE" or spec.get("normalizer")
             or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
    if not other and kinds == ["ByteLevel"] and split.get("use_regex", True):
        return GPT2_PATTERN
    if (not other and kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True)
            and not split.get("invert") and split.get("behavior") == "Isolated"):
        return split["pattern"]["Regex"]
    raise UserError(f"{path}: only byte-level BPE like GPT-2's and without a normalizer is read; "
                    "take another model")


def from_merges(words: dict[str, int], pairs: list[list[str]], pattern: str, path: Path,
                added: Iterable[str]) -> Parts:
    """Ranks = single bytes and joined pairs; every other word is a name that no text becomes: one
    that was `added`, or is in brackets. tiktoken joins the pair with the smallest id first, so ids
    must grow with the merges."""
    ids = [words[left + right] for left, right in pairs]
    if any(a > b for a, b in zip(ids, ids[1:])):
        raise UserError(f"{path}: the ids do not grow in the order of the merges, which tiktoken "
                        "needs; train the tokenizer again or take another model")
    if any(type(i) is not int or i < 0 for i in words.values()) or (
            len(set(words.values())) < len(words)):
        raise UserError(f"{path}: ids must be whole numbers and different from each other; copy "
                        "the file again")
    tokens = {w: BYTES[w] for w in words if w in BYTES}
    tokens |= {a + b: b"".join(BYTES[letter] for letter in a + b) for a, b in pairs}
    special = {w: i for w, i in words.items() if w not in tokens}
    others = {*special, *chain.from_iterable(pairs)} - {*tokens, *added}
    if lost := sorted(w for w in others if set(w) <= BYTES.keys() and not NAME.fullmatch(w)):
        raise UserError(f"{path}: no merge makes {quoted(lost[0])} and {len(lost) - 1:,} other "
                        "words; copy it again")
    return {tokens[w]: words[w] for w in tokens}, pattern, special


# ---- tokenizer -> files of transformers ----------------------------------------------------------
def tokenizer_json(ranks: Mapping[bytes, int], pattern: str, special: Mapping[str, int]) -> dict:
    """The content of a tokenizer.json in the form of the `tokenizers` library. Ranks say which
    token to join, not of which two parts; so every way to cut a token into two becomes a merge."""
    words = {token: "".join(LETTERS[b] for b in token)
             for token in sorted(ranks, key=ranks.__getitem__)}
    merges = [[words[token[:i]], word[i:]] for token, word in words.items()
              for i in range(1, len(token)) if token[:i] in words and token[i:] in words]
    added = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}
             for name, i in sorted(special.items(), key=lambda item: item[1])]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
             "invert": False}
    vocab = {**{word: ranks[token] for token, word in words.items()}, **special}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                      "vocab": vocab, "merges": merges}}
