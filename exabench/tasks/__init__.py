"""Tasks: the table of test collections and suites, and where their texts and judgements are read."""
