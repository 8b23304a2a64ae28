"""What was asked, counted and timed, as records, and the document that holds them. No torch."""
