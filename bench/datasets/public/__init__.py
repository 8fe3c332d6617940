"""Public data sets: the catalogue's table, downloads, archives, and files of odd forms."""
