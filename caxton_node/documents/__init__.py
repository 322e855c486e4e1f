"""Text that people write by hand, as plain values that know where they stand.

Agent files and settings come in TOML, YAML front matter or JSON. This package reads them into
JSON values and remembers the place of every key, so that whoever checks the values can say
line and column. It knows nothing of agents or settings, and it reads no file.
"""
