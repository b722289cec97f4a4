"""A model that answers, and what it calls itself: folder, objective, step.

    voice = Voice("out/ift", device)
    voice.say(turns, cfg)                       # [(answer, remark)]; cfg: sample.Sample
"""
from pathlib import Path

from nanouft.data.rows import Turn
from nanouft.models.load import folder_of, start_model
from nanouft.rewards import best_of
from nanouft.rewards.scorer import Scorer
from nanouft.run import devices
from nanouft.run.storage import read_json
from nanouft.sampling import generate, stops


class Voice:
    """A model that answers, and what it calls itself."""

    def __init__(self, init: str, device: devices.Device):
        self.model, self.tok = start_model(init)
        self.model.to(device.name).eval()
        self.name = model_name(init)

    def say(self, turns: tuple[Turn, ...], judge: Scorer | None = None, n: int = 1, plain: bool = False,
            max_new: int = 96, **draws) -> list[tuple[str, str]]:
        """[(text, remarks)] of n answers; with a judge, of the best of n. `draws`: temperature, top_k, top_p, seed.
        `plain`: the last turn goes on as a text, without a chat template."""
        ids = self.tok.text_ids(turns[-1].text) if plain else self.tok.prompt_ids(turns)
        answers = generate(self.model, [ids] * n, stop=self.tok.stops, pad=self.tok.pad, max_new=max_new, **draws)
        said = [(self.tok.decode(a.ids).strip(), "" if stops(a, self.tok) else "   (does not stop)") for a in answers]
        if judge is None:
            return said
        likes = judge([turns[-1].text] * len(said), [text for text, _ in said])
        text, remark = said[int(best_of.choose(likes))]
        return [(text, f"   reward {likes.max():.3g}, mean of {len(said)}: {likes.mean():.3g}" + remark)]


def model_name(init: str) -> str:
    """Folder, objective and step, as its run.json tells."""
    if init == "base":
        return "base (shipped)"
    run = run_about(init)
    if run.get("command") == "train":
        return f"{init} ({run.get('objective')}, step {run.get('steps')})"
    return f"{init} ({'pretrained' if run else 'model folder'})"


def run_about(init: str) -> dict:
    """What run.json tells of a folder; {} where there is none."""
    file = Path(init) / "run.json"
    return read_json(file) if file.exists() else {}


def run_settings(init: str) -> dict:
    """The settings of the run in a folder; {} for any other folder."""
    values = run_about(init).get("config")
    return values if isinstance(values, dict) else {}


def start_of(init: str) -> list[str]:
    """The model that a run began with, if it is still there."""
    first = str(run_settings(init).get("init"))
    return [first] if (folder_of(first) / "config.json").is_file() else []
