"""What doctor looks at, a module a subject. Each gives rows; none imports NumPy, a model library or a worker's code."""
