"""What all tables share."""

from sqlalchemy import MetaData

metadata = MetaData()
#: Marks the columns whose bytes are encrypted under the tenant's data key: see `sealing.py`.
SEALED = "sealed"
BODY = {SEALED: True}
