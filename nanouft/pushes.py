"""How hard a method pushes each token of one answer, and which way.

    python -m nanouft.pushes --init out/sft     # sft, ift, ift as released, dpo
    python -m nanouft.pushes --show sft "ift --lam 0.5" kto grpo
    python -m nanouft.pushes --prompt "..." --answer "..." --rejected "..."

One training step pushes each token of an answer up or down. The push is the gradient of the loss
with respect to the token's log-prob, times -1 (-dL/dlogp_t). A push above 0 makes the token more
likely, one below 0 less likely. Pushes are scaled by the number of response tokens (of a pair:
those of the chosen answer), so SFT pushes every token by 1. The command prints and draws them.
"""
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanouft.data.rows import Row
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity, say
from nanouft.run.flags import parse

if TYPE_CHECKING:                           # --help does not wait for torch
    from nanouft.pictures.plots import Strip

SHOWN = ["sft", "ift", "ift --variant released", "dpo"]


@dataclass
class PushesFlags:
    init: str = "base"              # the model: base, a run or a model folder
    prompt: str | None = None       # the prompt [one of NanoWorld's list questions]
    answer: str | None = None       # the answer to train on [the right one]
    rejected: str | None = None     # the worse answer of a pair [--answer without its last word]
    show: list[str] | None = None   # methods with their flags [sft, ift, ift as released, dpo]
    out: str = "out/pushes.png"     # file of the picture
    device: str = "cpu"             # auto | cpu | cuda | mps


def main(argv: list[str] | None = None) -> int:
    cfg = parse(PushesFlags, argv, "python -m nanouft.pushes", __doc__)
    # Here, so that --help does not wait for torch.
    from nanouft.models.folders import start_model
    from nanouft.pictures import plots
    from nanouft.run.device import choose_device
    from nanouft.run.token_pushes import chance_to_end, parse_methods, token_pushes
    device, row = choose_device(cfg.device, "fp32"), row_of(cfg)
    prompt = row.prompt[0].text
    model, tok = start_model(cfg.init)
    model.to(device.name)
    say(what_is_read(cfg.init))
    strips = [(text, which, tokens, weights)
              for text, objective in parse_methods(cfg.show or SHOWN, cfg.init)
              for which, tokens, weights in token_pushes(objective, row, model, tok, device)]
    say(f"The question: {prompt}")
    say("What one training step does: a number above 0 makes the token more likely,",
        "one below 0 less likely. SFT pushes every token by 1.", sep="\n")
    for text, which, tokens, weights in strips:
        answer = "answer" if which == "answer" else f"{which.removesuffix(' answer')} answer"
        say(f"\n{text}: the {answer}")
        for i in range(0, len(tokens), plots.SIDE_BY_SIDE):
            row_of_tokens = slice(i, i + plots.SIDE_BY_SIDE)
            say("".join(f"{plots.token_name(token):>11}" for token in tokens[row_of_tokens]))
            say("".join(f"{weight:>+11.2f}" for weight in weights[row_of_tokens]))
    chance = 100 * chance_to_end(model, tok, row)
    note = (f"{prompt}\nOne step on this answer (chance to end after it: {chance:.0f} %). "
            "Blue, + : more likely.  Orange, − : less likely.")
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    say(f"\npicture: {plots.draw_pushes(strips, Path(cfg.out), finding(strips), note)}")
    return 0


def row_of(cfg: PushesFlags) -> Row:
    """The prompt and its answers, as given or from NanoWorld."""
    from nanouft import world
    from nanouft.models.tokenizer import Turn
    prompt = cfg.prompt or world.rows("test", "prompts", 9, 0, skills=("list",))[0].prompt[-1].text
    try:
        answer = cfg.answer or world.right_answer(prompt)
    except ValueError:
        raise UserError("--answer is needed: the right answer is known only for NanoWorld's "
                        "prompts") from None
    better = world.as_answer(answer)
    worse = world.as_answer(cfg.rejected or " ".join(answer.split()[:-1]) or "no")
    return Row((Turn("user", prompt),), better, better, worse)


def finding(strips: "list[Strip]") -> str:
    """The title of the picture: the methods that push the last token of the right answer least
    and most."""
    from nanouft.pictures.plots import display_name, with_sign
    last = strips[0][2][-1]
    at_end = {display_name(method): weights[-1] for method, which, _, weights in strips
              if which in ("answer", "chosen", "good answer")}
    low, high = min(at_end, key=at_end.__getitem__), max(at_end, key=at_end.__getitem__)
    way = "down" if at_end[low] < 0 else "up"
    return (f"{low} pushes {last} {way} ({with_sign(at_end[low])}), {high} up "
            f"({with_sign(at_end[high])})")


def what_is_read(init: str) -> str:
    """The model of --init in a line, such as "out/ift: ift, 1 step". The folder may hold another
    run than the reader remembers."""
    from nanouft.plumbing.files import read_json
    if init == "base":
        return "base: the shipped base"
    file = Path(init) / "run.json"
    run = read_json(file, objective=str, steps=int) if file.is_file() else {}
    if "objective" not in run or "steps" not in run:
        return f"{init}: a model folder"
    return f"{init}: {run['objective']}, {quantity(run['steps'], 'steps')}"


if __name__ == "__main__":
    sys.exit(command(main))
