"""The size of caches of results by word: prompts bring new words for as long as a service runs."""

MOST_REMEMBERED = 1 << 16  # per function: 10 MB at most, and more words than are in common use
