"""The life of one job: each change of its document, and what is kept beside the document."""
