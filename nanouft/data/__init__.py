"""Rows of data, in three forms: a dictionary, a Row, token ids. files.py and hf_datasets.py read
dictionaries, fields.py has the contract of their fields, rows.py makes a Row (row.py) of each,
holdout.py holds some out, selection.py chooses those that a method learns from, report.py tells the
user, batches.py makes token ids and batches of them."""
