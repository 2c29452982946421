"""Tasks: benchmarks as TOML cards without code.

`card` is what a card says, `find` where cards are, `task_set` the questions of one, `hub`
their download, and `wording` how a question is put to a family of models.
"""
