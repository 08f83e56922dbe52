"""E-mail over SMTP, one connection for each: mails are few, and a server that went away is noticed at once."""

import asyncio
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

from zapd.errors import ZapdError

MAX_RECIPIENTS = 20


class MailFailed(ZapdError):
    """The mail did not leave. `final`: trying again cannot help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Mailer:
    """Sends by one SMTP server. `tls` is none, starttls or tls."""

    def __init__(
        self, *, host: str, port: int, tls: str, user: str, password: str, sender: str, timeout: float
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._user = user
        self._password = password
        self._sender = sender
        self._timeout = timeout

    async def send(self, *, to: str, subject: str, text: str, html: str = "", key: str = "") -> str:
        """Send one mail; returns what the server said. `key` goes into its Message-ID, so that a repeat can be seen.

        Raises MailFailed.
        """
        if not self._host:
            raise MailFailed("there is no mail server: set [email] host", final=True)
        message = self._message(to, subject, text, html, key)
        import aiosmtplib  # noqa: PLC0415  # loaded by the first mail: an idle daemon does without it

        try:
            async with asyncio.timeout(self._timeout):
                _, said = await aiosmtplib.send(
                    message,
                    hostname=self._host,
                    port=self._port,
                    use_tls=self._tls == "tls",
                    start_tls=self._tls == "starttls",
                    username=self._user or None,
                    password=self._password or None,
                    timeout=self._timeout,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise MailFailed(f"the server refused the address: {codes}", final=min(codes, default=0) >= 500) from None
        except aiosmtplib.SMTPResponseException as error:
            raise MailFailed(f"the server said {error.code} {error.message}"[:300], final=error.code >= 550) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"the mail server could not be reached: {type(error).__name__}") from None
        except TimeoutError:
            raise MailFailed(f"the mail server took more than {self._timeout:g} s") from None
        return said[:200]

    def _message(self, to: str, subject: str, text: str, html: str, key: str) -> EmailMessage:
        addresses = [address.strip() for address in to.split(",") if address.strip()]
        bare = [parseaddr(address)[1] for address in addresses]
        if not addresses or len(addresses) > MAX_RECIPIENTS or not all("@" in address for address in bare):
            raise MailFailed("the event has no e-mail address where one was looked for", final=True)
        message = EmailMessage()
        try:
            message["From"], message["To"], message["Subject"] = self._sender, ", ".join(addresses), subject
        except ValueError:
            raise MailFailed("the address or the subject holds a line break", final=True) from None
        message["Date"] = formatdate(usegmt=True)
        domain = parseaddr(self._sender)[1].rpartition("@")[2] or "localhost"
        message["Message-ID"] = f"<{key}@{domain}>" if key else make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text or subject)
        if html:
            message.add_alternative(html, subtype="html")
        return message
