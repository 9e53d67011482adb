"""`make docs`: the manual as a site, made from docs/, the docstrings, the command lines and what the tools write."""
