"""Question sets over tables: rows of cells, whatever file they come from.

`columns` says which column is which part of a question, `cells` reads one cell, `rows` the
files, and `table_set` makes a `QuestionSet` of them.
"""
