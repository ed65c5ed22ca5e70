"""The demo's mail server keeps what comes, however hostile, so that people can read it."""

from __future__ import annotations

import re
import smtplib
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.demo.mailbox import Mailbox, slug


def made_mail(subject: str = "Lek: wachtwoord op X") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = "Merkwacht <merkwacht@zonnehoek.example.com>"
    mail["To"] = "Crisisteam <crisis@zonnehoek.example.com>, pers@zonnehoek.example.com"
    mail["Date"] = "Fri, 13 Nov 2026 10:35:00 +0000"
    mail.set_content("Er is iets gebeurd.\n\nKijk snel: één keer.")
    mail.add_alternative(
        "<html><body class='a'><p>Er is <b>iets</b> gebeurd.</p></body></html>", subtype="html"
    )
    return mail


def test_a_mail_over_smtp_is_kept_as_eml_and_html_and_listed(tmp_path: Path) -> None:
    with Mailbox(tmp_path / "mails") as mailbox:
        assert "Nothing has arrived yet" in mailbox.index.read_text(encoding="utf-8")
        with smtplib.SMTP("127.0.0.1", mailbox.port) as smtp:
            numbered = made_mail()
            numbered["X-Merkwacht-Incident"] = "7"
            smtp.send_message(numbered)
            smtp.send_message(made_mail("Crisis: hummus én salmonella 🚨"))
        first, second = mailbox.mails
    assert first.name == "01-lek-wachtwoord-op-x"
    assert second.name == "02-crisis-hummus-en-salmonella"
    assert second.subject == "Crisis: hummus én salmonella 🚨"
    assert first.to == ("crisis@zonnehoek.example.com", "pers@zonnehoek.example.com")
    assert mailbox.when(first) == "Fri 13 Nov 2026 11:35"
    kept = BytesParser(policy=policy.default).parsebytes(
        (mailbox.folder / f"{second.name}.eml").read_bytes()
    )
    assert kept["Subject"] == second.subject
    page = (mailbox.folder / f"{second.name}.html").read_text(encoding="utf-8")
    assert "<p>Er is <b>iets</b> gebeurd.</p>" in page
    assert "Crisis: hummus én salmonella 🚨" in page
    assert (first.incident, second.incident) == ("7", None)
    mailbox.grade({"7": "critical"})
    index = mailbox.index.read_text(encoding="utf-8")
    assert index.count('<li class="critical">') == 1
    assert 'href="02-crisis-hummus-en-salmonella.html"' in index
    assert "Friday 13 November 2026" in index
    assert "11:35" in index
    assert "Kijk snel: één keer." in index


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"Subject: ../../etc/passwd", "../../etc/passwd"),
        (b"Subject: <script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"Subject: =?utf-8?b?PGI+aMOpPC9iPg==?=", "<b>hé</b>"),
        (b"Subject: =?nosuchset?q?caf=E9?=", "café"),
        (b"Subject: =?utf-8?b?abcde?=", "=?utf-8?b?abcde?="),
        (b"Subject: a\r\n b\x00c\x1b[31m", "a b c [31m"),
        (b"Subject: " + "omgekeerd \u202egnp".encode(), "omgekeerd gnp"),
        (b"X-None: 1", "(no subject)"),
    ],
)
def test_a_hostile_subject_gives_safe_files_and_a_safe_page(
    tmp_path: Path, raw: bytes, shown: str
) -> None:
    mailbox = Mailbox(tmp_path / "mails")
    mail = mailbox.keep(raw + b"\r\nDate: never\r\n\r\n<script>x</script>\r\n", ("a@b.example",))
    assert mail.subject == shown
    assert mail.to == ("a@b.example",)
    assert mail.sent_at is None
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted([f"{mail.name}.eml", f"{mail.name}.html", "index.html"])
    for page in (mailbox.index, mailbox.folder / f"{mail.name}.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


@given(subject=st.binary(max_size=300).filter(lambda b: b"\n" not in b and b"\r" not in b))
@settings(max_examples=80, deadline=None)
def test_any_subject_is_kept_under_a_plain_name(
    tmp_path_factory: pytest.TempPathFactory, subject: bytes
) -> None:
    mailbox = Mailbox(tmp_path_factory.mktemp("mails"))
    mail = mailbox.keep(b"Subject: " + subject + b"\n\nx\n")
    assert re.fullmatch(r"01-[a-z0-9-]{1,60}", mail.name)
    assert "\n" not in mail.subject
    assert (mailbox.folder / f"{mail.name}.eml").exists()


def test_a_picture_within_a_mail_is_shown_in_its_page(tmp_path: Path) -> None:
    mail = made_mail()
    page = mail.get_body(("html",))
    assert isinstance(page, EmailMessage)
    page.set_content('<body><img src="cid:chart.1@here" alt=""></body>', subtype="html")
    page.add_related(b"\x89PNG", "image", "png", cid="<chart.1@here>")
    with Mailbox(tmp_path / "mails") as mailbox:
        kept = mailbox.keep(mail.as_bytes())
    shown = (tmp_path / "mails" / f"{kept.name}.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,iVBORw=="' in shown
    assert "cid:" not in shown


def test_a_folder_that_cannot_be_written_is_a_try_again_later(tmp_path: Path) -> None:
    with Mailbox(tmp_path / "mails") as mailbox:
        # A folder in the way of the file: refused for root too, unlike a missing permission.
        (mailbox.folder / "01-lek-wachtwoord-op-x.eml").mkdir()
        with (
            smtplib.SMTP("127.0.0.1", mailbox.port) as smtp,
            pytest.raises(smtplib.SMTPDataError) as refused,
        ):
            smtp.send_message(made_mail())
    assert refused.value.smtp_code == 451
    assert mailbox.mails == []


def test_a_mail_without_an_html_part_shows_its_text(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mail = mailbox.keep(
        b"Subject: kort\nContent-Type: text/plain; charset=utf-8\n\n1 < 2 \xe2\x82\xac\n"
    )
    assert "1 &lt; 2 €" in (tmp_path / f"{mail.name}.html").read_text(encoding="utf-8")
    assert slug("!!!") == "mail"
