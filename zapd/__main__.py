"""`python -m zapd` is the command `zapd`."""

from zapd.cli import main

raise SystemExit(main())
