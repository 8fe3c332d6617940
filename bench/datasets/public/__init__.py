"""Public data sets: the table of what is known of them, downloads, archives, unusual layouts."""
