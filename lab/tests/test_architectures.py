"""Every architecture of transformers that has a causal language model, tiny and with random
weights: one training step and a short answer, or one line that says why not.

    python -m pytest -m slow -s lab/tests/test_architectures.py         # five minutes, a table
"""
import sys
from collections import Counter

import pytest
import torch
from running import DEMOS, QUICK, ROOT, call, lines

from nanouft import sample, train

hf = pytest.importorskip("transformers")
SIZES = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "embedding_size",
                     "word_embed_proj_dim", "attention_hidden_size", "lru_width"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "ffn_hidden_size", "encoder_ffn_dim",
                     "decoder_ffn_dim", "n_inner"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers",
                     "decoder_layers", "first_k_dense_replace", "num_experts_per_tok"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "rotary_dim",
                     "encoder_attention_heads", "decoder_attention_heads", "num_experts",
                     "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_key_value_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len",
                     "max_sequence_length", "context_length"), 128),
    "head_dim": 8, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    "n_group": 1, "topk_group": 1}
# What some architectures want otherwise: as many keys as queries, room for layers of two kinds.
OTHERS: tuple[dict, ...] = (
    {}, {"num_key_value_heads": 4}, {"head_dim": None}, {"num_key_value_heads": None},
    {"num_hidden_layers": 4}, {"num_hidden_layers": 8}, {"num_key_value_heads": 4,
                                                        "num_hidden_layers": 8})
LARGEST = 3e7           # weights


def tiny_model(kind: str, vocab: int):
    """The first of OTHERS that transformers itself can build and run; None if none can."""
    for other in OTHERS:
        try:
            cls = hf.AutoConfig.for_model(kind).__class__
            known = cls().to_dict()
            sizes = {k: x for k, x in {**SIZES, **other}.items() if k in known and x is not None}
            config = cls(**sizes, vocab_size=vocab)
            if hasattr(config, "is_decoder"):
                config.is_decoder = True
            with torch.device("meta"):
                empty = hf.AutoModelForCausalLM.from_config(config)
            if sum(p.numel() for p in empty.parameters()) > LARGEST:
                continue
            net = hf.AutoModelForCausalLM.from_config(config).eval()
            with torch.no_grad():
                net(input_ids=torch.arange(6)[None])
                net(input_ids=torch.arange(6)[None], use_cache=True)
            return net
        except Exception:       # whatever an architecture does not like about such sizes
            continue
    return None


def outcome(kind: str, t, here, capsys) -> str:
    net = tiny_model(kind, len(t) + 3)
    if net is None:
        return "not built so small"
    t.save_pretrained(here / kind)
    net.save_pretrained(here / kind)
    argv = ["--objective", "sft", "--init", here / kind, "--data", here / "d.jsonl", "--steps", 1,
            "--batch-size", 4, *QUICK, "--plain", "--save-every", 0, "--out", here / f"{kind}-sft"]
    code = call(train.main, *argv)
    code = code or call(sample.main, here / f"{kind}-sft", "--prompt", "Say fig.", "--max-new", 3)
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert code == 0 or code == 2 and len(said) == 1, (kind, said)
    return "works" if code == 0 else "refused: " + said[0].rpartition("there (")[2]


@pytest.mark.slow
def test_every_architecture_works_or_is_refused_in_one_line(here, brief, capsys):
    sys.path.insert(0, str(ROOT / "tests" / "core"))
    from test_transformers import make_tokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES
    lines(here / "d.jsonl", DEMOS)
    found = {}
    for kind in sorted(NAMES):
        torch.manual_seed(0)
        found[kind] = outcome(kind, make_tokenizer(), here, capsys)
    with capsys.disabled():
        for kind, what in found.items():
            print(f"{kind:<30} {what}")
        count = Counter(what.split(":")[0] for what in found.values())
        print(hf.__version__, dict(count))
    assert count["works"] > 100
