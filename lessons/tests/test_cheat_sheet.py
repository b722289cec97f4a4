"""Each equation of the cheat sheet is that of the code: value and gradient, on random batches.

The letters that all equations share are computed by their own formulas, too. What comes from the
code instead: PPO's whitened advantages and returns (GAE is a recursion; the tests of parity have
it) and Ada-DPO's u (its equation is below).
"""
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from formula import Known, value
from running import ROOT
from tiny import settings
from torch import Tensor

from lessons.cheat_sheet import __main__ as sheet
from lessons.cheat_sheet import draw
from nanouft import pretrain, reward
from nanouft.eval.plots import plt
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ada_dpo import root
from nanouft.objectives.distill import teacher_gap
from nanouft.objectives.rpo import shares

LINES = {line.name: line for line in sheet.lines()}
TRAINED = OBJECTIVES | {"pretrain": pretrain.NEXT_TOKEN, "reward": reward.BRADLEY_TERRY}
SHORT = {"w": "chosen", "l": "rejected"}                # roles by their letters
LONG = {letter: word for word, letter in sheet.LETTERS.items()}
SETTINGS = {"lam_D": "desirable_weight", "lam_U": "undesirable_weight", "K": "samples"}
# Changes of no effect: l_t stands twice in a product; TOFU's forward cuts g_t off before the loss.
EQUAL = {("ift --variant algorithm1", "l_t"), ("tofu", "sg")}
SHARED = {sheet.printed(x): sheet.printed(told) for x, told in sheet.shared()[0].items()}


# ---- a random step -------------------------------------------------------------------------------
def answers(rng: torch.Generator, rows: int, T: int = 9) -> Seqs:
    """Prompts of 1 or 2 tokens, answers of 2 or more, some with a second turn; padding behind."""
    def below_0() -> Tensor:
        return -torch.empty(rows, T, dtype=torch.float64).exponential_(1.5, generator=rng)
    place, ends = torch.arange(T), torch.randint(5, T + 1, (rows, 1), generator=rng)
    real = (place < ends).double()
    mask = real * (place >= 1 + torch.arange(rows)[:, None] % 2)
    mask[::3, 3] = 0
    ids, logp = torch.zeros(rows, T, dtype=torch.long), below_0()
    moved = 0.2 * torch.randn(rows, T, generator=rng, dtype=torch.float64)
    extra = {"token_reward": below_0() + 1, "plain_logp": below_0(), "values": below_0(),
             "old_values": below_0(), "teacher": below_0()}
    return Seqs(ids, ids, mask, real, logp, ref_logp=below_0(), sampled_logp=logp + moved,
                extra=extra)


def batch_of(name: str, hp) -> Batch:
    """A step with every role and column that a method might read."""
    rng, on_policy = torch.Generator().manual_seed(len(name)), TRAINED[name].on_policy
    rows = 3 * hp.samples if on_policy else 6

    def column(*size: int) -> Tensor:
        return torch.rand(*(size or (rows,)), generator=rng, dtype=torch.float64)
    col = Columns(score=column(), label=torch.arange(rows).double() % 2, p=column(),
                  ended=column().round(), reward=column(2 * rows if name == "reward" else rows),
                  extra={"aligned_logp": -column(), "prompt_embedding": column(rows, 4)})
    if on_policy:
        s = answers(rng, rows)
        s.extra["teacher_gap"] = teacher_gap(s, lambda **_: s.sampled_logp, s.logp,
                                             lambda *_, **__: s.extra["teacher"], hp)
        col.reward[:hp.samples] = 0.5                   # a group in which all earn the same
        return TRAINED[name].credit(Batch.of({"answer": s}, col), hp)
    seqs = {role: answers(rng, rows) for role in
            "answer chosen rejected gold mismatch sure unsure mix_sure mix_unsure text".split()}
    seqs["text"].mask = torch.ones_like(seqs["text"].mask)
    mixed = seqs["mix_unsure"].mask = seqs["mix_sure"].mask
    share = column(rows, 1)
    seqs["mix_sure"].extra["share"] = share * mixed
    seqs["mix_unsure"].extra["share"] = (1 - share) * mixed
    return Batch.of(seqs, col)


# ---- what the letters stand for ------------------------------------------------------------------
def tokens(s: Seqs, x: Tensor) -> Tensor:
    """Probabilities from log-probs; 1 off the mask."""
    return x.masked_fill(s.mask == 0, 0).exp()


def reduction(name: str, s: Seqs, K: int):
    """A sum or mean over tokens, rows or groups."""
    def each_token(x: Tensor) -> Tensor:
        return s.sum(x.expand(s.mask.shape))[:, None]

    def groups(x: Tensor, of) -> Tensor:
        return of(x.view(-1, K), -1, keepdim=True).expand(-1, K).reshape(-1, 1)
    return {"Σ_t": each_token, "mean_t": lambda x: each_token(x) / s.mask.sum(-1, keepdim=True),
            "mean": lambda x: each_token(x).sum() / s.mask.sum(), "mean_i": torch.mean,
            "Σ_j": lambda x: x.sum(-1, keepdim=True), "mean_j": lambda x: x.mean(-1, keepdim=True),
            "mean_K": lambda x: groups(x, torch.mean), "std_K": lambda x: groups(x, torch.std),
            }[name]


def token_mean(batch: Batch, names: list[str]) -> Tensor:
    """NLL(names): of these roles; "prompt" adds the prompt's tokens."""
    roles = [batch.seqs[name] for name in names if name != "prompt"]
    masks = [s.real if "prompt" in names else s.mask for s in roles]
    total = sum((s.logp * mask).sum() for s, mask in zip(roles, masks))
    return -total / sum(mask.sum() for mask in masks)


def given(name: str, batch: Batch, hp, s: Seqs, role: str) -> dict[str, Tensor]:
    """What the batch says: (B,T) of tokens, (B,1) of rows."""
    col, extra = batch.per_row, batch.per_row.extra
    out = {"mask": s.mask, "t": s.mask.cumsum(-1), "N": s.mask.sum(-1, keepdim=True),
           "p_t": tokens(s, s.logp), "ref_t": tokens(s, s.ref_logp),
           "old_t": tokens(s, s.sampled_logp), "teacher_t": tokens(s, s.extra["teacher"])}
    out |= {x: getattr(col, x)[:, None] for x in ("score", "label", "p", "reward")
            if getattr(col, x) is not None}
    out |= {x: extra[column][:, None] for x, column in
            (("A_aligned", "aligned_logp"), ("untied", "untied")) if column in extra}
    if name == "tofu":
        out |= {"p_t": tokens(s, s.extra["plain_logp"]), "q_t": tokens(s, s.logp)}
    if name == "sftmix":
        out |= {x: tokens(batch.seqs[r], batch.seqs[r].logp)
                for x, r in (("m_t", "mix_sure"), ("m'_t", "mix_unsure"))}
        out["λ"] = s.extra["share"].amax(-1, keepdim=True)
    if name == "tis_dpo":
        out |= {"d_t": s.extra["token_reward"], "μ": torch.tensor(1 - 2 * (role == "rejected"))}
    if name == "ppo":
        out |= {"A_t": s.token_advantage, "G_t": s.extra["returns"], "v_t": s.extra["values"],
                "V_t": s.extra["old_values"]}
    if name == "rpo":
        e = extra["prompt_embedding"]
        out |= {"e_i": e[:, None], "e_j": e[None], "D_ij": shares(len(e), hp.diagonal_weight, e)}
    if name == "reward":
        out["R_w"], out["R_l"] = col.reward[:, None].chunk(2)
    if name == "ada_dpo":
        out["u"] = torch.tensor(root(hp.rho), dtype=torch.float64)
    return out


def setting(name: str, hp, letter: str) -> Tensor | None:
    """The setting of a method that a letter stands for."""
    field = "_".join(LONG.get(part, part) for part in letter.split("_"))
    field = SETTINGS.get(field, field)
    if name == "robust_dpo" and field == "eps":
        field = "label_smoothing"
    if name == "grpo" and field == "eps_high" and hp.eps_high is None:
        field = "eps"
    return torch.tensor(getattr(hp, field), dtype=torch.float64) if hasattr(hp, field) else None


def known(line: sheet.Line, batch: Batch, hp, role: str) -> Known:
    """What each name of the equation is, for the answers of a role."""
    name = line.name.split()[0]
    formulas = SHARED | dict(x.split(" = ", 1) for x in line.told if " = " in x)
    s = batch.seqs.get(role) or next(iter(batch.seqs.values()))
    told = given(name, batch, hp, s, role)

    def read(word: str) -> Tensor:
        if word.startswith("NLL"):
            return token_mean(batch, word[4:-1].split(", "))
        if re.match("mean|std|Σ", word):
            return reduction(word, s, getattr(hp, "samples", 1))
        if word.endswith(("[i]", "[j]")):
            x = read(word[:-3])
            return x if word.endswith("[i]") else x.T
        if word in told:
            return told[word]
        if word in formulas:
            return value(formulas[word], read)
        if (x := setting(name, hp, word)) is not None:
            return x
        base, _, of = word.rpartition("_")
        return known(line, batch, hp, {**SHORT, "mismatch": "mismatch"}[of])(base)
    return read


def telling(line: sheet.Line, hp):
    """Settings of the equation that are 0 or 1 get a value that can be seen."""
    text = " ".join([LINES[line.name].loss, *LINES[line.name].formulas.values()])
    fields = {SETTINGS.get(x, x) for x in re.findall(sheet.NAME, text)}
    changed = {x: 0.7 for x in fields if getattr(hp, x, None) in (0.0, 1.0)}
    return replace(hp, **changed) if changed else hp


# ---- equation and code ---------------------------------------------------------------------------
def with_gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """The loss, then its gradient by each leaf."""
    found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [loss.detach(), *found]


def gap(line: sheet.Line) -> float:
    """The largest difference of equation and code, in the loss or its gradient."""
    name, *changed = line.name.split()
    hp = reward.Reward() if name == "reward" else settings(name) if name in OBJECTIVES else None
    hp = telling(line, replace(hp, **{changed[0][2:]: changed[1]}) if changed else hp)
    batch = batch_of(name, hp)
    leaves = [s.logp.requires_grad_() for s in batch.seqs.values()]
    leaves += [s.extra["values"].requires_grad_() for s in batch.seqs.values()]
    if name == "reward":
        leaves.append(batch.per_row.reward.requires_grad_())
    role = {"sftmix": "mix_sure", "pretrain": "text"}.get(name, "answer")
    told = value(line.told[0].removeprefix("L = "), known(line, batch, hp, role)).mean()
    ours = TRAINED[name].loss(batch, hp)[0]
    pairs = zip(with_gradients(told, leaves), with_gradients(ours, leaves))
    return max((a - b).abs().max().item() for a, b in pairs)


def changes(line: sheet.Line) -> Iterator[tuple[str, sheet.Line]]:
    """The line with one sign turned, one function or one factor left out."""
    for key, text in {"": line.loss, **line.formulas}.items():
        for m in re.finditer(r" [-+] |(?<!\de)-|sg(?=\()|log |beta (?=\()|lam |alpha ", text):
            if {(line.name, key), (line.name, m[0])} & EQUAL:
                continue
            other = {"-": "+", "+": "-"}.get(m[0].strip(), "")
            new = f"{text[:m.start()]} {other} {text[m.end():]}"
            yield f"{key} {new}", (replace(line, formulas=line.formulas | {key: new}) if key
                                   else replace(line, loss=new))


@pytest.mark.parametrize("name", LINES)
def test_an_equation_is_the_loss_of_the_code(name):
    assert gap(LINES[name]) < 1e-9
    others = list(changes(LINES[name]))
    assert others, "nothing in it can be changed"
    for told, line in others:
        assert not gap(line) < 1e-6, f"{told}: not seen"


def test_every_method_has_an_equation_and_a_reason():
    assert {name.split()[0] for name in LINES} == TRAINED.keys()
    assert LINES.keys() == sheet.WHEN.keys()


def test_the_page_and_the_readme_name_every_method():
    page = (ROOT / "docs" / "cheat_sheet.md").read_text(encoding="utf-8")
    assert page == sheet.page(), "python -m lessons.cheat_sheet"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for title in sheet.FAMILIES:
        names = ", ".join(f"`{name}`" for name in OBJECTIVES if sheet.family(name) == title)
        assert f"- **{title}**: {names}\n" in readme, f"README's line of {title}"


def test_the_picture_is_two_pages_and_no_words_run_into_others():
    blocks = draw.blocks_of(sheet.lines(), sheet.letters())
    placed, fig = draw.pages(blocks), plt.figure()
    assert [block for page in placed for _, block in page] == blocks and len(placed) == 2
    for row in (row for block in blocks for row in block.rows):
        ends = [draw.write(fig, text, 0) for text in row]
        limits = [*(text.x for text in row[1:]), draw.RIGHT + 3]
        assert all(end < limit for end, limit in zip(ends, limits)), [text.words for text in row]
    assert min(text.get_fontsize() for text in fig.texts) >= 7
    plt.close(fig)
    drawn = (ROOT / "docs" / "cheat_sheet.pdf").read_bytes()
    assert draw.mark(blocks).encode() in drawn, "python -m lessons.cheat_sheet"


def test_u_of_ada_dpo():
    u = root(0.2)
    left = math.log(2 / (1 + math.exp(-u))) - u / (1 + math.exp(u))
    assert abs(left - 0.2) < 1e-9 and f"{u:.3f} at rho .2" in LINES["ada_dpo"].words["u"]
