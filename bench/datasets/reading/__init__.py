"""Reading ratings from files of many formats: recognising, parsing, reporting bad rows."""
