"""A byte-level BPE of your own text, trained by the library tokenizers.

    tok = train_bpe(text, 2044, pattern)        # 2048 ids with those of our chat template
"""
from tempfile import TemporaryDirectory

from nanouft.models.hf_tokenizer import HFTokenizer, library


def train_bpe(text: str, size: int, pattern: str) -> HFTokenizer:
    """256 bytes, then what the most frequent pair of neighbours makes, again and again; no pair
    reaches over a cut of the `pattern`."""
    transformers = library("transformers", "--corpus")
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), level])
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=level.alphabet(), show_progress=False))
    with TemporaryDirectory() as place:
        transformers.PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(place)
        return HFTokenizer(place)
