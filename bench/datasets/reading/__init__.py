"""Any file of ratings to raw rows: what it is, how it is cut into blocks, which rows are bad."""
