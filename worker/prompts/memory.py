"""How much is remembered of what was found of a word: prompts bring new ones for as long as a service runs."""

MOST_REMEMBERED = 1 << 16  # a function: some 10 MB at most, and more words than are in common use
