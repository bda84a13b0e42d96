"""What goes over the wire: requests, answers, and the fields that they are made of."""
