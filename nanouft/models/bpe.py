"""A byte-level BPE of your own text, trained by the library tokenizers.

    ranks = train_bpe(text, 2044, pattern)      # for Tokenizer("own", ranks, pattern)
"""
from nanouft.models.folders import letters
from nanouft.models.hf_tokenizer import library


def train_bpe(text: str, size: int, pattern: str) -> dict[bytes, int]:
    """Ranks (token -> id): 256 bytes, then what the most frequent pair of neighbours makes, again
    and again; no pair reaches over a cut of the `pattern`."""
    library("tokenizers", "--corpus")
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), level])
    raw.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=level.alphabet(), show_progress=False))
    byte_of = {letter: byte for byte, letter in letters().items()}
    return {bytes(byte_of[x] for x in token): i for token, i in raw.get_vocab().items()}
