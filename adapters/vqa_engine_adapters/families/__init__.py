"""What is true of a family of models whichever library runs it; no model library is imported."""
