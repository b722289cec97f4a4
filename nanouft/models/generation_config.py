"""generation_config.json of the folder that a run starts from: kept, and named where it matters."""
from pathlib import Path
from textwrap import shorten
from typing import Any

from nanouft.plumbing.printing import say

# settings of generation_config.json that change greedy answers, and are not read here
CHANGE_GREEDY = (
    "repetition_penalty", "no_repeat_ngram_size", "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "suppress_tokens",
    "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "min_length",
    "min_new_tokens", "max_length", "max_new_tokens", "max_time", "stop_strings",
    "exponential_decay_length_penalty", "guidance_scale", "watermarking_config", "num_beams",
    "penalty_alpha", "dola_layers")


def savable(config: Any) -> Any:
    """A generation_config that transformers also writes. If it only reads it, as with a temperature
    without do_sample, the ids of its control tokens are kept."""
    try:
        config.validate(strict=True)
        return config
    except ValueError:
        say("generation_config.json is inconsistent; only its special token ids are kept")
        ids = {name: x for name, x in config.to_diff_dict().items() if name.endswith("_token_id")}
        return type(config)(**ids)


def say_generation(folder: Path, config: Any) -> None:
    """A line that names the settings of CHANGE_GREEDY: other programs use them."""
    values = {name: getattr(config, name, None) for name in CHANGE_GREEDY}
    changed = [f"{name} {shorten(str(value), 30)}" for name, value in values.items()
               if value not in (None, 0, 1, [], {})]
    if changed:
        say(f"{folder}/generation_config.json: {', '.join(changed)}: ignored here and copied into "
            "saved models; a program that reads it gives other greedy responses")
