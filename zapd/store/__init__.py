"""All SQL: tables, migrations, the group-commit writer, and one Store per aggregate. Rows never leave this package."""
