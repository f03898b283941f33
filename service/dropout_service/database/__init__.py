"""The SQL database that jobs, datasets and models share: metadata, engine, clock, migrations."""
