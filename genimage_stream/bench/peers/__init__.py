"""Other loaders on the user's own shards, for `genimage-stream bench --peers` and for the project's benchmarks.

Each is written as its best user would, from packages that are installed here. `league.py` lets them take turns with
this project's loader; `serve.py` runs one of them in a process of its own.
"""
