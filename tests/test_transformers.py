"""Models of transformers, of several kinds: the numbers of the same model called directly, folders
that train from all of their weights and open there again, LoRA by peft. Small random models, no
network; and a real model, if there is one:

    python -m lessons.evidence.smollm2 out/smollm2          # 540 MB, once
    NANOUFT_REAL_MODEL=out/smollm2 python -m pytest tests/test_transformers.py -k real

recorded/models_of_transformers.txt has what a run says of its folder, and which it refuses.
"""
import json
import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hf_folders import (
    CHATML,
    KINDS,
    REAL,
    WORDS,
    hf,
    save_model_folder,
    start_model,
    tokenizer,
    tokenizers,
)
from made import (
    CPU,
    DATA,
    NANO,
    Form,
    killed_in_step,
    llama,
    logits,
    same,
    say,
    start_folder,
    write_jsonl,
)
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters

from nanouft import reward, scorers, train
from nanouft.data.batches import collate, encode
from nanouft.data.row import Row
from nanouft.device import CompiledBlocks, Device, blocks_of
from nanouft.generate import generate
from nanouft.gpt import log_probs
from nanouft.models.folders import save_model, start_tokenizer
from nanouft.models.hf import HFModel, check
from nanouft.models.hf_tokenizer import HFTokenizer
from nanouft.models.lora import merged_weights
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing import fast_ops
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.safetensors_files import in_precision, read_tensors
from nanouft.run.folder import read_lines
from nanouft.run.reference import FrozenModels

EACH = ["llama", "qwen2", "gpt2", *["real"] * bool(REAL)]
IDS = torch.arange(9)[None]
CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokenizer_config.json"
normalizers = tokenizers.normalizers


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    write_jsonl(folder / "d.jsonl", ({"prompt": f"Say {x}.", "chosen": x, "rejected": "no"}
                                     for x in WORDS))
    (folder / "r.py").write_text("def r(completions):\n    return [len(c) for c in completions]")
    return folder


@pytest.fixture(scope="module")
def folders(place):
    return {kind: save_model_folder(place / kind, kind) for kind in KINDS} | {
        "ours": start_folder(place / "ours"), "real": REAL}


@torch.no_grad()
def said(model, ids: torch.Tensor = IDS) -> torch.Tensor:
    """(B,T,V) logits of one of ours, or of transformers' own."""
    return logits(model, ids) if hasattr(model, "head") else model(ids).logits


def theirs(folder, **how):
    """The model in a folder as transformers opens it."""
    return hf.AutoModelForCausalLM.from_pretrained(folder, **how).eval()


def with_lora(folder: str, rank: int = 2, **how):
    """Model and tokenizer; the model has adapters."""
    pytest.importorskip("peft")
    model, tok = start_model(folder, True)
    model.add_lora(rank, seed=0, **how)
    return model, tok


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def batch_of(form: Form, tok, some=None):
    rows, _ = encode(form.objective.choose(DATA), tok, 128)
    return collate(rows, some or range(len(rows)), tok.pad)


# ---- numbers -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", EACH)
def test_log_probs_and_gradients_are_those_of_the_same_model_called_directly(kind, folders):
    """Of ids, and of blended embeddings, as IFT's. A method asks a model by nothing else."""
    model, tok = start_model(folders[kind])
    net, s = deepcopy(model.net), batch_of(Form("sft"), tok).seqs["answer"]
    embeds = model.wte(s.inputs).detach()
    blend = 0.8 * embeds + 0.2 * embeds.roll(1, 1)
    for hidden, given in ((model(embeds=blend), {"inputs_embeds": blend}),
                          (model(s.inputs), {"input_ids": s.inputs})):
        z = net(**given).logits
        nats = z.log_softmax(-1).gather(-1, s.targets[..., None])[..., 0] * (s.mask > 0)
        ours = log_probs(model, hidden, s.targets, s.positions)
        same(ours.detach(), nats.detach(), 1e-4)
        same(model.greedy(hidden), z.argmax(-1))
    ours.sum().backward()
    nats.sum().backward()
    assert len(gradients(net)) > 10
    same(gradients(model.net), gradients(net), 1e-4)


@pytest.mark.parametrize("kind", [*EACH, "phi3"])
def test_decoding_with_its_own_cache_is_transformers_own(kind, folders):
    """Whatever is decoded beside it: a row that ends, or one that is as long as a context of
    LongRoPE, beyond which the other rows have other positions."""
    model, tok = start_model(folders[kind])
    prompts = [[*range(5, 35)], *(tok.prompt_ids(say("user", x)) for x in ("a", "the green"))]
    how = {"pad": tok.pad, "max_new": 12}
    stop = generate(model, prompts, stop=-1, **how)[1].ids[1]
    for prompt, answer in zip(prompts, generate(model, prompts, stop=stop, **how)):
        ids = model.net.generate(
            torch.tensor([prompt]), do_sample=False, attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=min(12, model.cfg.n_ctx - len(prompt)), pad_token_id=tok.pad,
            eos_token_id=stop)
        assert [*answer.ids, *[stop] * answer.ended] == ids[0, len(prompt):].tolist()
        nats = log_probs(model, model(ids[:, :-1]), ids[:, 1:])[0, len(prompt) - 1:]
        same(answer.logp, nats.detach(), 1e-4)


def test_an_answer_ends_with_any_end_token_of_the_model(tmp_path):
    """Also after training, in another program. The shipped tokenizer, which is read once, ends
    answers of other models as before."""
    save_model(tmp_path, llama(tied=False), NANO)
    config = tmp_path / "generation_config.json"
    config.write_text('{"eos_token_id": [1, 7, null, -1, 1000000, "2", true]}')
    model, tok = start_model(str(tmp_path))
    assert tok.stops == {tok.end, 1, 7} and NANO.stops == {NANO.end}
    save_model(tmp_path, model, tok)
    assert json.loads(config.read_text())["eos_token_id"] == [tok.end, 1, 7]


def test_a_copy_in_half_precision_is_the_model_that_transformers_opens_in_it(folders):
    """Its weights are rounded, the frequencies of its rotary positions are not."""
    model, tok = start_model(folders["qwen2"])
    ids = torch.arange(2 * 128).view(2, 128) % tok.n_vocab
    assert torch.equal(said(in_precision(model, torch.bfloat16), ids),
                       said(theirs(folders["qwen2"], dtype=torch.bfloat16), ids))


def saved_numbers(model) -> int:
    """How many a forward saves for the backward pass."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x,
                                                  lambda x: x):
        model(torch.zeros(1, 16, dtype=torch.long))
    return sum(sizes)


@pytest.mark.parametrize("kind, lora, dtype", [
    ("gpt2", False, "fp32"), ("llama", True, "fp32"), ("gpt2", True, "bf16")])
def test_activation_checkpointing_changes_memory_alone(kind, lora, dtype, folders):
    """Left on in decoding, transformers forgets the cache without an error."""
    seen = []
    for on in (False, True):
        model, tok = with_lora(folders[kind]) if lora else start_model(folders[kind])
        if on:
            model.activation_checkpointing_enable()
        form = Form("ift")
        batch = batch_of(form, tok)
        with Device("cpu", dtype).autocast():
            form.objective.forward(model, batch)
        form.objective.loss(batch)[0].backward()
        prompts = [tok.prompt_ids(r.prompt) for r in DATA]
        found = [a.ids for warm in (0.0, 1.0) for a in generate(
            model, prompts, stop=tok.stops, pad=tok.pad, max_new=4, temperature=warm)]
        cache = model.new_cache(1, 9)
        parts = [model(ids, cache=cache) for ids in IDS.split((5, 4), 1)]       # with a gradient
        same(model.head(torch.cat(parts, 1)).detach(), said(model), 1e-4)
        seen.append((found, gradients(model), saved_numbers(model)))
    plain, less = seen
    assert plain[0] == less[0] and less[2] < 0.3 * plain[2]
    same(less[1], plain[1], 1e-6)
    assert len(plain[1]) > 5


@pytest.mark.slow
def test_compiled_blocks_have_the_gradients_of_plain_ones_and_never_break(folders):
    """`--compile` of a model with LoRA, by the backend that keeps PyTorch's own operations. All
    layers share their code, and the model itself is as it was."""
    torch._dynamo.reset()
    counters.clear()
    seen, form = [], Form("sft")
    for way in ("plain", "compiled"):
        model, tok = with_lora(folders["gpt2"])
        net = model if way == "plain" else CompiledBlocks(model, "eager")
        for some in (None, [0, 1, 2], [1, 2], [0, 2]):                  # shapes
            batch = batch_of(form, tok, some)
            form.objective.forward(net, batch)
            form.objective.loss(batch)[0].backward()
        seen.append(gradients(model))
    same(seen[1], seen[0], 1e-6)
    assert len(seen[0]) > 5 and not any("forward" in vars(m) for m in blocks_of(model))
    assert 0 < counters["stats"]["unique_graphs"] <= 2 and not counters["graph_break"]


# ---- folders as they are met ---------------------------------------------------------------------
FAULTS = {      # words of the refusal -> what does it to a model
    "its attention is not causal": lambda model: model.net.base_model.norm.register_forward_hook(
        lambda _, args, states: states + 0.1 * states.mean(1, keepdim=True)),
    "it does more than embeddings": lambda model: model.net.register_forward_hook(
        lambda _, args, out: SimpleNamespace(logits=1.01 * out.logits)),
    "it has no cache": lambda model: model.net.base_model.register_forward_pre_hook(
        lambda _, args, given: (args, given | {model.cache_name: None}), with_kwargs=True),
    "padding changes its logits": lambda model: model.net.base_model.register_forward_pre_hook(
        lambda _, args, given: (args, given | dict.fromkeys(["attention_mask", "position_ids"])),
        with_kwargs=True)}


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_of_a_model_is_seen_however_small_its_logits_are(words):
    model = llama(tied=False)
    model.net.lm_head.weight.data *= 1e-6
    check(model)
    FAULTS[words](model)
    with pytest.raises(ValueError, match=words):
        check(model)


def drawn(rows: int) -> torch.Tensor:
    return 0.1 * torch.randn(rows, 32, generator=torch.Generator().manual_seed(0))


def changed(source: str, folder: Path, changes: dict) -> str:
    """A copy of a folder with these files changed: a new text, or new entries; None takes an entry
    or the file away."""
    shutil.copytree(source, folder)
    for name, change in changes.items():
        file = folder / name
        weights = read_tensors(file) if name.endswith(".safetensors") else {}
        if change is None:
            file.unlink()
        elif isinstance(change, str):
            file.parent.mkdir(exist_ok=True)
            file.write_text(change)
        elif weights:
            now = {key: w for key, w in (weights | change).items() if w is not None}
            save_file(now, file, metadata={"format": "pt"})
        else:
            now = (json.loads(file.read_text()) if file.exists() else {}) | change
            file.write_text(json.dumps({key: x for key, x in now.items() if x is not None}))
    return str(folder)


def test_a_tokenizer_without_a_fast_form_is_refused(tmp_path):
    hf.ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="written in Python .ByT5Tokenizer. and cannot be used"):
        HFTokenizer(tmp_path)


def test_a_library_that_is_too_old_is_named_with_the_version_that_is_needed(folders, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.57.6")
    with pytest.raises(UserError, match="transformers 5.18 or newer, and 4.57.6 is installed"):
        start_model(folders["qwen2"])


KERNEL, AUTO = "kernels-community/evil@rev", {"AutoModelForCausalLM": "evil/repo--m.C"}
OPENED = {      # folders that are the same model as the folder without the change
    "buffers of old files": (
        "llama", {WEIGHTS: {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}}),
    "masks of old files": ("gpt2", {WEIGHTS: {
        "transformer.h.0.attn.masked_bias": torch.ones(2),
        "transformer.h.0.attn.bias": torch.ones(2, 2, dtype=torch.uint8)}}),
    "sampling without do_sample, a template beside": ("qwen2", {
        "generation_config.json": {"temperature": 0.9, "top_p": 0.6},
        "additional_chat_templates/rag.jinja": CHATML}),
    "sampling in config.json, named templates": ("qwen2", {
        "generation_config.json": None, CONFIG: {"temperature": 0.7, "top_k": 40},
        "chat_template.jinja": None, TOKENS: {"chat_template": [
            {"name": name, "template": CHATML} for name in ("default", "tool_use")]}}),
    "code, a kernel": ("llama", {
        CONFIG: {"auto_map": AUTO, "attn_implementation": KERNEL}, TOKENS: {"auto_map": AUTO},
        "custom_generate/generate.py": "raise SystemExit"}),
    "flash attention, experts": ("llama", {CONFIG: {
        "_attn_implementation": "flash_attention_2", "experts_implementation": "sonicmoe"}}),
    "one that also sees pictures": ("gemma3", {})}


@pytest.mark.parametrize("name", OPENED)
def test_of_a_folder_as_it_is_met_nothing_is_random_lost_or_run(
        name, folders, tmp_path, monkeypatch):
    """With LoRA and without. No kernel, code or network that it asks for is followed."""
    for door in ("transformers.modeling_utils.lazy_import_flash_attention", "socket.getaddrinfo",
                 "transformers.dynamic_module_utils.get_class_in_module"):
        monkeypatch.setattr(door, lambda *told, **how: pytest.fail(f"{told} is asked"))
    monkeypatch.setattr("transformers.modeling_utils.is_kernels_available", lambda: True)
    kind, changes = OPENED[name]
    folder, out = changed(folders[kind], tmp_path / "m", changes), tmp_path / "out"
    torch.manual_seed(0)
    first, _ = start_model(folders[kind])
    for opened in (start_model, with_lora):
        torch.manual_seed(1)
        model, tok = opened(folder)
        assert torch.equal(said(model), said(first))
        assert torch.equal(model.wte.weight, first.wte.weight), "new rows, too"
        assert {model.net.config._attn_implementation, model.net.config._experts_implementation} \
            <= {"sdpa", "eager", "grouped_mm"}, "PyTorch's own"
    save_model(out, model, tok)
    same(said(start_model(str(out))[0]), said(first), 1e-4)
    before, after = (hf.AutoTokenizer.from_pretrained(x).chat_template for x in (folder, out))
    assert before in (None, after), "all of several templates"


@pytest.mark.parametrize("change", [
    {"activation_function": "relu"}, {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True}, {"tie_word_embeddings": False}], ids=str)
def test_what_our_gpt_would_not_compute_goes_to_transformers(change, folders, tmp_path):
    head = {WEIGHTS: {"lm_head.weight": drawn(1024)}} if "tie_word_embeddings" in change else {}
    folder = changed(folders["ours"], tmp_path / "m", {CONFIG: change, **head})
    assert isinstance(start_model(folder)[0], HFModel)


@pytest.mark.parametrize("rope", [
    {"rope_type": "default", "rope_theta": 5e5}, {"rope_type": "yarn", "rope_theta": 5e5,
                                                  "factor": 4.0,
                                                  "original_max_position_embeddings": 32}])
def test_a_saved_folder_has_the_names_of_transformers_4(rope, folders, tmp_path):
    """Which would take theta 10,000 without a word, and does not know the tokenizer's new class."""
    model, tok = start_model(changed(folders["llama"], tmp_path / "m",
                                     {CONFIG: {"rope_parameters": rope}}))
    save_model(tmp_path, model, tok)
    saved, named = (json.loads((tmp_path / name).read_text()) for name in (CONFIG, TOKENS))
    assert saved["rope_theta"] == 5e5 and saved["rope_parameters"] == rope
    assert saved.get("rope_scaling") == (None if rope["rope_type"] == "default" else rope)
    assert named["tokenizer_class"] == "PreTrainedTokenizerFast"
    same(said(start_model(str(tmp_path))[0]), said(model), 1e-6)


# ---- its tokenizer -------------------------------------------------------------------------------
@pytest.mark.parametrize("change, told", [
    (normalizers.Lowercase(), '3: the tokenizer does not reproduce a text: "Is" becomes "is"'),
    (normalizers.Replace("b", ""), '1: the tokenizer does not reproduce a text: "b" becomes ""'),
    (normalizers.Replace("\n1", " 1"), '1: the tokenizer does not reproduce a text: "CAFÉ\\n1" '
     'becomes "CAFÉ 1"'),
    (normalizers.Sequence([normalizers.NFD(), normalizers.Replace("  ", " ")]), "")])
def test_rows_whose_text_does_not_come_back_from_the_tokenizer_are_counted(change, told, tmp_path):
    """With one example; in a question or in an answer. Spaces don't count, nor how an accent is
    written."""
    tok = tokenizer(tmp_path, CHATML)
    tok.t.backend_tokenizer.normalizer = change
    rows = [Row(roles={"answer": (say("user", asked), say("assistant", answer))}, where=str(i))
            for i, (asked, answer) in enumerate((("Is  it?", "no"), ("CAF\u00c9", "b"),
                                                 ("a", "CAF\u00c9\n1")))]
    _, report = encode(rows, tok, 64)
    assert [line.rpartition(", as in")[0] for line in report.lines()] == [told] * bool(told)


@pytest.mark.parametrize("kind", ["ours", *EACH, "phi3", "gemma3"])
def test_rows_are_looked_at_without_the_weights(kind, folders, tmp_path):
    """As the model itself reads them."""
    model, tok = start_model(folders[kind])
    bare = shutil.copytree(folders[kind], tmp_path / kind, ignore=lambda *_: [WEIGHTS])
    of_rows, n_ctx = start_tokenizer(str(bare))
    assert (n_ctx, of_rows.n_vocab) == (model.cfg.n_ctx, tok.n_vocab)
    talk = say("user", "Say fig."), say("assistant", "fig")
    assert of_rows.chat(*talk) == tok.chat(*talk)


# ---- runs ----------------------------------------------------------------------------------------
RUNS = {        # whole runs of other models: objective, flags
    "qwen2": ("ift", []), "gpt2": ("dpo", ["--lora", "2", "--dtype", "bf16"]),
    "ours": ("dpo", ["--lora", "2"]), "real": ("sft", ["--lora", "4"]),
    "llama": ("rloo", ["--lora", "2", "--dtype", "bf16", "--max-new", "5"])}


@pytest.mark.parametrize("kind", ["ours", *EACH])
def test_a_run_opens_in_transformers_and_lora_has_trained_thin_matrices_only(kind, folders, place):
    """And the embeddings of new chat tokens. It begins as its initial model, the one without
    adapters. One of the runs was interrupted."""
    name, more = RUNS[kind]
    run, lora = place / f"{kind}_run", "--lora" in more
    more = [*more, *["--reward", str(place / "r.py:r")] * (name == "rloo")]
    argv = ["--objective", name, "--init", folders[kind], "--data", str(place / "d.jsonl"),
            "--steps", "2", "--batch-size", "4", "--plain", "--device", "cpu", "--lr", "0.01",
            "--save-every", "1", *more, "--out", str(run)]
    if kind == "qwen2":
        with killed_in_step(2):
            assert command(train.main, argv) == 130
        argv = ["--resume", str(run)]
    assert command(train.main, argv) == 0 and (run / "eval.json").exists()
    log = read_lines(run / "metrics.jsonl")
    assert name != "dpo" or abs(log[0]["margin"]) < 1e-6 < abs(log[-1]["margin"])
    assert name != "rloo" or abs(log[0]["kl_exact"]) < 1e-6 < log[-1]["kl_exact"]
    (after, tok), (before, _) = (start_model(x, lora) for x in (str(run), folders[kind]))
    net = theirs(run)
    same(said(net), said(after), 1e-4)
    assert tok.end in net.generation_config.eos_token_id and net.dtype == torch.float32
    moved = {n: p.dim() for (n, p), q in zip(after.named_parameters(), before.parameters())
             if not any(torch.equal(p, x) for x in (q, q.bfloat16().float()))}     # frozen in bf16
    tables = [n for n in moved if "embed" in n or "wte" in n or "lm_head" in n]
    assert len(moved) > 5 and ({*moved.values()} == {2}) == lora
    assert len(tables) == (0 if kind in ("ours", "llama", "real") else 2 if kind == "gpt2" else 1)


def test_a_reward_model_of_transformers_opens_again(folders, place, tmp_path):
    """A head beside a whole model is no stranger."""
    assert command(reward.main, [
        "--init", folders["llama"], "--data", str(place / "d.jsonl"), "--steps", "1",
        "--batch-size", "2", "--device", "cpu", "--out", str(tmp_path / "judge")]) == 0
    assert "score.weight" in load_file(tmp_path / "judge" / "model.safetensors")
    assert scorers.scorer(str(tmp_path / "judge"))(DATA[:2], ["a", "b"]).shape == (2,)


# ---- what a run says of its folder ---------------------------------------------------------------
NORM, LN = "model.norm.weight", "transformer.ln_f.weight"
FP8 = torch.ones(32).to(torch.float8_e4m3fn)
SAID = {        # of a folder: its kind, {file: change}, flags of a run of one step
    "its weights are text": ("qwen2", {WEIGHTS: "x"}),
    "its weights are pickled": ("qwen2", {WEIGHTS: None, "pytorch_model.bin": "x"}),
    "its weights are a pointer of git": (
        "gpt2", {WEIGHTS: "version https://git-lfs.github.com/spec/v1\n"}),
    "it has no tokenizer": ("qwen2", {"tokenizer.json": None, TOKENS: None}),
    "it is an adapter": ("qwen2", {CONFIG: None, "adapter_config.json": {
        "base_model_name_or_path": "their/base"}}),
    "it lacks a layer": ("qwen2", {CONFIG: {"num_hidden_layers": 3, "layer_types": None}}),
    "it has a weight too many": ("qwen2", {WEIGHTS: {f"{NORM}_scale": torch.ones(1)}}),
    "it has another width": ("llama", {CONFIG: {"intermediate_size": 40}}),
    "it caps its logits": ("qwen2", {CONFIG: {"final_logit_softcapping": 30.0}}),
    "it is quantized": ("qwen2", {CONFIG: {"quantization_config": {"bits": 4}}}),
    "a weight is of int8": ("llama", {WEIGHTS: {NORM: torch.ones(32, dtype=torch.int8)}}),
    "a weight is of fp8": ("llama", {WEIGHTS: {NORM: FP8}}),
    "a weight is NaN": ("qwen2", {WEIGHTS: {NORM: torch.full((32,), torch.nan)}}),
    "of our GPT a weight is of fp8": ("ours", {WEIGHTS: {LN: FP8}}),
    "of our GPT a weight is missing": ("ours", {WEIGHTS: {LN: None}}),
    "of our GPT a weight is NaN": ("ours", {WEIGHTS: {LN: torch.full((32,), torch.nan)}}),
    "of our GPT the head is not tied": ("ours", {WEIGHTS: {"lm_head.weight": drawn(1024)}}),
    "peft cannot adapt its layers": ("phimoe", {}, "--lora 2"),
    "it cannot recompute": ("ctrl", {}, "--activation-checkpointing"),
    "its head is no layer": ("llama", {}, "--lora 2 --lora-targets lm_head"),
    "it has experts": ("qwen2_moe", {}, "--lora 2"),
    "it has no chat template, and no room for our tokens": ("gpt2", {}, "--lora 2 --lr 0.003"),
    "it has no chat template, and room": ("llama", {"chat_template.jinja": None}, "--lora 2"),
    "it has more rows than tokens": ("ours", {
        WEIGHTS: {"transformer.wte.weight": drawn(4096)}, CONFIG: {"vocab_size": 4096}}),
    "it has fewer rows than tokens": ("ours", {
        WEIGHTS: {"transformer.wte.weight": drawn(99)}, CONFIG: {"vocab_size": 99}}),
    "it has settings of greedy decoding": ("qwen2", {"generation_config.json": {
        "do_sample": True, "temperature": 0.7, "repetition_penalty": 1.3, "num_beams": 1,
        "stop_strings": ["so"]}})}


@pytest.mark.parametrize("what", SAID)
def test_a_run_says_at_its_start_what_of_its_folder_cannot_be_trained_or_is_not_read(
        what, folders, place, tmp_path, capsys, recorded):
    """It is refused in one line if it would not train from all of its weights. New chat tokens are
    trained with embedding and head, so no adapter has them."""
    hf.logging.enable_progress_bar()                    # of which none is to be seen
    kind, changes, flags = (*SAID[what], "")[:3]
    folder, run = changed(folders[kind], tmp_path / kind, changes), tmp_path / "run"
    code = command(train.main, [
        "--objective", "sft", "--init", folder, "--data", str(place / "d.jsonl"), "--steps", "1",
        "--batch-size", "2", "--plain", "--device", "cpu", *flags.split(), "--out", str(run)])
    out, err = capsys.readouterr()
    start = err if code else out.partition("\nSaved")[0]
    recorded("models_of_transformers", f"train --init {kind} {flags}".strip() + f"    # {what}",
             start.replace(f"{place}/", "").replace(f"{tmp_path}/", ""))
    assert code in (0, 2) and "Loading weights" not in err
    assert code or start_model(str(run)), "it opens again"
    assert (run / "adapter").exists() == (not code and "--lora" in flags and kind != "gpt2")


# ---- LoRA ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("how, times, targets", [
    ({}, 2, {*"qkvo", "gate", "up", "down"}),
    ({"alpha": 3.0, "targets": "mlp.up_proj, q_proj"}, 1.5, {"mlp.up", "q"})])
def test_lora_adds_the_product_times_alpha_by_rank(
        how, times, targets, folders, place, tmp_path, monkeypatch):
    """To the merged weight, and in the adapter beside it as peft opens it, in any folder. Tied
    weights stay so."""
    monkeypatch.chdir(place)
    model, tok = with_lora("qwen2", **how)
    layer = "model.layers.0.mlp.up_proj"
    part = model.net.get_submodule(layer)
    a, b = (getattr(part, f"lora_{x}")["default"].weight.data for x in "AB")
    assert not b.any()
    b.normal_()
    save_model(tmp_path, model, tok)
    again, _ = start_model(str(tmp_path))
    same(again.net.get_submodule(layer).weight, part.weight + times * (b @ a), 1e-5)
    adapted = pytest.importorskip("peft").PeftModel.from_pretrained(
        theirs(folders["qwen2"]), tmp_path / "adapter")
    same(said(adapted), said(model), 1e-4)
    merged = merged_weights(model.net)
    assert merged["lm_head.weight"] is merged["model.embed_tokens.weight"]
    about = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert Path(about["base_model_name_or_path"]).is_absolute()
    assert about["lora_alpha"] == 2 * times
    assert {x.rpartition(".")[2] for x in about["target_modules"]} == {
        f"{x}_proj".rpartition(".")[2] for x in targets}


@pytest.mark.parametrize("kind, dtype", [("qwen2", torch.float32), *(
    (kind, torch.bfloat16) for kind in ("ours", "llama", "gpt2", "qwen2_moe", "qwen3_moe"))])
def test_a_model_with_lora_merged_in_says_what_it_says_with_lora_beside(
        kind, dtype, folders, tmp_path):
    """In the folder of a run, as we and transformers open it, from frozen weights of either
    precision. Training may go on after it was saved."""
    model, tok = with_lora(folders[kind], dtype=dtype)
    for name, p in model.named_parameters():
        p.data = p.data.normal_() if ".lora_B." in name else p.data
    log_probs(model, model(IDS), IDS).sum().backward()
    assert {p.grad is None for p in model.parameters() if p.requires_grad} == {False}
    before = said(model)
    save_model(tmp_path, model, tok)
    same(said(model), before, 0)
    model.net.float()
    model.frozen_in = torch.float32                     # products in fp32, to compare with
    trained = said(model)
    assert (trained - said(model.start)).abs().max() > 0.2
    same(said(start_model(str(tmp_path))[0]), trained, 1e-4)
    same(said(theirs(tmp_path)), trained, 1e-4)
    assert {w.dtype for w in load_file(tmp_path / WEIGHTS).values()} == {torch.float32}


@pytest.mark.parametrize("kind, kept", [("qwen2_moe", torch.bfloat16),
                                        ("qwen3_moe", torch.float32)])
def test_weights_to_which_lora_is_added_itself_stay_in_fp32(kind, kept, folders):
    """peft adapts the experts of one of them; in bf16 most of B A would be rounded away."""
    model, _ = with_lora(folders[kind], dtype=torch.bfloat16)
    assert {p.dtype for name, p in model.named_parameters() if name.endswith("down_proj")} == {kept}
    norms = {p.dtype for name, p in model.named_parameters() if "norm" in name}
    assert norms == {torch.bfloat16}


def test_an_adapter_names_its_base_as_the_hub_does(folders, tmp_path, monkeypatch):
    """So it opens on other machines, and tells no path of this one. No pickle and no code is
    downloaded."""
    snapshot = tmp_path / "hub" / "models--acme--tiny" / "snapshots" / "0123abcd"
    shutil.copytree(folders["qwen2"], snapshot)
    asked: dict = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, allow_patterns:
                        asked.update({name: allow_patterns}) or snapshot)
    model, tok = with_lora("hub:acme/tiny")
    assert not any(x.endswith((".bin", ".py", ".pt", "*")) for x in asked["acme/tiny"])
    save_model(tmp_path / "run", model, tok)
    about = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == "acme/tiny"
    assert about["target_modules"] == sorted(about["target_modules"])
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file
    assert "base_model: acme/tiny" in (tmp_path / "run" / "adapter" / "README.md").read_text()


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_lora_adds_first_is_not_rounded_away(kind, trains, folders, monkeypatch, recwarn):
    """At first B A x is far smaller than W x, whose neighbours in bf16 are 1/256 of it apart.
    Held-out rows have no autocast. Each layer has our attention."""
    model, _ = with_lora(folders[kind], dtype=torch.bfloat16)
    assert not [w for w in recwarn if "fan_in_fan_out" in str(w.message)], "told that GPT-2 is so"
    layer = next(part for part in model.net.modules() if hasattr(part, "lora_A"))
    layer.lora_B["default"].weight.data.fill_(1e-4)
    seen, attended, attend = [], [], fast_ops.attend
    layer.register_forward_hook(lambda layer, x, out: seen.append(out))
    monkeypatch.setattr(fast_ops, "attend", lambda *told, **more: (
        attended.append(1), attend(*told, **more))[1])
    with Device("cpu", "bf16" if trains else "fp32").autocast():
        said(model)
        said(model.start)
    assert (seen[0] != seen[1]).float().mean() > 0.9
    assert len(attended) == 2 * model.cfg.n_layer


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_reference_of_sampled_answers_stays_where_it_began(kind, folders):
    """It is the model without its adapters; but where new chat tokens are trained, embedding and
    head move with the model, so that it is a copy."""
    model, tok = with_lora(folders[kind])
    reference = FrozenModels(model, tok.pad, CPU).reference_model(OBJECTIVES["grpo"](), lora=True)
    before = said(reference)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.1
    assert torch.equal(said(reference), before) and not torch.equal(said(model), before)
    assert (kind == "gpt2") == isinstance(reference, torch.nn.Module), "a copy only if needed"
