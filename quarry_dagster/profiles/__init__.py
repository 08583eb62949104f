"""Hardware profiles: the settings of one kind of machine, and which of them are used."""
