"""Limits that more than one part checks."""

A_CENTURY = 36_525  # days: further than any record goes back, or anything should last; dates hold it
