"""The page's model and losses, run by node, beside torch and this project's losses: log-probs, pushes, gradients, steps.

Both sides have the same weights, those in the page: one byte each.
"""
import dataclasses
import json
import shutil
from copy import deepcopy

import pytest
import torch
from browser import node
from running import one_error
from tiny import CPU, FORMS, NANO, Form, give_logps, real_batch, same, settings

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.gpt import NANO as SIZES
from nanouft.gpt import GPT
from nanouft.ledger import entries
from nanouft.models.generate import answer_rows
from nanouft.models.save import write_gpt
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES, sftmix
from nanouft.playground import __main__ as playground
from nanouft.playground import pack
from nanouft.reference import add_columns
from nanouft.shell.config import run

STEPS = [("sft", {}), ("ift", {"variant": "released"}), ("ift", {})]
LR = 5e-4
GIVEN = [name for name, o in OBJECTIVES.items() if not o.on_policy and name not in ("neftune", "sftmix")]   # no draws
MUTANTS = [("model.js", "mean - along * unit", "mean + along * unit"), ("model.js", "slope[j] - mean)", "slope[j])"),
           ("model.js", "1 - t[i] ** 2", "1 - t[i]"), ("model.js", "if (!frozen)", "if (frozen)"),
           ("losses.js", "slope += x.slope * derivative", "slope += derivative")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder with data.json, policy.bin and a model folder; the content of the page; model of its weights; another)."""
    place = tmp_path_factory.mktemp("playground")
    data, base = pack.content(place), GPT(SIZES)
    base.load_state_dict(pack.weights_of(data))
    (place / "data.json").write_text(json.dumps(data))
    write_gpt(place / "base", base)
    NANO.save(place / "base")
    policy, rng = deepcopy(base), torch.Generator().manual_seed(1)
    for p in policy.parameters():                       # a policy that has moved away from its start
        p.data += 0.02 * torch.randn(p.shape, generator=rng)
    flat = torch.cat([p.detach().flatten() for p in policy.parameters()])
    (place / "policy.bin").write_bytes(flat.numpy().tobytes())
    return place, data, base, policy


def js(made, code: str, web=playground.WEB, policy: bool = False, seconds: float = 300):
    """`out` after this code, which finds a Model in `model` and the page's content in `data`."""
    begin = f"""const fs = require("fs"), data = JSON.parse(fs.readFileSync("{made[0]}/data.json", "utf8"));
        const {{ Model, Pass }} = require("{web}/model.js"), model = new Model(data);"""
    if policy:
        begin += f"""const b = fs.readFileSync("{made[0]}/policy.bin");
            model.flat.set(new Float32Array(b.buffer, b.byteOffset, b.length / 4));"""
    return node(begin + code, seconds)


# ---- pure losses -----------------------------------------------------------------------------------------------------
def situation(form: Form, batch) -> dict:
    """A batch as losses.js reads it: rows of sequences, each with its numbers on response tokens."""
    def known(i: int) -> dict:
        c, s = batch.col, next(iter(batch.seqs.values()))
        score = c.label if c.score is None else c.score
        adv = c.adv if s.adv is None else s.adv[i][s.mask[i] > 0]
        found = {"score": score, "reward": score, "label": c.label, "p": c.p, "adv": adv, "untied": c.extra.get("untied"),
                 "reading": c.extra.get("prompt_embedding"), "aligned": c.extra.get("aligned_logp")}
        found = {k: x if k == "adv" and s.adv is not None else x[i] for k, x in found.items() if x is not None}
        if "returns" in s.extra:
            found["returns"] = s.extra["returns"][i][s.mask[i] > 0]
        return {k: x.tolist() for k, x in found.items()}

    def numbers(role: str, i: int) -> dict:
        s = batch.seqs[role]
        per_token = {"logp": s.logp, "ref": s.ref, "old": s.old, "plain": s.extra.get("plain_logp"),
                     "reward": s.extra.get("token_reward")}
        out = {k: x[i][s.mask[i] > 0].tolist() for k, x in per_token.items() if x is not None}
        whole = getattr(form.hp, "nll", "") == "all" and role == "chosen"
        out["before"] = s.logp[i][(s.attend - s.mask)[i] > 0].tolist() if whole else []
        return out | ({"share": float(s.extra["share"][i][0])} if "share" in s.extra else {})
    return {"rows": [{"seqs": {role: numbers(role, i) for role in batch.seqs}, **known(i)} for i in range(batch.rows)]}


def test_every_loss_in_every_form_has_pythons_value_and_derivatives():
    forms = [f for f in FORMS if (f.name, getattr(f.hp, "feedback", "")) != ("una", "pair")]
    assert {f.name for f in forms} == set(OBJECTIVES)
    batches = [give_logps(real_batch(f), seed=1) for f in forms]
    asked = [[f.name, dataclasses.asdict(f.hp), situation(f, b)] for f, b in zip(forms, batches)]
    got = node(f"""const {{ backward }} = require("{playground.WEB}/losses.js");
        out = {json.dumps(asked)}.map(([name, hp, batch]) => {{
            const seqs = batch.rows.flatMap((row) => Object.values(row.seqs));
            for (const s of seqs) s.picks = [...s.before, ...s.logp].map(() => ({{}}));
            return [backward(name, hp, batch), seqs.map((s) => s.picks.map((pick) => pick.slope))]; }})""")
    for form, batch, (loss, slopes) in zip(forms, batches, got):
        theirs = iter(slopes)
        ours = pushes(form.objective, batch, form.hp)
        same(loss, form.objective.loss(batch, form.hp)[0].detach(), f"{form}: the loss", 1e-6)
        for i in range(batch.rows):
            for role, s in batch.seqs.items():
                at = s.attend if getattr(form.hp, "nll", "") == "all" and role == "chosen" else s.mask
                want = -ours[role][i][at[i] > 0] if role in ours else torch.zeros(int(at[i].sum()))
                same(next(theirs), want, f"{form}, {role}: the derivative", 1e-6)


# ---- the model -------------------------------------------------------------------------------------------------------
def rows_of(data: dict, n: int) -> list[Row]:
    """The first demonstrations of the page as rows of every kind that it makes of them."""
    pairs = world.rows("train", "pairs", pack.DEMOS, 0, skills=("list",))[:n]
    assert [NANO.prompt_ids(row.prompt) for row in pairs] == [d["prompt"] for d in data["demos"][:n]]
    return pairs


def settings_of(name: str, place, dials: dict):
    wanted = OBJECTIVES[name].prerequisite
    return settings(name, **({wanted.setting: [str(place / "base")] * len(wanted.commands)} if wanted else {}), **dials)


def test_a_look_is_the_ledger_for_every_objective_and_dial(made, monkeypatch):
    """Pushes and chances; each dial at its default, its ends and each of its words."""
    place, data, base, policy = made
    monkeypatch.setattr(sftmix, "uniform_rows", lambda batch, B, T: torch.full((B, T), 0.3))
    views = [(o["name"], {}) for o in data["objectives"]] + [
        (o["name"], {dial["name"]: value}) for o in data["objectives"] for dial in o["dials"]
        for value in dial.get("choices") or (dial["low"], dial["high"]) if value != dial["default"]]
    q = data["questions"][1] | {"other": NANO.chat((), world.said("No."))[0][1:], "lam": 0.2061073738537635}
    q["drawn"] = [{"answer": q["answer"], "reward": 1, "ended": 1}, {"answer": q["rejected"], "reward": 0, "ended": 1}]
    del q["score"]                                      # the ledger takes wrong answers for worth nothing
    got = js(made, f"out = {json.dumps(views)}.map(([name, dials]) => model.look({json.dumps(q)}, name, dials))",
             policy=True)
    answer, rejected = (world.said(NANO.decode(q[side][:-1]).strip()) for side in ("answer", "rejected"))
    row = Row((world.Turn("user", q["text"]),), answer, answer, rejected)
    for (name, dials), look in zip(views, got):
        strips = entries(name, settings_of(name, place, dials), row, policy, NANO, CPU, base)
        roles = [r["role"] for r in look["roles"]]
        law = f"{name} {dials}"
        assert name == "uft" or len(strips) == len(roles), law
        for (role, pieces, want), theirs in zip(strips, look["roles"]):
            assert name in ("uft", "reinforce", "rloo") or role.startswith("mix") or True
            same(theirs["pushes"], torch.tensor(want), f"{law}: pushes of {role}", 1e-3)
            assert [data["pieces"][i] for i in theirs["tokens"]] == pieces, law
    nats = js(made, f"const q = {json.dumps(q)}; out = Array.from(model.logprobs(q.prompt, q.answer))", policy=True)
    encoded, _ = encode(OBJECTIVES["sft"].rows([row], None), NANO, 512)
    batch = collate(encoded, [0], NANO.pad)
    OBJECTIVES["sft"].forward(policy, batch, settings("sft"))
    s = batch.seqs["answer"]
    same(nats, s.logp[s.mask > 0].detach(), "the log-probs of an answer", 1e-5)


def python_step(made, name: str, dials: dict, n: int, double: bool = True):
    """(loss, gradient norm) of the first n demonstrations, in fp64."""
    place, data, base, policy = made
    model = deepcopy(policy).double()
    hp, objective = settings_of(name, place, dials), OBJECTIVES[name]
    rows = rows_of(data, n)
    if objective.kinds(hp)[-1] in ("scores", "labels"):
        rows = [Row(r.prompt, side, score=score, label=bool(score == 1)) for r in rows
                for side, score in ((r.chosen, 1.0), (r.rejected, 2 - 2 * r.p))]
        if name == "kto":
            rows = [dataclasses.replace(r, score=None) for r in rows]
    encoded, _ = encode(objective.rows(rows, hp), NANO, 512)
    add_columns(encoded, objective.columns, base, NANO.pad, CPU, hp)
    batch = collate(encoded, range(len(encoded)), NANO.pad).each(lambda x: x.double() if x.is_floating_point() else x)
    objective.forward(model, batch, hp)
    loss, _ = objective.loss(batch, hp)
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    return loss.item(), norm.item()


def first_step(made, asked: list, web=playground.WEB) -> list:
    return js(made, f"""const moved = model.flat.slice(); out = {json.dumps(asked)}.map(([name, dials]) => {{
        model.reset(); model.flat.set(moved);
        const {{ loss, norm }} = model.step(data.demos.slice(0, 3), name, dials, 0); return [loss, norm]; }})""", web, True)


def test_loss_and_gradient_of_a_step_are_pythons(made):
    asked = [(name, {}) for name in GIVEN] + [("ift", {"variant": "released"}), ("sft", {"detach_embeddings": True})]
    for (name, dials), (loss, norm) in zip(asked, first_step(made, asked)):
        want = python_step(made, name, dials, 3)
        same(loss / want[0], 1, f"{name} {dials}: the loss", 1e-5)
        same(norm / want[1], 1, f"{name} {dials}: the length of the gradient", 1e-5)


@pytest.mark.parametrize("file, old, new", MUTANTS)
def test_a_fault_on_the_way_back_is_noticed(made, tmp_path, file, old, new):
    web = shutil.copytree(playground.WEB, tmp_path / "web")
    code = (web / file).read_text()
    assert code.count(old) == 1
    (web / file).write_text(code.replace(old, new))
    norm, want = first_step(made, [("ift", {})], web)[0][1], python_step(made, "ift", {}, 3)[1]
    assert abs(norm / want - 1) > 1e-3


def trained(made, name: str, dials: dict, steps: int):
    """Losses and norms of torch on the same rows, and the model."""
    model, objective, hp = deepcopy(made[2]), OBJECTIVES[name], settings(name, **dials)
    encoded, _ = encode(objective.rows(rows_of(made[1], pack.DEMOS), hp), NANO, 512)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0)
    out = []
    for step in range(steps):
        batch = collate(encoded, range(8 * step, 8 * step + 8), NANO.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        out.append([loss.item(), torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()])
        optimizer.step()
    return out, model


@pytest.mark.parametrize("name, dials", STEPS)
@pytest.mark.parametrize("steps", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_steps_are_those_of_torch_and_who_stops(made, name, dials, steps):
    """After 16 steps: SFT stops in 6 of 6 questions, released IFT in none, detached IFT in all."""
    losses, said = js(made, f"""const steps = [], six = data.questions.slice(0, 6);
        for (let k = 0; k < {steps}; k++) {{
            const {{ loss, norm }} = model.step(data.demos.slice(8 * k, 8 * k + 8), "{name}", {json.dumps(dials)}, {LR});
            steps.push([loss, norm]); }}
        out = [steps, six.map((q) => model.say(q.prompt, {{ most: 26 }}))]""")
    want, model = trained(made, name, dials, steps)
    same(torch.tensor(losses)[:, 0], torch.tensor(want)[:, 0], f"{name} {dials}: the losses", 2e-3)
    rows = world.rows("val", "prompts", pack.QUESTIONS, 0, skills=("list",))[:6]
    theirs = [a.ids + [NANO.end] * a.ended for a in answer_rows(model, NANO, rows)]
    assert [a[:6] for a in said] == [b[:6] for b in theirs]
    if steps == 16:
        stops = sum(NANO.end in a and NANO.user not in a for a in said)
        assert stops == (0 if dials else 6)


def test_answers_and_scores(made):
    """Typed with a cache and read at once are one thing; a seed draws the same answer again; the score is exact."""
    place, data, base, _ = made
    greedy, twice, scores = js(made, """const q = data.questions, say = (seed) => model.say(q[1].prompt, {sample: true, seed});
        const best = (ids) => { const pass = new Pass(data.config, model.weights), pick = {id: 0, from: [[ids.length - 1, 1]]};
            pass.head(pass.hidden([{ids, T: ids.length, past: 0, at: 0}]), [pick]); return pick.best; };
        const said = model.say(q[1].prompt, {most: 12});
        out = [[said, said.map((_, k) => best([...q[1].prompt, ...said.slice(0, k)]))], [say(1), say(1), say(2)],
            data.demos.map((d) => [d.answer, d.rejected].map((a) => losses.score(d.task, a, data)))]""".replace(
        "losses.score", f'require("{playground.WEB}/losses.js").score'))
    assert greedy[0] == greedy[1] and len(greedy[0]) == 12
    assert twice[0] == twice[1] != twice[2]
    assert scores == [[1, d["score"]] for d in data["demos"]] and len({s for _, s in scores}) > 2


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_page_is_one_file(here, capsys):
    (here / "file").write_text("x")
    assert run(playground.main, ["--out", "file"]) == 2
    assert "--out file: is a file" in one_error(capsys)
    assert run(playground.main, ["--out", "new/page"]) == 0
    text = (here / "new" / "page" / "index.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1.6e6 and "/*DATA*/" not in text and text.count("function product(") == 1
