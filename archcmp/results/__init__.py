"""Results as records: what was asked, what was counted and timed, and the document that holds it. No torch."""
