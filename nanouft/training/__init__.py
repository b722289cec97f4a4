"""What train.py needs beside the loop: its flags, which rows, which weights stay."""
