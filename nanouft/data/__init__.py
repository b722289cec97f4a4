"""Rows of data. files.py reads them, rows.py understands them by one contract, holdout.py
holds some out, selection.py chooses those that a method learns from, report.py tells the user,
batches.py makes token ids and batches of them."""
