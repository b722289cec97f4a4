"""Rows of data. files.py reads items from files, fields.py has the contract of their fields,
rows.py makes rows of them, holdout.py holds some out, selection.py chooses those that a method
learns from, report.py tells the user, batches.py makes token ids and batches of them."""
