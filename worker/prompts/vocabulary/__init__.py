"""Word lists of the entity extractor and of the matching rule, written for text-to-video prompts.

Plain data: to teach the extractor a word, add it to the list whose comment fits it.
"""
