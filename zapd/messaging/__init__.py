"""THE LIFE OF A MESSAGE, in the order of its files: submit.py, send.py, receive.py, receipts.py.

`submit` commits the message with its job and answers. The queue `message:send` claims the job and `send` hands the
message to its account, with what it refers to (`enclosed.py`). What the provider tells later comes in as raw bytes
through `receive`, is kept with its job in one commit, and is read after: a reply becomes an inbound message, a receipt
moves the message forward in `receipts`. Every step announces itself (`zapd/announce.py`), and whoever subscribed gets
a signed webhook.
"""
