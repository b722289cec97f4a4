"""Other people's models, with their tokenizers and chat templates: Llama, Qwen, Mistral ... through transformers.

Optional: models/load.py imports this room, and only for such a folder or for --lora. Without it all else runs.
"""
from nanouft.hf.model import read_transformers
from nanouft.hf.tokenizer import TransformersTokenizer

__all__ = ["TransformersTokenizer", "read_transformers"]
