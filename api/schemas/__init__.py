"""The API's data: requests, answers, and their fields."""
