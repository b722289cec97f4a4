"""Other people's models, tokenizers and chat templates, through transformers. Optional."""
from nanouft.hf.model import read_transformers as read_transformers
from nanouft.hf.tokenizer import TransformersTokenizer as TransformersTokenizer
