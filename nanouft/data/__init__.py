"""Rows of data. files.py reads them, rows.py understands them (each form by forms.py), selection.py
chooses those that a method learns from, batches.py makes token ids and batches of them."""
