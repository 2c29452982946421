"""Question sets over tables: rows of cells, whatever file they come from.

`columns` says which column is which part of a question, `cells` reads one cell and
`reading` one row, there is a module for each kind of file, and `table_set` makes a
`QuestionSet` of their rows.
"""
