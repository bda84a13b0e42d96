"""`chai bulk`: a whole list of prompts, overnight if need be."""
