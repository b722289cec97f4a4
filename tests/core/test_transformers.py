"""Models of transformers: the numbers of the same model called directly, its own tokenizer and chat
template, folders that open there again. Small random models, no network."""
import json
import os
import shutil
import sys
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, losses, metrics, one_error
from safetensors.torch import load_file, save_file
from tiny import CPU, DATA, NANO, Form, differs, plain, same

from nanouft import reward, sample, sampling, train
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Turn, demo_rows
from nanouft.errors import UserError
from nanouft.hf import model as hf_model
from nanouft.hf import tokenizer as hf_tokenizer
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.objective import REF
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.rewards import scorer
from nanouft.run import setup
from nanouft.run.flags import Train
from nanouft.sampling import as_if_sampled, generate

hf = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.usefixtures("brief")
CHATML = ("{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
          "'<|im_end|>\\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- "
          "'<|im_start|>assistant\\n' -}}{%- endif -%}")
INST = ("{{- bos_token -}}{%- for m in messages -%}{%- if m['role'] == 'user' -%}{{- '[INST] ' + "
        "m['content'] | trim + ' [/INST]' -}}{%- elif m['role'] == 'assistant' -%}{{- ' ' + "
        "m['content'] | trim + eos_token -}}"
        "{%- else -%}{{- raise_exception('only user and assistant') -}}{%- endif -%}{%- endfor -%}")
NO_END = "{%- for m in messages -%}{{- m['role'] + ': ' + m['content'] + '\\n' -}}{%- endfor -%}"
END_LAST = (NO_END.removesuffix("{%- endfor -%}") + "{%- endfor -%}{{- 'assistant: ' if "
            "add_generation_prompt else eos_token -}}")
# thoughts stand in parentheses, an empty one where there is none; a call is f(2)
TOOLS = ("{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' -}}{%- if m['role'] == "
         "'assistant' -%}{%- generation -%}{%- if m['tool_calls'] -%}{%- for c in "
         "m['tool_calls'] -%}{{- c['function']['name'] -}}"
         "{{- '(' ~ c['function']['arguments']['x'] ~ ')' -}}{%- endfor -%}{%- elif '</think>' in "
         "m['content'] -%}"
         "{{- m['content'] | replace('<think>', '(') | replace('</think>', ')') -}}{%- else -%}"
         "{{- '<think></think>' + m['content'] -}}{%- endif -%}{{- '<|im_end|>' -}}{%- "
         "endgeneration -%}{%- else -%}"
         "{{- m['content'] + '<|im_end|>' -}}{%- endif -%}{%- endfor -%}"
         "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}")
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
KINDS = {       # config, chat template, does the tokenizer begin every text with <s>?
    "llama": (lambda V: hf.LlamaConfig(vocab_size=V + 5, **SMALL), INST, True),
    "qwen2": (lambda V: hf.Qwen2Config(vocab_size=V, tie_word_embeddings=True, **SMALL), CHATML,
              False),
    "gpt2": (lambda V: hf.GPT2Config(vocab_size=V, n_positions=128, n_embd=32, n_layer=2, n_head=2,
                                     resid_pdrop=0.1,
                                     activation_function="relu",
                                     tie_word_embeddings=False), "", False)}
WORDS = ["the dova lives in a small green house and eats two red nuts every day",
         "user assistant system Say fig bee"]
DIALOGUE = (Turn("user", "Say it.\n"), Turn("assistant", "It, <|im_end|> said </s> they."),
            Turn("user", " Why? "))
ANSWER = (Turn("assistant", "The end 学."),)


def make_tokenizer(template: str = CHATML, begins: bool = False):
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    raw.train_from_iterator(WORDS, tokenizers.trainers.BpeTrainer(
        vocab_size=330, show_progress=False,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    if begins:
        raw.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)])
    t = hf.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    t.chat_template = template or None
    return t


def make(folder, kind: str, template: str | None = None):
    """A folder of transformers with random weights that are not all alike."""
    config, own, begins = KINDS[kind]
    return save_random(folder, make_tokenizer(own if template is None else template, begins),
                       config)


def small_folder(folder, settings):
    """A folder of transformers of another kind: `settings` takes the size of the vocabulary."""
    return str(save_random(folder, make_tokenizer(), settings))


def save_random(folder, t, config):
    """config(size of the vocabulary) is the model's; its tokenizer is `t`."""
    t.save_pretrained(folder)
    torch.manual_seed(0)
    net = hf.AutoModelForCausalLM.from_config(config(len(t)))
    for p in net.parameters():
        p.data += 0.1 * torch.randn_like(p)
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("theirs")
    return {kind: make(place / kind, kind) for kind in KINDS}


# ---- numbers -------------------------------------------------------------------------------------
def logps(net, s, **given):
    """(B,T) nats by transformers' own forward, 0 off the mask."""
    logits = net(**(given or {"input_ids": s.inputs})).logits
    return logits.log_softmax(-1).gather(-1, s.targets[..., None])[
        ..., 0].masked_fill(s.mask == 0, 0)


def by_hand(name: str, net, batch) -> None:
    """What an objective's forward writes, by transformers' public calls alone."""
    for s in batch.seqs.values():
        given = {}
        if name == "ift":                                   # the blend of lesson 05, lam .2
            table = net.get_input_embeddings()
            with torch.no_grad():
                guess, said = s.inputs.clone(), net(input_ids=s.inputs).logits.argmax(-1)
                guess[:, 1:] = torch.where(s.mask[:, :-1] == 1, said[:, :-1], s.inputs[:, 1:])
                lam = OBJECTIVES["ift"].hp().lam
                given = {"inputs_embeds": (1 - lam) * table(s.inputs) + lam * table(guess)}
        s.logp = logps(net, s, **given)


def batch_for(form: Form, model, tok):
    if form.objective.on_policy:
        rows = [replace(r, answer=said, score=None, label=None) for r in DATA
                for said in (r.answer, r.chosen)]
        answers, _ = encode(demo_rows(rows, None), tok, 128)
        others = Models(model, tok.pad, CPU, start_model).of_columns(form.objective, form.hp)
        rewards = [(7 * i % 11) / 11 for i in range(16)]
        return as_if_sampled(answers, rewards, form.objective, form.hp, model, tok.pad, CPU,
                             others=others)
    encoded, _ = encode(form.objective.rows(DATA, form.hp), tok, 128)
    add_columns(encoded, form.objective.columns, Models(model, tok.pad, CPU, start_model), form.hp)
    return collate(encoded, range(len(encoded)), tok.pad)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_the_same_model_called_directly(folders, kind):
    model, tok = start_model(str(folders[kind]))
    net = hf.AutoModelForCausalLM.from_pretrained(folders[kind], dtype=torch.float32).eval()
    if tok.n_vocab > tok.n_text:                                    # our chat tokens were added
        net.resize_token_embeddings(tok.n_vocab, mean_resizing=False)
        net.load_state_dict(model.net.state_dict())
    for name in ("sft", "dpo", "kto", "una", "ift", "grpo"):
        objective = OBJECTIVES[name]
        form = Form(name, objective.hp())
        batch = batch_for(form, model, tok)
        theirs, found = deepcopy(batch), {}
        objective.forward(model, batch, form.hp)
        by_hand(name, net, theirs)
        for x, b, weights in (("ours", batch, model.net), ("theirs", theirs, net)):
            weights.zero_grad()
            loss, _ = objective.loss(b, form.hp)
            loss.backward()
            found[x] = (loss.detach(), {n: p.grad.clone() for n, p in weights.named_parameters()
                                        if p.grad is not None})
        same(found["ours"][0], found["theirs"][0], f"{name}: the loss of {kind}", 1e-6)
        assert found["ours"][1].keys() == found["theirs"][1].keys() and len(found["ours"][1]) > 10
        for n, g in found["theirs"][1].items():
            same(found["ours"][1][n], g, f"{name}: the gradient of {n}", 1e-5)
        for role, s in theirs.seqs.items() if REF in objective.columns else ():
            same(s.ref_logp, s.logp,
                 f"{name}: the reference column of {role} is the start model's log-prob", 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_with_its_own_cache_is_reading_everything_again_and_greedy_is_transformers(
        folders, kind):
    model, tok = start_model(str(folders[kind]))
    prompts = [tok.prompt_ids((Turn("user", text),))
               for text in ("a", "the green house eats", "Say")]
    how = {"stop": tok.end, "pad": tok.pad, "max_new": 12}
    for temperature in (0.0, 1.0):
        fast, slow = (generate(model, prompts, temperature=temperature, seed=1, cached=c, **how)
                      for c in (True, False))
        assert [a.ids for a in fast] == [a.ids for a in slow] \
            and [a.ended for a in fast] == [a.ended for a in slow]
    for prompt, answer in zip(prompts, generate(model, prompts, **how)):
        theirs = model.net.generate(torch.tensor([prompt]),
                                    attention_mask=torch.ones(1, len(prompt)), do_sample=False,
                                    max_new_tokens=12, eos_token_id=tok.end, pad_token_id=tok.pad)
        theirs = theirs[0, len(prompt):].tolist()
        assert answer.ids == theirs[:theirs.index(tok.end)] if tok.end in theirs else answer.ids \
            == theirs


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_checkpointing_changes_no_gradient_and_leaves_sampling_alone(folders, kind):
    grads, answers = [], []
    for checkpointing in (False, True):
        model, tok = start_model(str(folders[kind]))
        form = Form("ift", OBJECTIVES["ift"].hp())
        model = setup.adapted(Train(checkpointing=checkpointing), form.hp, model, tok,
                              torch.float64)
        batch = batch_for(form, model, tok)
        form.objective.forward(model, batch, form.hp)
        form.objective.loss(batch, form.hp)[0].backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
        answers.append(generate(model, [tok.prompt_ids((Turn("user", "a"),))], stop=tok.end,
                                pad=tok.pad, max_new=6))
    assert len(grads[0]) == len(grads[1]) > 10
    for a, b in zip(*grads):
        same(a, b, "dropout is off, and what is computed twice is the same twice", 1e-6)
    assert answers[0] == answers[1] and model.net.is_gradient_checkpointing


def test_dropout_is_off_under_checkpointing_however_a_model_names_it(tmp_path):
    size = {name: x for name, x in SMALL.items() if name != "num_key_value_heads"}
    model, _ = start_model(small_folder(tmp_path, lambda V: hf.BioGptConfig(vocab_size=V, **size)))
    model.checkpoint()
    ids = torch.arange(8)[None]
    same(model(ids), model(ids), "the same numbers twice", 0)
    assert model.net.training, "checkpointing works in this mode only"


def test_an_answer_ends_with_any_end_token_of_the_model(tmp_path):
    folder = make(tmp_path / "m", "llama")
    prompt, how = [5, 6, 7], {"pad": 0, "max_new": 8}
    model, tok = start_model(str(folder))
    (free,) = generate(model, [prompt], stop=-1, **how)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, free.ids[2]]}))
    model, tok = start_model(str(folder))
    assert tok.stops == {tok.end, 1, free.ids[2]}
    (answer,) = generate(model, [prompt], stop=tok.stops, **how)
    n = free.ids.index(free.ids[2])
    assert answer.ids == free.ids[:n] and answer.ended and answer.stop == free.ids[2] \
        and len(answer.logp) == n + 1


def test_a_model_of_other_logits_or_without_gradient_is_refused(folders):
    model, _ = start_model(str(folders["llama"]))
    hf_model.check(model)
    head, model.head = model.head, lambda hidden: 2 * hidden @ model.net.lm_head.weight.T
    with pytest.raises(ValueError, match="more than token embeddings"):
        hf_model.check(model)
    model.head, model.net.base_model.forward = head, torch.no_grad()(model.net.base_model.forward)
    with pytest.raises(RuntimeError, match="differentiated"):
        hf_model.check(model)


def test_spare_rows_of_a_model_become_the_new_tokens_anew(tmp_path):
    """A row that stands for no token was never trained: what it holds is no beginning for
    <|end|>."""
    folder = make(tmp_path / "m", "llama", "")
    stored = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    model, tok = start_model(str(folder))
    assert tok.n_text <= tok.end < len(stored) == model.cfg.vocab_size
    differs(model.wte.weight[tok.end], stored[tok.end], "a new row", 1e-3)
    same(model.wte.weight[:tok.n_text], stored[:tok.n_text], "the others stay", 0)


# ---- text ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("template, end, trained", [(CHATML, "<|im_end|>", "The end 学.<|im_end|>"),
                                                    (INST, "</s>", " The end 学.</s>"),
                                                    ("", "<|end|>", " The end 学.<|end|>")])
def test_ids_are_those_of_its_chat_template_and_the_mask_is_the_answer_with_its_end(
        tmp_path, template, end, trained):
    tok = start_model(str(make(tmp_path / "m", "llama", template)))[1]
    assert tok.decode([tok.end]) == end and end in tok.about
    assert ("its own chat template is kept" if template else "nanouft's own is added") in tok.about
    easy = (DIALOGUE[0], Turn("assistant", "So."), DIALOGUE[2])  # nobody types a control token
    ids, mask = tok.chat(easy, ANSWER)
    theirs = tok.t.apply_chat_template(plain(easy + ANSWER), return_dict=False)
    assert ids == theirs and tok.decode([i for i, m in zip(ids, mask) if m]) == trained
    asked = tok.prompt_ids(easy)
    assert asked == tok.t.apply_chat_template(plain(easy), add_generation_prompt=True,
                                              return_dict=False)
    assert template == CHATML or tok.decode(ids[:1]) == "<s>", \
        "what begins every text of this model"
    assert ids[:len(asked)] == asked and not any(mask[:len(asked)]), \
        "what is sampled follows what was trained"
    ids, mask = tok.chat(DIALOGUE[:1], DIALOGUE[1:] + ANSWER)
    assert sum(b > a for a, b in zip([0, *mask], mask)) == 2, "both answers of a dialogue"
    assert [i for i, m in zip(ids, mask) if m].count(tok.end) == 2, \
        "a control token that somebody types stays text"
    assert tok.decode(ids) == tok.t.apply_chat_template(plain(DIALOGUE + ANSWER), tokenize=False)
    system = (Turn("system", "Be brief."), Turn("user", "Hi"))
    assert "Be brief." in tok.decode(tok.prompt_ids(system)) and tok.folds == (template == INST)


def test_a_template_that_tells_the_day_and_ends_only_the_dialogue(tmp_path):
    dated = "{{- strftime_now('%Y-%m-%d') + ' or ' + date_string -}}" + END_LAST
    tok = start_model(str(make(tmp_path / "m", "llama", dated)))[1]
    assert tok.decode(tok.prompt_ids(DIALOGUE[:1])).startswith("2024-07-26 or 26 Jul 2024"), \
        "it is always the same day"
    ids, mask = tok.chat(DIALOGUE[:1], (Turn("assistant", "One."), Turn("user", "Why?"),
                                        Turn("assistant", "Two.")))
    trained = [i for i, m in zip(ids, mask) if m]
    assert tok.decode(trained) == "One.Two.\n</s>", \
        "an answer without an end token ends with its text"


@pytest.mark.parametrize("told, remark",
                         [(" and enable_thinking | default(true)", "told not to think"),
                          ("", "not what it writes there in training")])
def test_a_prompt_that_opens_a_thought_is_told_not_to_or_it_is_said(tmp_path, told, remark):
    thinks = CHATML + "{%- if add_generation_prompt" + told + " -%}{{- '<think>' -}}{%- endif -%}"
    tok = start_model(str(make(tmp_path / "m", "llama", thinks)))[1]
    assert remark in tok.about and tok.decode(tok.prompt_ids(DIALOGUE[:1])).endswith("<think>") \
        == (not told)
    assert "think" not in start_model(str(make(tmp_path / "n", "llama")))[1].about


def test_the_turn_that_a_template_changes_is_named_and_so_are_earlier_answers_written_otherwise(
        tmp_path):
    marked = CHATML.replace("m['content']",
                            "('(!) ' if '!' in m['content'] else '') + m['content']")
    tok = start_model(str(make(tmp_path / "m", "llama", marked)))[1]
    with pytest.raises(UserError, match=r"changes the text of a turn \(assistant: Ho!\)"):
        tok.chat((Turn("user", "Hi"),), (Turn("assistant", "Ho!"),))
    last = CHATML.replace("m['content']",
                          "('So: ' if m['role'] == 'assistant' and loop.last else '') + "
                          "m['content']")
    last = last.replace("assistant\\n'", "assistant\\nSo: '")
    about = start_model(str(make(tmp_path / "n", "llama", last)))[1].about
    assert "earlier answers in another way" in about


def test_a_gpt2_of_ours_with_a_foreign_template_keeps_it(tiny_base, tmp_path):
    t = make_tokenizer()
    model, _ = start_model(str(tiny_base))
    write_gpt(tmp_path / "m", model)
    t.save_pretrained(tmp_path / "m")
    again, tok = start_model(str(tmp_path / "m"))
    assert type(again).__name__ == "GPT" and tok.decode([tok.end]) == "<|im_end|>" \
        and again.cfg == model.cfg


# ---- runs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind, name, rows, more", [
    ("llama", "dpo", PAIRS, []), ("gpt2", "sft", DEMOS, []),
    # new rows are trained in fp32
    ("gpt2", "sft", DEMOS, ["--lora", 2, "--dtype", "bf16", "--eval-every", 2]),
    ("qwen2", "ppo", None, [])])
def test_a_run_is_saved_resumed_and_opens_in_transformers(folders, here, kind, name, rows, more,
                                                          capsys, monkeypatch):
    if more:
        pytest.importorskip("peft")
    argv = ["--objective", name, "--init", folders[kind], "--steps", 4, "--batch-size", 4,
            "--save-every", 2, *QUICK]
    argv += more
    argv += ["--data", lines(here / "d.jsonl", rows)] if rows else ["--max-new", 5, "--rows", 12]
    assert call(train.main, *argv, "--out", here / "a") == 0
    assert f"{folders[kind]}: " in (out := capsys.readouterr().out) and "an answer ends with" in out
    save = train.save_model
    monkeypatch.setattr(train, "save_model", lambda *a: sys.exit(3))
    with pytest.raises(SystemExit):
        call(train.main, *argv, "--out", here / "b")
    monkeypatch.setattr(train, "save_model", save)
    assert call(train.main, "--resume", here / "b") == 0
    assert losses(here / "a") == losses(here / "b")
    saved, again = (load_file(here / x / "model.safetensors") for x in "ab")
    assert saved.keys() == again.keys() and all(torch.equal(saved[n], again[n]) for n in saved)
    model, tok = start_model(str(here / "a"))
    net = hf.AutoModelForCausalLM.from_pretrained(here / "a").eval()
    t = hf.AutoTokenizer.from_pretrained(here / "a")
    ids = t.apply_chat_template(plain(DIALOGUE), add_generation_prompt=True, return_dict=False)
    assert t.chat_template == tok.t.chat_template and tok.end in net.generation_config.eos_token_id
    with torch.no_grad():
        same(model(torch.tensor([ids])), net(torch.tensor([ids])).logits,
             "our logits are those of transformers", 1e-5)
    differs(model.wte.weight, start_model(str(folders[kind]))[0].wte.weight, "training changed it",
            1e-6)
    capsys.readouterr()
    assert call(sample.main, here / "a", "--prompt", "Say fig.", "--max-new", 3) == 0
    assert name in capsys.readouterr().out


def test_a_sharded_folder_is_read_and_a_reward_model_of_a_llama_works(folders, here):
    net = hf.AutoModelForCausalLM.from_pretrained(folders["llama"])
    net.save_pretrained(here / "s", max_shard_size="20KB")
    make_tokenizer(INST, True).save_pretrained(here / "s")
    assert len(list((here / "s").glob("*.safetensors"))) > 1
    same(start_model(str(here / "s"))[0].wte.weight, net.get_input_embeddings().weight,
         "shards are put together")
    with pytest.raises(UserError, match="is a language model, no reward model"):
        scorer.load(here / "s")
    data = lines(here / "p.jsonl", PAIRS)
    argv = ["--init", here / "s", "--data", data, "--steps", 2, "--threads", 1, "--out", here / "r"]
    assert call(reward.main, *argv) == 0
    ours = scorer.load(here / "r")(["Say fig."], ["fig"])[0]
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(here / "r")
    ids = scorer.load_model(here / "r")[1].chat((Turn("user", "Say fig."),),
                                                (Turn("assistant", "fig"),))[0]
    same(theirs(torch.tensor([ids])).logits[0, 0], ours, "transformers reads the same reward", 1e-5)


@pytest.mark.parametrize("kind, init", [("qwen2", None), ("gpt2", None), ("base", "base")])
def test_lora_trains_thin_matrices_only_and_is_merged_when_saved(folders, here, kind, init, capsys):
    pytest.importorskip("peft")
    data = lines(here / "d.jsonl", DEMOS)
    argv = ["--objective", "sft", "--init", init or folders[kind], "--data", data, "--steps", 4,
            "--batch-size", 4, "--save-every", 2, "--lora", 2, "--checkpointing", *QUICK]
    assert call(train.main, *argv, "--out", here / "a") == 0
    assert "LoRA of rank 2" in capsys.readouterr().out
    kept = load_file(here / "a/steps/2/model.safetensors").keys()
    assert all("lora_" in n or kind == "gpt2" and n.endswith(("wte.weight", "lm_head.weight"))
               for n in kept), \
        "a step keeps what is trained: with new chat tokens their embeddings, too"
    model, start = (start_model(str(here / "a"), adapter=True)[0],
                    start_model(str(init or folders[kind]), True)[0])
    assert dict(model.named_parameters()).keys() == dict(start.named_parameters()).keys()
    moved = [n for (n, p), q in zip(model.named_parameters(), start.parameters())
             if not torch.equal(p, q)]
    assert moved and all(p.dim() == 2 for n, p in model.named_parameters() if n in moved)
    assert call(train.main, *argv[:argv.index("--lora")], *QUICK, "--out", here / "b") == 0
    same(losses(here / "a")[0], losses(here / "b")[0], "LoRA begins as the model itself", 1e-6)


def test_lora_adds_twice_the_product_and_the_merged_model_says_the_same(folders):
    """W + 2 B A; where ids are new, their embeddings are trained, too."""
    pytest.importorskip("peft")
    model, _ = start_model(str(folders["gpt2"]))
    name = "net.transformer.h.0.mlp.c_fc"
    before = model.get_submodule(name).weight.clone()                   # Conv1D: (in, out)
    model.add_lora(2, seed=0)
    layer, ids = model.get_submodule(name), torch.arange(8)[None]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert not b.any() and model.wte.weight.requires_grad \
        and not layer.base_layer.weight.requires_grad
    b.data.normal_()
    apart = model(ids)
    model.merge()
    same(model.get_submodule(name).weight, before + 2 * (b @ a).T, "the merged matrix", 1e-5)
    same(model(ids), apart, "the merged model", 1e-4)


def test_a_frozen_base_is_held_in_bf16_and_is_its_own_reference(folders, here, monkeypatch):
    """Half of its bytes; no second copy of it in a run that samples; the adapter that is saved,
    read by peft on the rounded base, says what the merged model says."""
    peft = pytest.importorskip("peft")
    model, _ = start_model(str(folders["llama"]))
    n, whole = model.n_params(), sum(p.numel() * p.element_size() for p in model.parameters())
    model.add_lora(2, seed=0)
    model.keep_frozen_in(torch.bfloat16)
    thin = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert whole == 4 * n and sum(p.numel() * p.element_size() for p in model.parameters()) \
        == 2 * n + 4 * thin
    for module in (sampling, setup):
        monkeypatch.setattr(module, "copy", None)  # which would copy the policy
    argv = ["--objective", "rloo", "--init", folders["llama"], "--rows", 12, "--steps", 4,
            "--batch-size", 4, "--lr", 0.1, "--max-new", 5, "--lora", 2, "--dtype", "bf16",
            "--reward", here / "r.py:r", *QUICK]
    (here / "r.py").write_text("def r(prompts, answers): return [len(a) for a in answers]")
    assert call(train.main, *argv, "--out", here / "a") == 0
    kl = [line["kl_exact"] for line in metrics(here / "a") if "grad_norm" in line]
    assert kl[0] == 0 < kl[-1], "the start model is the one without adapters"
    base, ids = hf.AutoModelForCausalLM.from_pretrained(
        folders["llama"]).bfloat16().float(), torch.arange(8)[None]
    net = peft.PeftModel.from_pretrained(base, here / "a/adapter").eval()
    same(start_model(str(here / "a"))[0](ids), net(ids).logits, "the adapter is what was merged",
         1e-4)


def test_lora_of_a_mixture_of_experts_is_merged_and_of_a_mamba_one_line(tmp_path):
    pytest.importorskip("peft")
    mixtral = small_folder(tmp_path / "x",
                           lambda V: hf.MixtralConfig(vocab_size=V, num_local_experts=3, **SMALL))
    model, ids = start_model(mixtral)[0], torch.arange(8)[None]
    model.add_lora(2, seed=0)
    for name, p in model.named_parameters():
        p.data += 0.1 * torch.randn_like(p) if "lora_B" in name else 0
    apart = model(ids)
    model.merge()
    same(model(ids), apart, "merged weights are the same model", 1e-4)
    assert not any("lora" in name for name, _ in model.named_parameters())
    mamba = small_folder(tmp_path / "m",
                         lambda V: hf.MambaConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2,
                                                  state_size=4))
    with pytest.raises(UserError, match="--lora does not work with Mamba"):
        start_model(mamba)[0].add_lora(2, seed=0)


# ---- what cannot be read -------------------------------------------------------------------------
def config(**changed):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    return change


def template(text: str):
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def weights(change):
    """The first matrix of the file, changed."""
    def rewrite(folder):
        stored = load_file(folder / "model.safetensors")
        name = next(n for n, x in stored.items() if x.dim() == 2)
        save_file(stored | {name: change(stored[name])}, folder / "model.safetensors",
                  metadata={"format": "pt"})
    return rewrite


def no_tokenizer(folder):
    for file in [*folder.glob("tokenizer*"), *folder.glob("chat*")]:
        file.unlink()


def no_spaces(folder):
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pre_tokenizer": None}))


BOMBS = {"a number": "{{ 9**(9**9) }}", "a text": "{{ 'a' * (3 * 10**9) }}",
         "marked": "{% generation %}{{ 9**(9**9) }}{% endgeneration %}",
         "while it runs": "{% for m in messages %}{{ m['content'] * 4000000000 }}{% endfor %}"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_that_takes_too_much_is_refused_in_time(folders, here, name):
    """In a process that the system kills: constants are computed while a template is compiled."""
    folder = shutil.copytree(folders["llama"], here / "m")
    template(BOMBS[name])(folder)
    with pytest.raises(UserError, match="took more than 5 seconds or 1 GiB"):
        start_model(str(folder))


BAD = {"a kind that nobody knows": (config(model_type="nobody"), "nobody"),
       "not causal": (config(model_type="bert"), "no causal language model"),
       "code of its own": (config(model_type="new", auto_map={"AutoConfig": "x.Y"}),
                           "no causal language model"),
       "a layer more": (config(num_hidden_layers=3), "is missing"),
       "a layer less": (config(num_hidden_layers=1), "has no place"),
       "junk": (config(num_attention_heads="x"), "no causal language model"),
       "pickled": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
                   "never loaded"),
       "half a file": (lambda f: os.truncate(f / "model.safetensors", 5000),
                       "no causal language model"),
       "not a number": (weights(lambda x: x * torch.nan), "not finite"),
       "whole numbers": (weights(lambda x: x.int()), "holds I32, no weights"),
       "no tokenizer": (no_tokenizer, "tokenizer"),
       "a tokenizer of another kind": (no_spaces, "comes back"),
       "a template that is no Jinja": (template("{% for"), "template"),
       "no end token": (template(NO_END), "no end token"),
       "a template without end": (template("{%- for a in range(99999) %}{%- for b in range(99999) "
                                           "%}{%- endfor %}"
                                           "{%- endfor %}" + CHATML), "took more than"),
       "a template that leaves turns out": (template("{{ messages[0]['content'] }}"),
                                            "leaves out a turn")}


@pytest.mark.parametrize("kind", ["Gemma", "GPTNeoX", "Qwen3"])
def test_a_folder_without_tokenizer_files_is_one_line(tmp_path, kind):
    """transformers makes an empty tokenizer for such a folder: every text would be unknown."""
    settings = getattr(hf, f"{kind}Config")(vocab_size=300, head_dim=8, **SMALL)
    hf.AutoModelForCausalLM.from_config(settings).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no tokenizer files"):
        start_model(str(tmp_path))


GEMMA = {"vocab_size_per_layer_input": 300, "hidden_size_per_layer_input": 8, "head_dim": 8,
         "num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 2, **SMALL}
REFUSED = {"Rwkv": ({"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
                    "reads padding"),
           "Gemma3nText": ({**GEMMA, "altup_num_inputs": 2, "laurel_rank": 4,
                            "activation_sparsity_pattern": [0.0] * 2}, "per-layer embeddings"),
           "Gemma4Text": ({**GEMMA, "global_head_dim": 8}, "per-layer embeddings"),
           "Llama4Text": ({**SMALL, "head_dim": 8, "moe_layers": [], "intermediate_size_mlp": 48},
                          "part its trunk")}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_would_be_computed_wrongly_is_refused(tmp_path, kind):
    size, why = REFUSED[kind]
    with pytest.raises(UserError, match=why):
        start_model(
            small_folder(tmp_path, lambda V: getattr(hf, f"{kind}Config")(vocab_size=V, **size)))


def test_a_model_with_a_cache_of_its_own_reads_everything_again(tmp_path):
    """MiniMax refuses keys and values of another class; its answers are those without a cache."""
    folder = small_folder(tmp_path, lambda V: hf.MiniMaxConfig(
        vocab_size=V, num_local_experts=2, head_dim=8, block_size=8,
        layer_types=["full_attention", "linear_attention"], **SMALL))
    model, tok = start_model(folder)
    prompt = tok.prompt_ids((Turn("user", "a"),))
    (answer,) = generate(model, [prompt], stop=-1, pad=tok.pad, max_new=5)
    with torch.no_grad():
        for i, token in enumerate(answer.ids):
            ids = torch.tensor([[*prompt, *answer.ids[:i]]])
            assert model.net(ids, use_cache=False).logits[0, -1].argmax() == token


@pytest.mark.parametrize("routers", [True, False])
def test_the_loss_of_routers_is_left_out_aloud(tmp_path, routers, capsys):
    folder = small_folder(tmp_path, lambda V: hf.MixtralConfig(vocab_size=V, num_local_experts=2,
                                                               output_router_logits=routers,
                                                               **SMALL))
    setup.adapted(Train(), None, *start_model(folder), torch.float32)
    assert ("note: the loss of its routers" in capsys.readouterr().out) == routers


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_folder_is_one_line(folders, here, bad, capsys, monkeypatch):
    monkeypatch.setattr(hf_tokenizer, "SECONDS", 1)                   # of a template without end
    change, word = BAD[bad]
    change(shutil.copytree(folders["llama"], here / "m"))
    data = lines(here / "d.jsonl", DEMOS)
    code = call(train.main, "--objective", "sft", "--init", here / "m", "--data", data, "--steps",
                1, *QUICK)
    one_error(code, capsys.readouterr().err, word)
    assert not (here / "out").exists()


def test_flags_and_extras_that_are_missing_are_one_line(folders, here, tiny_base, capsys,
                                                        monkeypatch):
    argv = ["--objective", "sft", "--rows", 8, "--steps", 1, *QUICK]
    half = ["--init", folders["llama"], "--freeze", "half"]
    one_error(call(train.main, *argv, *half), capsys.readouterr().err, "--lora")
    one_error(call(train.main, *argv, "--lora", 4, "--freeze", "half"), capsys.readouterr().err,
              "give one")
    monkeypatch.setitem(sys.modules, "peft", None)
    one_error(call(train.main, *argv, "--lora", 4), capsys.readouterr().err,
              "pip install nanouft[hf]", "peft")
    monkeypatch.setitem(sys.modules, "transformers", None)
    for more in (["--init", folders["llama"]], ["--checkpointing"]):
        one_error(call(train.main, *argv, *more), capsys.readouterr().err,
                  "pip install nanouft[hf]", "transformers")
    assert start_model(str(tiny_base))[0].cfg.n_embd == 32, "our own folders need neither"


def test_a_row_that_the_template_refuses_is_skipped_and_named(folders):
    tok = start_model(str(folders["llama"]))[1]
    rows = [r.__class__(prompt=r.prompt, answer=r.answer) for r in DATA[:3]]
    rows[1] = rows[1].__class__(prompt=(*rows[1].prompt, Turn("critic", "7")),
                                answer=rows[1].answer, where="d, line 2")
    encoded, report = encode(demo_rows(rows, None), tok, 128)
    assert len(encoded) == 2 and any("line 2" in line for line in report.lines(128))
    with pytest.raises(UserError, match="critic"):
        tok.chat(rows[1].prompt, rows[1].answer)
    with pytest.raises(UserError, match="1 of 3 rows do not fit .* or its chat template refuses "
                       "them"):
        Models(None, NANO.pad, CPU, start_model).mean_logp(
            [SimpleNamespace(row=r) for r in demo_rows(rows, None)], [str(folders["llama"])])


def test_tools_and_thoughts_are_written_and_marked_by_the_template_itself(tmp_path, folders):
    """Without marks they are refused with a remedy, and beginnings of two kinds are said."""
    call_it = '[{"function": {"name": "f", "arguments": "{\\"x\\": 2}"}}]'
    answer = (Turn("shown", call_it), Turn("tool", "7"),
              Turn("assistant", "<think>hm</think>Seven."))
    tok = start_model(str(make(tmp_path / "m", "llama", TOOLS)))[1]
    ids, mask = tok.chat((Turn("user", "What?"),), answer)
    assert tok.decode(ids) \
        == ("<|im_start|>user\nWhat?<|im_end|><|im_start|>assistant\nf(2)<|im_end|><|im_start|>tool"
            "\n7<|im_end|><|im_start|>assistant\n(hm)Seven.<|im_end|>")
    assert tok.decode([i for i, m in zip(ids, mask) if m]) == "(hm)Seven.<|im_end|>"
    asked = tok.prompt_ids((Turn("user", "What?"), *answer[:2]))
    assert ids[:len(asked)] == asked and "teaches it not to think" in tok.about
    for turns in (answer[1:], (Turn("tool", "<|im_end|>"), answer[2])):
        with pytest.raises(UserError, match="generation|control token"):
            (tok if "im_end" in turns[0].text
             else start_model(str(folders["qwen2"]))[1]).chat(DIALOGUE[:1], turns)
    twice = TOOLS.replace("'<think></think>'", "('<think></think>' if loop.last else '')")
    assert "earlier answers in another way" in start_model(
        str(make(tmp_path / "t", "llama", twice)))[1].about
