"""The page's model and losses, run by node, beside torch and this project's losses: chances,
pushes, gradients, steps. Both sides have the weights of the page, one byte each.
"""
import base64
import json
import shutil
from copy import deepcopy
from dataclasses import asdict

import numpy as np
import pytest
import torch
from browser import node
from tiny import CPU, FORMS, NANO, VARIANTS, give_logps, read, real_batch, same, settings

from nanouft import gpt, world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.ledger import entries
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES, grpo, sftmix
from nanouft.playground import __main__ as playground
from nanouft.playground import pack
from nanouft.reference import Models, add_columns
from nanouft.run.config import run
from nanouft.sampling import answer_rows

WEB = playground.WEB
PAIRS = world.rows("train", "pairs", pack.DEMOS, 0, skills=("list",))
ASKED = world.rows("val", "prompts", pack.QUESTIONS, 0, skills=("list",))[:6]
DRAWS = {"neftune", "sftmix"}                       # their random numbers are torch's
GIVEN = [(name, {}) for name, o in OBJECTIVES.items() if not o.on_policy and name not in DRAWS]
GIVEN += [("ift", {"variant": "released"}), ("sft", {"detach_embeddings": True}),
          ("rpo", {"form": "diagonal"})]
MUTANTS = [("model.js", "mean - along * unit", "mean + along * unit"),
           ("model.js", "slope[j] - mean)", "slope[j])"), ("model.js", "1 - t[i] ** 2", "1 - t[i]"),
           ("model.js", "if (!frozen)", "if (frozen)"),
           ("losses.js", "slope += x.slope * derivative", "slope += derivative")]


def weights_of(data: dict) -> dict[str, torch.Tensor]:
    whole = np.frombuffer(base64.b64decode(data["weights"]), np.int8).reshape(-1, data["group"])
    flat = torch.tensor(whole * np.frombuffer(base64.b64decode(data["scales"]),
                                              np.float32)[:, None]).flatten()
    parts = flat.split([int(np.prod(shape)) for _, shape in data["shapes"]])
    return {name: part.view(shape) for (name, shape), part in zip(data["shapes"], parts)}


class Made:
    """The content of the page in files; models with its weights (`base`) and with others
    (`policy`)."""
    def __init__(self, place):
        self.place, self.data, self.base = place, pack.content(place), gpt.GPT(gpt.NANO)
        self.base.load_state_dict(weights_of(self.data))
        self.policy, rng = deepcopy(self.base), torch.Generator().manual_seed(1)
        for p in self.policy.parameters():
            p.data += 0.02 * torch.randn(p.shape, generator=rng)
        (place / "data.json").write_text(json.dumps(self.data))
        flat = torch.cat([p.detach().flatten() for p in self.policy.parameters()])
        (place / "policy.bin").write_bytes(flat.numpy().tobytes())
        write_gpt(place / "base", self.base)
        save_tokenizer(NANO, place / "base")

    def js(self, code: str, web=WEB):
        """`out` after this code, where `base()` and `policy()` give fresh models and `data` is the
        page's content."""
        return node(f"""const read = (name) => require("fs").readFileSync("{self.place}/" + name);
            const data = JSON.parse(read("data.json")), bytes = Uint8Array.from(read("policy.bin"));
            const {{ Model, Pass }} = require("{web}/model.js");
            const {{ score }} = require("{web}/losses.js"), base = () => new Model(data);
            const policy = () => {{
                const m = base(); m.flat.set(new Float32Array(bytes.buffer)); return m; }};
            {code}""", 300)

    def settings(self, name: str, dials: dict):
        """Wherever other models are asked, the page asks its base."""
        wanted = OBJECTIVES[name].prerequisite
        base = [str(self.place / "base")]
        folders = {wanted.setting: base * len(wanted.commands)} if wanted else {}
        return settings(name, **folders, **dials)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("playground"))


def situation(form, batch) -> dict:
    """A batch as losses.js reads it: rows of sequences, each with its numbers on response
    tokens."""
    first, col = next(iter(batch.seqs.values())), batch.per_row
    grade = col.label if col.score is None else col.score
    whole = {"score": grade, "reward": grade, "label": col.label, "p": col.p, "adv": col.advantage,
             **{ours: col.extra.get(theirs)
                for ours, theirs in (("untied", "untied"), ("reading", "prompt_embedding"),
                                     ("aligned", "aligned_logp"))}}

    def on_mask(s, i: int, **numbers) -> dict:
        return {k: x[i][s.mask[i] > 0].tolist() for k, x in numbers.items() if x is not None}

    def sequence(role: str, s, i: int) -> dict:
        found = on_mask(
            s,
            i,
            logp=s.logp,
            ref=s.ref_logp,
            old=s.sampled_logp,
            plain=s.extra.get("plain_logp"),
            reward=s.extra.get("token_reward"),
        )
        prompt = read(form, role, s)[i] & (s.mask[i] == 0)
        share = {"share": float(s.extra["share"][i][0])} if "share" in s.extra else {}
        return found | share | {"before": s.logp[i][prompt].tolist(),
                                "picks": [{} for _ in s.inputs[i]]}
    return {
        "rows": [
            {
                "seqs": {role: sequence(role, s, i) for role, s in batch.seqs.items()},
                **{k: x[i].tolist() for k, x in whole.items() if x is not None},
                **on_mask(first, i, adv=first.token_advantage, returns=first.extra.get("returns")),
            }
            for i in range(batch.rows)
        ]
    }


def test_every_loss_in_every_form_has_pythons_value_and_derivatives():
    forms = [f for f in FORMS if (f.name, getattr(f.hp, "feedback", "")) != ("una", "pair")]
    batches = [give_logps(real_batch(f), seed=1) for f in forms]
    asked = [[f.name, asdict(f.hp), situation(f, b)] for f, b in zip(forms, batches)]
    got = node(f"""const {{ backward }} = require("{WEB}/losses.js");
        const slopes = (s) =>
            s.picks.slice(0, s.before.length + s.logp.length).map((x) => x.slope);
        out = {json.dumps(asked)}.map(([name, hp, batch]) => [backward(name, hp, batch),
            batch.rows.map(({{ seqs }}) => Object.values(seqs).map(slopes))])""")
    assert {f.name for f in forms} == set(OBJECTIVES) \
        and len(forms) > len(OBJECTIVES) + len(VARIANTS)
    for form, batch, (loss, slopes) in zip(forms, batches, got):
        ours = pushes(form.objective, batch, form.hp)
        same(loss, form.objective.loss(batch, form.hp)[0].detach(), f"{form}: the loss", 1e-6)
        for i, theirs in enumerate(slopes):
            for (role, s), slope in zip(batch.seqs.items(), theirs):
                want = -ours[role][i] if role in ours else torch.zeros_like(s.mask[i])
                same(slope, want[read(form, role, s)[i]], f"{form}, {role}: the derivative", 1e-6)


def test_a_look_is_the_ledger_for_every_objective_and_dial(made, monkeypatch):
    """Each dial at its default, at its ends and at each of its words. The policy has left its
    start."""
    # lam = 1/4
    monkeypatch.setattr(sftmix, "uniform_rows", lambda batch, B, T: torch.full((B, T), 1 / 3))
    views = [(o["name"], {}) for o in made.data["objectives"]] + [
        (o["name"], {dial["name"]: value}) for o in made.data["objectives"] for dial in o["dials"]
        for value in dial.get("choices") or (dial["low"], dial["high"]) if value != dial["default"]]
    q = {k: made.data["questions"][1][k]
         for k in ("text", "prompt", "answer", "rejected")} | {"lam": 0.25}
    q["drawn"] = [{"answer": q["answer"], "reward": 1, "ended": 1},
                  {"answer": q["rejected"], "reward": 0, "ended": 1}]
    # the ledger's, for KTO
    q["other"] = {"prompt": q["prompt"], "answer": NANO.chat((), world.as_answer("No."))[0][1:]}
    looks, nats = made.js(f"""const q = {json.dumps(q)}, own = {{ ...q, other: q }};
        const model = policy(), of = (name) => name === "sftmix" ? own : q;
        out = [{json.dumps(views)}.map(([name, dials]) => model.look(of(name), name, dials)),
            model.look(q, "sft").roles[0].p.map(Math.log)]""")
    answer, rejected = (world.as_answer(NANO.decode(q[side][:-1]).strip())
                        for side in ("answer", "rejected"))
    row = Row((world.Turn("user", q["text"]),), answer, answer, rejected)
    for (name, dials), look in zip(views, looks):
        strips = entries(name, made.settings(name, dials), row, made.policy, NANO, CPU, made.base)
        for (role, pieces, want), theirs in zip(strips, look["roles"]):
            same(theirs["pushes"], torch.tensor(want), f"{name} {dials}: pushes of {role}", 1e-3)
            assert [made.data["pieces"][i] for i in theirs["tokens"]] == pieces
        left = [x for role in look["roles"][len(strips):] for x in role["pushes"]]
        # uft: its demonstration alone
        assert len(strips) <= len(look["roles"]) and (name == "uft" or not any(left))
    with torch.no_grad():
        logp = made.policy(torch.tensor([q["prompt"] + q["answer"][:-1]]))[
            0].log_softmax(-1)[-len(q["answer"]):]
    same(nats, logp.gather(1, torch.tensor(q["answer"])[:, None])[:, 0], "log-probs", 1e-5)


def python_step(made: Made, name: str, dials: dict) -> tuple[float, float]:
    """(loss, gradient norm) of the first two demonstrations, in fp64."""
    model, objective, hp, rows = deepcopy(
        made.policy).double(), OBJECTIVES[name], made.settings(name, dials), PAIRS[:2]
    if {"scores", "labels"} & set(objective.kinds(hp)):
        rows = [Row(r.prompt, side, **({"label": x == 1} if name == "kto" else {"score": x}))
                for r in rows for side, x in ((r.chosen, 1.0), (r.rejected, 2 - 2 * r.p))]
    encoded, _ = encode(objective.rows(rows, hp), NANO, 512)
    add_columns(encoded, objective.columns, Models(made.base, NANO.pad, CPU, start_model), hp)
    batch = collate(encoded, range(len(encoded)),
                    NANO.pad).map(lambda x: x.double() if x.is_floating_point() else x)
    objective.forward(model, batch, hp)
    loss, _ = objective.loss(batch, hp)
    loss.backward()
    return loss.item(), torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()


def page_step(made: Made, asked: list, web=WEB) -> list:
    return made.js(f"""out = {json.dumps(asked)}.map(([name, dials]) => {{
        const {{ loss, norm }} = policy().step(data.demos.slice(0, 2), name, dials, 0);
        return [loss, norm]; }})""", web)


def test_loss_and_gradient_of_a_step_are_pythons(made):
    for (name, dials), (loss, norm) in zip(GIVEN, page_step(made, GIVEN)):
        want = python_step(made, name, dials)
        same([loss / want[0], norm / want[1]], [1, 1],
             f"{name} {dials}: the loss, the gradient's length", 1e-5)


@pytest.mark.parametrize("file, old, new", MUTANTS)
def test_a_fault_on_the_way_back_is_noticed(made, tmp_path, file, old, new):
    web = shutil.copytree(WEB, tmp_path / "web")
    code = (web / file).read_text(encoding="utf-8")
    assert code.count(old) == 1
    (web / file).write_text(code.replace(old, new), encoding="utf-8")
    assert abs(page_step(made, [("ift", {})], web)[0][1] / python_step(made, "ift", {})[1]
               - 1) > 1e-3


@pytest.mark.parametrize("name, dials", [("sft", {}), ("ift", {"variant": "released"}),
                                         ("ift", {})])
@pytest.mark.parametrize("steps", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_steps_are_those_of_torch_and_who_stops(made, name, dials, steps):
    """After 16 steps SFT stops in 6 of 6 questions, released IFT in none, detached IFT in all."""
    losses, said = made.js(f"""const model = base(), losses = [];
        for (let k = 0; k < {8 * steps}; k += 8) {{
            const rows = data.demos.slice(k, k + 8);
            losses.push(model.step(rows, "{name}", {json.dumps(dials)}, 5e-4).loss); }}
        const say = (q) => model.say(q.prompt, {{ most: 26 }});
        out = [losses, data.questions.slice(0, 6).map(say)]""")
    model, objective, hp, want = deepcopy(made.base), OBJECTIVES[name], settings(name, **dials), []
    encoded, _ = encode(objective.rows(PAIRS, hp), NANO, 512)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0)
    for k in range(0, 8 * steps, 8):
        batch = collate(encoded, range(k, k + 8), NANO.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        want.append(loss.item())
    same(losses, want, f"{name} {dials}: the losses", 1e-3)
    assert [a[:6] for a in said] == [[*b.ids, NANO.end][:6]
                                     for b in answer_rows(model, NANO, ASKED)]
    if steps == 16:
        stops = sum(NANO.end in a and NANO.user not in a for a in said)
        assert stops == (0 if dials else 6)


@pytest.mark.parametrize("form", pack.FORMS)
def test_a_kept_rollout_is_pushed_as_grpo_pushes_it(made, form):
    """After two steps on the same answers: the ratios are not 1, `old` has stayed, and the pushes
    are Python's."""
    hp = pack.FORMS[form][1]
    fresh, old, roles = made.js(f"""const model = base(), hp = {json.dumps(asdict(hp))};
        const kept = model.rollout(data.questions[1], 6, 3);
        const look = () => model.look(kept, "grpo", hp).roles, fresh = look();
        for (let k = 0; k < 2; k++) model.step([kept], "grpo", hp, 1e-4);
        out = [fresh, kept.drawn.map((one) => one.old), look()];""")
    for one in fresh:
        same(one["logp"], torch.tensor(one["old"]), "before the first step the ratio is 1", 1e-5)
    rewards = torch.tensor([[one["reward"] for one in roles]])
    assert [one["old"] for one in roles] == old and rewards.std() > 0
    T = max(len(one["tokens"]) for one in roles)

    def padded(name):
        return torch.tensor([one[name] + [0] * (T - len(one[name])) for one in roles],
                            dtype=torch.float64)
    ids = padded("tokens").long()
    mask = torch.tensor([[float(t < len(one["tokens"])) for t in range(T)] for one in roles])
    s = Seqs(ids, ids, mask, mask, logp=padded("logp").requires_grad_(), ref_logp=padded("ref"),
             sampled_logp=padded("old"))
    adv = grpo.standardised(rewards.double(), hp.scale)[0]
    batch = Batch.of({"answer": s}, Columns(advantage=adv))
    pushed = pushes(OBJECTIVES["grpo"], batch, hp)["answer"] * mask.sum()
    assert (padded("logp") - padded("old")).abs().max() > 0.05, "the policy has moved"
    for i, one in enumerate(roles):
        same(one["pushes"], pushed[i, :len(one["pushes"])], f"{form}, answer {i}", 1e-4)


def test_a_teacher_and_the_chance_to_stop(made):
    """Distillation from another model; the mean chance of the last token of the right answers."""
    same_pushes, moved, chance = made.js("""const model = base(), { answer } = data.demos[0];
        const row = { ...data.demos[0], drawn: [{ answer, reward: 1, ended: 1 }] };
        const bars = () => model.look(row, "distill").roles[0].pushes, before = bars();
        model.teacher = policy().weights;
        out = [before, bars(), policy().stopping(data.questions)];""")
    assert not any(same_pushes), "the teacher is the model itself: nothing to learn"
    assert any(abs(x) > 0.1 for x in moved)
    probability = []
    for q in made.data["questions"]:
        with torch.no_grad():
            logits = made.policy(torch.tensor([q["prompt"] + q["answer"][:-1]]))[0]
        probability.append(logits.softmax(-1)[-1, q["answer"][-1]].item())
    assert chance == pytest.approx(np.mean(probability), rel=1e-4)


def test_answers_and_scores(made):
    """Typed with a cache and read at once are one thing; a seed draws the same answer again; the
    score is exact."""
    greedy, drawn, scores = made.js("""const model = base(), { prompt } = data.questions[1];
        const say = (seed) => model.say(prompt, { sample: true, seed });
        const best = (ids) => {
            const pass = new Pass(data.config, model.weights);
            const pick = { id: 0, from: [[ids.length - 1, 1]] };
            pass.head(pass.hidden([{ ids, T: ids.length, past: 0, at: 0 }]), [pick]);
            return pick.best; };
        const said = model.say(prompt, { most: 12 });
        const again = said.map((_, k) => best([...prompt, ...said.slice(0, k)]));
        out = [[said, again], [say(1), say(1), say(2)],
            data.demos.map((d) => [d.answer, d.rejected].map((a) => score(d.task, a, data)))]""")
    assert greedy[0] == greedy[1] and len(greedy[0]) == 12 and drawn[0] == drawn[1] != drawn[2]
    assert scores == [[1, pytest.approx(2 * (1 - row.p))] for row in PAIRS]
    assert [NANO.prompt_ids(row.prompt) for row in PAIRS] \
        == [d["prompt"] for d in made.data["demos"]]


def test_the_page_is_one_file(here):
    assert run(playground.main, ["--out", "new/page"]) == 0
    text = (here / "new" / "page" / "index.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1.6e6 and "/*DATA*/" not in text \
        and text.count("function product(") == 1
