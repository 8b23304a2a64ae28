"""The page: a document, or several, as one HTML file that needs nothing else. Each part of it is one function
in `sections.SECTIONS`."""
