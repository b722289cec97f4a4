"""python -m nanouft: what can be run."""
import sys

from nanouft.shell.config import run

COMMANDS = {
    "train": "fine-tune with any objective: --objective ift (the main job), --objective list",
    "evaluate": "exact scores of a model, probes; held-out figures on your data",
    "sample": "answers side by side, chat",
    "ledger": "how hard each objective pushes each token",
    "reward": "a reward model from pairs: accuracy, calibration",
    "overoptimise": "exact score against learnt reward, best-of-n and PPO",
    "compare": "every method over seeds -> one table, one page",
    "cost": "gradient tokens and FLOPs of a run, counted",
    "claims": "the papers' claims as fixed contrasts over seeds and bases",
    "pretrain": "make a base: NanoWorld's, or one on your text",
    "world": "examples of NanoWorld with scores",
    "tokenizer": "how a text is cut",
    "bench": "speed, as ratios",
}


def main(argv=None) -> int:
    print("nanouft has these commands; each explains itself with --help:")
    for name, text in COMMANDS.items():
        print(f"  python -m nanouft.{name:<10} {text}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
