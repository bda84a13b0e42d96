"""Limits that more than one part checks."""

A_CENTURY = 36_525  # days: longer than any record or retention, and within the range of dates
