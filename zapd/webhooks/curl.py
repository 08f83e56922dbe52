"""A delivery as a curl command for a person to try by hand. Pure.

It has the headers and the body as they would go out now, signed. What is secret stays out: the values of the
endpoint's own headers are placeholders, and the signature is good for the receiver's tolerance of five minutes only.
"""

import shlex
from collections.abc import Sequence


def command(url: str, headers: Sequence[tuple[str, str]], body: bytes, *, hidden: Sequence[str]) -> str:
    """The command; headers in `hidden` get a shell variable instead of their value."""
    names = {name.lower() for name in hidden}
    lines = [f"curl --include --request POST {shlex.quote(url)}", "--header 'Content-Type: application/json'"]
    for name, value in headers:
        if name.lower() in names:
            variable = "".join(c if c.isalnum() else "_" for c in name).upper()
            lines.append(f'--header {shlex.quote(name + ": ")}"${{{variable}}}"')
        else:
            lines.append(f"--header {shlex.quote(f'{name}: {value}')}")
    text = body.decode("utf-8", "replace")
    lines.append(f"--data-binary {shlex.quote(text)}")
    return " \\\n  ".join(lines) + "\n"
