"""`genimage-stream bench`: how fast this machine feeds a detector from these shards, and the bottleneck.

`run.py` measures: `storage.py` reads without decoding, `loading.py` decodes from memory and loads end to end.
`verdict.py` names the bottleneck; `page.py` and `terminal.py` show the figures.
"""
