"""`python -m genimage_stream`."""

from genimage_stream.cli import main

main()
