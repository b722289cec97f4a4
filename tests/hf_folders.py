"""Folders of transformers for test_templates.py and test_transformers.py: small random models of
several kinds, each with a tokenizer and a chat template; and a real one, if there is one."""
import os
from pathlib import Path

import pytest
import torch
from made import with_distinct_logits

from nanouft.models import folders
from nanouft.models.hf import HFModel
from nanouft.models.hf_tokenizer import HFTokenizer

hf = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
REAL = os.environ.get("NANOUFT_REAL_MODEL", "")         # a folder
CHATML = ("{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
          "'<|im_end|>\\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- "
          "'<|im_start|>assistant\\n' -}}{%- endif -%}")
INST = ("{{- bos_token -}}{%- for m in messages -%}{%- if m['role'] == 'user' -%}{{- '[INST] ' + "
        "m['content'] | trim + ' [/INST]' -}}{%- elif m['role'] == 'assistant' -%}{{- ' ' + "
        "m['content'] | trim + eos_token -}}"
        "{%- else -%}{{- raise_exception('only user and assistant') -}}{%- endif -%}{%- endfor -%}")
OURS = ""                                               # a folder without one gets our own
CONTROL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "[INST]", "END"]
STOP = "<|stop|>"                                       # added, and not called special
WORDS = "the dova lives in a small green house and eats two red nuts every day".split()
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
           "shared_expert_intermediate_size": 16}
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4}
KINDS = {       # config for so many ids, chat template, does its tokenizer begin every text by <s>?
    "llama": (lambda n: hf.LlamaConfig(vocab_size=n + 5, **SMALL), INST, True),
    "qwen2": (lambda n: hf.Qwen2Config(vocab_size=n, tie_word_embeddings=True, **SMALL), CHATML,
              False),
    "gpt2": (lambda n: hf.GPT2Config(vocab_size=n, n_positions=128, n_embd=32, n_layer=2, n_head=2,
                                     resid_pdrop=0.1, activation_function="relu",
                                     tie_word_embeddings=False), OURS, False),
    "phi3": (lambda n: hf.Phi3Config(vocab_size=n, original_max_position_embeddings=32,
                                     pad_token_id=0, rope_parameters=LONG, **SMALL), CHATML, False),
    "qwen2_moe": (lambda n: hf.Qwen2MoeConfig(vocab_size=n, **SMALL, **EXPERTS), CHATML, False),
    "qwen3_moe": (lambda n: hf.Qwen3MoeConfig(vocab_size=n, **SMALL, **EXPERTS), CHATML, False),
    "phimoe": (lambda n: hf.PhimoeConfig(vocab_size=n, num_local_experts=4, **SMALL), CHATML,
               False),
    "ctrl": (lambda n: hf.CTRLConfig(vocab_size=n, n_positions=128, n_embd=32, dff=48, n_layer=2,
                                     n_head=2), CHATML, False),
    "gemma3": (lambda n: hf.Gemma3Config(text_config={"vocab_size": n, **SMALL}, vision_config={
        **SMALL, "image_size": 16, "patch_size": 8}), CHATML, False)}


def save_tokenizer(folder: Path, template: str, begins: bool = True) -> int:
    """The number of its ids."""
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    raw.train_from_iterator([" ".join(WORDS), "user assistant system Say fig bee"],
                            tokenizers.trainers.BpeTrainer(
        vocab_size=330, show_progress=False, special_tokens=CONTROL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    raw.add_tokens([tokenizers.AddedToken(STOP, special=False, normalized=False)])
    if begins:
        raw.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)])
    t = hf.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    t.chat_template = template or None
    t.save_pretrained(folder)
    return len(t)


def tokenizer(folder: Path, template: str) -> HFTokenizer:
    """As a run reads it."""
    save_tokenizer(folder, template)
    return HFTokenizer(folder)


def start_model(*how):
    model, tok = folders.start_model(*how)
    return with_distinct_logits(model), tok


def save_model_folder(folder: Path, kind: str) -> str:
    """A whole folder. Its weights are random, and not all alike."""
    config, template, begins = KINDS[kind]
    n = save_tokenizer(folder, template, begins)
    torch.manual_seed(0)
    net = hf.AutoModelForCausalLM.from_config(config(n))
    for p in net.parameters():
        p.data += 0.1 * torch.randn_like(p)
    with_distinct_logits(HFModel(net.eval(), 128)).net.save_pretrained(folder)
    return str(folder)
