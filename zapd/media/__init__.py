"""Files of messages: taken in (upload, URL, received), kept under their hash, checked, handed out by signed link."""
