"""The parts of the report's page, a file each; every one has `section(...)`, which gives a headed Section."""
