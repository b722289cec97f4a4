"""Plans are ini files: read_ini(Path("out/compare/sft-dpo/plan.ini"))["compare"]["arms"]."""
import configparser
from pathlib import Path

from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text


def read_ini(file: Path) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(delimiters="=", interpolation=None)
    ini.optionxform = str               # type: ignore[assignment]  # names keep their capitals
    try:
        ini.read_string(read_text(file))
    except configparser.Error as e:
        raise UserError(f"{file}: is no plan ({' '.join(str(e).split())})") from None
    return ini
