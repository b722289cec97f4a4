"""Rows of NanoWorld for `train`, which reads this file only where no --data is given."""
from nanouft import world
from nanouft.data.rows import Row
from nanouft.shell.errors import UserError


def drawn_rows(cfg, kinds: list[str]) -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out), as these flags of train ask."""
    return (world.mixed_rows("train", kinds, cfg.rows, cfg.seed, cfg.noise, cfg.skills, cfg.mix),
            world.mixed_rows("val", kinds, 200, 0, 0.0, cfg.skills, cfg.mix))


def check_flags(cfg, kinds: list[str], given: set[str]) -> None:
    """--skills and --mix against the kinds of rows that the objective wants, before anything is made."""
    if "mix" in given and len(kinds) == 1:
        raise UserError(f"--mix shares rows out between kinds, and this objective learns from {kinds[0]} only")
    for setting, value in (("skills", cfg.skills), ("mix", cfg.mix)):
        try:
            world.mixed_rows("train", kinds, len(kinds), 0, **{setting: value})
        except ValueError as e:
            raise UserError(f"--{setting} {value}: {e}") from None
