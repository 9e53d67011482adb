"""How the tools speak to people: progress on standard error, tables on standard output."""
