from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imap_tools import MailMessage

from connectors.base import Post
from connectors.mailtext import Mail, Reading, direct, read_mail

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
PRESS = Reading(platform="news", reports=False, language=None)
REPORTS = Reading(platform="report", reports=True, language=None)
GOOGLE = "Google Alerts <googlealerts-noreply@google.com>"


def written(
    text: str = "",
    *,
    subject: str = "",
    html: str = "",
    sender: str = "Anna de Vries <anna@zonnehoek.example>",
    attached: EmailMessage | None = None,
    **headers: str,
) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["Subject"] = sender, subject
    if text or not html:
        message.set_content(text)
    if html and text:
        message.add_alternative(html, subtype="html")
    elif html:
        message.set_content(html, subtype="html")
    if attached is not None:
        message.add_attachment(attached)
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return message


def read(
    message: EmailMessage | bytes, reading: Reading = PRESS, received: datetime | None = NOW
) -> list[Post]:
    raw = message if isinstance(message, bytes) else message.as_bytes()
    mail = Mail(MailMessage.from_bytes(raw), received, len(raw))
    return read_mail(mail, reading, NOW)


def article(link: str, title: str, publisher: str, excerpt: str) -> str:
    """One article as Google's mails hold it."""
    wrapped = f"https://www.google.com/url?rct=j&sa=t&url={quote(link, safe='')}&ct=ga&usg=A"
    share = f"https://www.google.com/alerts/share?hl=nl&ru={quote(link, safe='')}&ss=fb"
    wrapped, share = wrapped.replace("&", "&amp;"), share.replace("&", "&amp;")
    return f"""<tr itemscope itemtype="http://schema.org/Article"><td>
      <a href="{wrapped}"><img src="https://t0.gstatic.com/x"></a>
      <a href="{wrapped}" itemprop="url"><span itemprop="name">{title}</span></a>
      <div><div itemprop="publisher"><a style="color:#737373"><span>{publisher}</span></a></div>
      <div itemprop="description">{excerpt}</div></div>
      <a href="{share}">Facebook</a> <a href="{share}">Twitter</a>
      <a href="https://www.google.com/alerts/feedback?ffu=x">Markeren als irrelevant</a></td></tr>"""


ALERT = (
    '<html><head><style>a {color: red}</style><script type="application/json">{"title": "no"}'
    '</script></head><body><table><tr><td><a href="https://www.google.com/alerts?source=alertsmail'
    '&amp;hl=nl"><img></a>&quot;zonnehoek&quot; Dagelijkse update</td></tr>NIEUWS'
    + article(
        "https://nieuws.example/1?utm_source=x",
        "<b>Zonnehoek</b> lekt &amp; zwijgt",
        "De Krant",
        "Klanten van <b>Zonnehoek</b>&nbsp;...",
    )
    + article("https://elders.example/2", "Kort nieuws", "Elders", "Ook <b>Zonnehoek</b>.")
    + '</table><a href="https://www.google.com/alerts?s=AB2">Meer resultaten</a> | '
    '<a href="https://www.google.com/alerts/edit?s=AB2">Bewerken</a> U ontvangt deze e-mail omdat '
    '<a href="https://www.google.com/alerts/remove?s=AB2">Afmelden</a></body></html>'
)


# --- Google Alerts --------------------------------------------------------------------------------


def test_a_mail_of_google_alerts_becomes_a_post_for_each_article() -> None:
    posts = read(written(html=ALERT, subject="Google Alert - zonnehoek", sender=GOOGLE))
    assert [(post.id, post.url, post.author) for post in posts] == [
        ("https://nieuws.example/1", "https://nieuws.example/1", None),
        ("https://elders.example/2", "https://elders.example/2", None),
    ]
    assert [post.text for post in posts] == [
        "Zonnehoek lekt & zwijgt\nKlanten van Zonnehoek ...",
        "Kort nieuws\nOok Zonnehoek.",
    ]


def test_a_forwarded_alert_is_read_as_well() -> None:
    quoted = f"<p>---------- Forwarded message ---------<br>Van: {GOOGLE}</p>{ALERT}"
    forward = written("Zie onder", html=quoted.replace("<googlealerts", "&lt;googlealerts"))
    assert len(read(forward)) == 2
    whole = written("Zie bijlage", attached=written(html=ALERT, sender=GOOGLE))
    assert len(read(whole)) == 2


def test_another_mail_with_a_link_through_google_is_one_post() -> None:
    html = article("https://nieuws.example/1", "Zonnehoek", "De Krant", "zonnehoek")
    [post] = read(written(html=html, subject="Knipsels"))
    assert post.id.startswith("mail:")


# --- clippings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html", "expected"),
    [
        ("Alleen tekst\n", "", "Alleen tekst"),
        ("", "<p>Een<br>twee</p><style>x</style><script>y</script>", "Een\ntwee"),
        ("Bekijk online", f"<p>{'Een heel verhaal over zonnehoek. ' * 9}</p>", None),
        ("Even vol als de ander.", "<p>Even vol als de ander.</p>", "Even vol als de ander."),
    ],
)
def test_the_fuller_of_plain_text_and_html_is_read(
    text: str, html: str, expected: str | None
) -> None:
    [post] = read(written(text, html=html))
    assert post.text == (expected or ("Een heel verhaal over zonnehoek. " * 9).strip())


def test_the_sender_counts_as_author_only_where_it_writes_to_many() -> None:
    [one] = read(
        written("x", sender="De Krant <nieuws@krant.example>", List_Id="<a.krant.example>")
    )
    [nameless] = read(written("x", sender="nieuws@krant.example", List_Unsubscribe="<https://a>"))
    [person] = read(written("x"))
    assert (one.author, nameless.author, person.author) == ("De Krant", "krant.example", None)


def test_the_one_link_of_a_mail_is_its_address_but_of_many_none_is() -> None:
    [one] = read(written("zie https://a.example/1?utm_source=mail. En weer https://a.example/1"))
    [many] = read(written("zie https://a.example/1 en https://a.example/2"))
    assert (one.url, many.url) == ("https://a.example/1", None)


@pytest.mark.parametrize(
    ("date", "published"),
    [
        ("Tue, 10 Nov 2026 12:30:00 +0100", NOW - timedelta(minutes=30)),
        ("Mon, 1 Jan 2001 00:00:00 +0000", NOW),
        ("Wed, 11 Nov 2026 12:30:00 +0100", NOW),
        ("gisteren", NOW),
        ("Tue, 10 Nov 2026 11:30:00", NOW),
    ],
)
def test_a_date_counts_only_if_it_fits_the_delivery(date: str, published: datetime) -> None:
    assert read(written("x", Date=date))[0].published_at == published
    assert read(written("x", Date=date), received=None)[0].published_at == published


def test_a_mail_keeps_its_id_and_shows_no_host() -> None:
    first = written("x", Message_ID="<1@anna.example>")
    [one], [again] = read(first), read(first)
    [other] = read(written("x", Message_ID="<2@anna.example>"))
    [bare], [twin] = read(written("x", subject="a")), read(written("x", subject="a"))
    assert one.id == again.id != other.id
    assert bare.id == twin.id
    assert "anna" not in one.id


def test_odd_character_sets_are_read() -> None:
    raw = (
        "From: a@b.example\r\nSubject: =?iso-8859-1?Q?Caf=E9?= dicht\r\n"
        "Content-Type: text/plain; charset=windows-1252\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nprijs: \x80 5"
    ).encode("latin-1")
    [post] = read(raw)
    assert post.text == "Café dicht\nprijs: € 5"


# --- forwards -------------------------------------------------------------------------------------

OUTLOOK = """

-----Oorspronkelijk bericht-----
Van: Piet de Boer <piet@klant.example>
Verzonden: dinsdag 10 november 2026 11:00
Aan: Anna de Vries <anna@zonnehoek.example>
Onderwerp: RE: Lek bij zonnehoek

Dit staat op een forum."""
GMAIL = """

---------- Forwarded message ---------
From: Piet de Boer <piet@klant.example>
Date: Tue, Nov 10, 2026 at 11:00 AM
Subject: Lek bij zonnehoek
To: <anna@zonnehoek.example>


Dit staat op een forum."""
BARE = """

From: Piet de Boer <piet@klant.example>
Sent: Tuesday, November 10, 2026 11:00
Subject: Lek bij zonnehoek
Dit staat op een forum."""


@pytest.mark.parametrize("block", [OUTLOOK, GMAIL, BARE], ids=["outlook", "gmail", "bare"])
def test_of_a_forward_the_headers_go_and_the_inner_subject_counts(block: str) -> None:
    [post] = read(written(f"Ter info{block}", subject="Fwd: kijk"))
    assert " ".join(post.text.split()) == "Lek bij zonnehoek Ter info Dit staat op een forum."
    assert "Piet" not in post.text


def test_a_mail_forwarded_as_attachment_is_the_mail() -> None:
    inner = written("Zonnehoek lekt", subject="Kop", sender="De Krant <a@b.example>", List_Id="<b>")
    [post] = read(written("Ter info", subject="Fwd: kijk", attached=inner))
    assert (post.text, post.author) == ("Kop\nZonnehoek lekt", "De Krant")


def test_a_line_that_only_looks_like_a_header_stays() -> None:
    [post] = read(written("Van: alles wat\nDatum: onbekend"))
    assert post.text == "Van: alles wat\nDatum: onbekend"


# --- reports --------------------------------------------------------------------------------------


def test_a_report_keeps_what_it_points_at_and_not_who_wrote_it() -> None:
    text = (
        "Hoi, kijk eens naar https://www.facebook.com/groups/1/posts/2\n"
        "Daar staat onze prijslijst. Bel mij: anna@zonnehoek.example\n\n"
        "Met vriendelijke groet,\nAnna de Vries\nAfdeling Inkoop\n06-12345678"
    )
    [post] = read(written(text, subject="Gezien op Facebook", List_Id="<x>"), REPORTS)
    assert post.text == (
        "Gezien op Facebook\nHoi, kijk eens naar https://www.facebook.com/groups/1/posts/2\n"
        "Daar staat onze prijslijst. Bel mij: …"
    )
    assert (post.url, post.author) == ("https://www.facebook.com/groups/1/posts/2", None)


@pytest.mark.parametrize(
    "ending",
    [
        "-- \nAnna de Vries",
        "Groetjes,\nAnna",
        "Mvg Anna",
        "Kind regards,\n\nAnna de Vries | Zonnehoek",
        "M.v.g.,\nAnna",
        "Vries, Anna de",
    ],
)
def test_signatures_of_reports_are_cut(ending: str) -> None:
    sender = '"Anna de Vries" <anna@zonnehoek.example>'
    if ending.startswith("Vries"):
        sender = '"Vries, Anna de" <anna@zonnehoek.example>'
    [post] = read(written(f"Er lekt iets.\n\n{ending}", sender=sender), REPORTS)
    assert post.text.rstrip("\n…").strip() == "Er lekt iets."


def test_what_is_forwarded_below_a_signature_is_kept() -> None:
    [post] = read(written(f"Zie onder.\n\nGroet,\nAnna{OUTLOOK}", subject="Fwd: kijk"), REPORTS)
    assert " ".join(post.text.split()) == "Lek bij zonnehoek Zie onder. Dit staat op een forum."


def test_a_brand_as_the_name_of_a_sender_does_not_empty_the_text() -> None:
    [post] = read(written("zonnehoek lekt", sender="Zonnehoek <a@zonnehoek.example>"), REPORTS)
    assert post.text == "zonnehoek lekt"


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        (
            "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fa.example%2F1&data=x",
            "https://a.example/1",
        ),
        ("https://www.google.com/url?q=https://a.example/1%23x", "https://a.example/1"),
        ("https://twitter.com/anna/status/12?s=20", "https://x.com/i/web/status/12"),
        ("https://a.example/1?utm_medium=mail", "https://a.example/1"),
        (
            "https://safelinks.protection.outlook.com.evil.example/?url=https://a.example",
            "https://safelinks.protection.outlook.com.evil.example/?url=https://a.example",
        ),
    ],
)
def test_links_are_followed_past_the_redirects_of_mail_programs(link: str, leads_to: str) -> None:
    assert direct(link) == leads_to


FLOODS = {
    "no address": b"a" * 60_000,
    "no greeting": b"groet " + b"a" * 60_000 + b"-b-c-d",
    "no mark": b"forwarded message" + b" " * 5_000 + b"x",
    "headers": b"de:\n" * 12_000,
    "no tag": b"<" * 300_000,
    "no comment": b"<!--" * 80_000,
    "no end tag": b"</a " * 80_000,
    "no instruction": b"<?" * 150_000,
    "no section": b"<![CDATA[" * 40_000,
    "no attribute": b"<a " + b"a='" * 80_000,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.timeout(20)
def test_no_mail_keeps_the_reader_busy(flood: str) -> None:
    began = time.process_time()
    for kind in (b"plain", b"html"):
        head = b"From: " + GOOGLE.encode() + b"\r\nContent-Type: text/" + kind + b"\r\n\r\n"
        read(head + FLOODS[flood])
        read(head + FLOODS[flood], REPORTS)
    # What backtracks takes most of a minute; what does not, a fraction of a second.
    assert time.process_time() - began < 10


@given(st.binary(max_size=400), st.booleans())
def test_no_mail_is_too_odd(body: bytes, reports: bool) -> None:
    raw = b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + body
    for message in (raw, body):
        for post in read(message, REPORTS if reports else PRESS):
            assert post.text
