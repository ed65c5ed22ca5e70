"""The Slack channel against a real HTTP server shaped like Slack."""

import logging
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from alerts.base import DeliveryError, DeliveryFault, Event, SignalKind
from alerts.slack import SlackChannel, SlackOptions
from tests.alerts.blockkit import problems
from tests.alerts.make import chart, delivery, message
from tests.alerts.slackserver import APP_TOKEN, TOKEN, WEBHOOK_PATH, Answer, Workspace


def webhook(slack: Workspace, path: str = WEBHOOK_PATH, **options: object) -> SlackChannel:
    table = {"webhook_url": f"{slack.url}{path}", "timeout_seconds": 2, **options}
    return SlackChannel(SlackOptions.model_validate(table))


def bot(slack: Workspace, token: str = TOKEN, **options: object) -> SlackChannel:
    table = {"bot_token": token, "base_url": f"{slack.url}/api/", "timeout_seconds": 2, **options}
    return SlackChannel(SlackOptions.model_validate(table))


def failure(channel: SlackChannel, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        channel.send(delivery(**options))
    cause, told = failed.value, []
    while cause is not None:
        told.append(str(cause))
        cause = cause.__cause__
    assert "geheim" not in " ".join(told)
    return failed.value


def test_a_webhook_posts_blocks_with_a_fallback(slack):
    receipt = webhook(slack).send(delivery(to=(), key="mw-12"))

    ((path, body),) = slack.requests
    assert path == WEBHOOK_PATH
    assert problems(body["blocks"]) == []
    assert body["text"].startswith("🔴 [Kritiek] Zonnehoek")
    assert body["unfurl_links"] is False
    assert "mw-12" in str(body["blocks"])
    assert receipt.thread == {}


def test_a_bot_posts_in_a_channel_and_remembers_where(slack):
    receipt = bot(slack).send(delivery(to=("#merk",), key="mw-12"))

    ((path, body),) = slack.requests
    assert path == "/api/chat.postMessage"
    assert slack.tokens == [f"Bearer {TOKEN}"]
    assert body["channel"] == "#merk"
    assert body["metadata"]["event_payload"] == {"key": "mw-12", "incident": 12, "event": "opened"}
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
    assert "thread_ts" not in body
    assert receipt.thread == {"#merk": {"channel": "Cmerk", "ts": "17.1"}}


@pytest.mark.parametrize(
    ("event", "loud"),
    [(Event.CONTINUES, False), (Event.WORSENED, True), (Event.RESOLVED, True)],
)
def test_a_bot_edits_the_incidents_one_message_and_tells_the_story_in_its_thread(
    slack, event, loud
):
    channel = bot(slack)
    first = channel.send(delivery(to=("#merk",), key="mw-1"))
    opening = slack.messages["Cmerk", "17.1"]["text"]

    sent = delivery(message(event=event), to=("#merk",), thread=first.thread, key="mw-2")
    later = channel.send(sent)

    edited, told = slack.posted[1:]
    assert (edited["channel"], edited["ts"]) == ("Cmerk", "17.1")
    assert (told["channel"], told["thread_ts"]) == ("Cmerk", "17.1")
    assert told["reply_broadcast"] is loud
    assert slack.messages["Cmerk", "17.1"]["text"] == told["text"] != opening
    assert slack.in_thread("17.1") == [told["text"]]
    assert problems(edited["blocks"]) == problems(told["blocks"]) == []
    assert edited["metadata"]["event_payload"]["key"] == "mw-2"
    assert later.thread == first.thread


def test_a_message_that_may_not_be_edited_gets_its_story_all_the_same(slack):
    channel = bot(slack)
    first = channel.send(delivery(to=("#merk",)))
    slack.answers = [Answer(body={"ok": False, "error": "cant_update_message"})]

    later = channel.send(
        delivery(message(event=Event.WORSENED), to=("#merk",), thread=first.thread)
    )

    assert len(slack.in_thread("17.1")) == 1
    assert later.note == "the first message in Cmerk stays as it was (cant_update_message)"
    assert later.thread == first.thread


@pytest.mark.parametrize("at", [1, 2])
def test_what_breaks_off_between_edit_and_story_tells_nothing_twice(slack, at):
    channel = bot(slack)
    first = channel.send(delivery(to=("#merk",)))
    again = delivery(message(event=Event.WORSENED), to=("#merk",), thread=first.thread)
    if at == 2:
        place = slack.posted[0]
        slack.answers = [Answer(body={"ok": True, "channel": "Cmerk", "ts": "17.1"})]
        assert place
    slack.answers.append(Answer(503, "busy"))
    with pytest.raises(DeliveryError) as failed:
        channel.send(again)
    assert not failed.value.permanent

    channel.send(again)

    assert len(slack.in_thread("17.1")) == 1


def test_a_message_that_somebody_deleted_is_posted_anew_and_carries_the_thread_from_then(slack):
    channel = bot(slack)
    first = channel.send(delivery(to=("#merk",)))
    slack.messages.clear()

    later = channel.send(
        delivery(message(event=Event.CONTINUES), to=("#merk",), thread=first.thread)
    )

    assert "thread_ts" not in slack.posted[-1]
    assert later.thread == {"#merk": {"channel": "Cmerk", "ts": f"17.{len(slack.requests)}"}}
    assert later.thread != first.thread


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long"])
def test_what_slack_finds_too_long_is_told_in_brief(slack, code):
    slack.answers = [Answer(body={"ok": False, "error": code})]

    bot(slack).send(delivery(to=("#merk",), key="mw-12"))

    whole, brief = (each["blocks"] for each in slack.posted)
    assert len(brief) < len(whole)
    assert brief[0] == whole[0]
    assert brief[-1] == whole[-1]
    assert problems(brief) == []


def test_what_is_too_long_even_in_brief_is_refused(slack):
    slack.answers = [Answer(body={"ok": False, "error": "msg_too_long"})] * 2

    error = failure(bot(slack), to=("#merk",))

    assert (error.fault, error.permanent) == (DeliveryFault.REFUSED, True)


def test_buttons_stand_under_the_one_message_only_where_somebody_hears(slack):
    sent = replace(message(link="https://watch.example/i/abc"), ticket="abc")
    deaf, hearing = bot(slack), bot(slack, app_token=APP_TOKEN)

    deaf.send(delivery(sent, to=("#merk",)))
    first = hearing.send(delivery(sent, to=("#merk",), key="mw-1"))
    hearing.send(delivery(sent, to=("#merk",), thread=first.thread))

    kinds = [[block["type"] for block in body["blocks"]] for body in slack.posted]
    assert ["actions" in each for each in kinds] == [False, True, True, False]
    (actions,) = [each for each in slack.posted[1]["blocks"] if each["type"] == "actions"]
    assert [each["action_id"] for each in actions["elements"]] == [
        "merkwacht.take", "merkwacht.resolve", "merkwacht.open",
    ]  # fmt: skip
    assert actions["elements"][0]["value"] == "abc mw-1"
    assert actions["elements"][2]["url"] == "https://watch.example/i/abc"


def spike_with_chart():
    return replace(message(SignalKind.VOLUME_SPIKE), chart=chart())


def test_a_bot_puts_the_chart_under_its_message(slack):
    receipt = bot(slack).send(delivery(spike_with_chart(), to=("#merk",)))

    assert [path.rpartition("/")[2] for path, _ in slack.requests] == [
        "chat.postMessage", "files.getUploadURLExternal", "files.completeUploadExternal",
    ]  # fmt: skip
    (picture,) = slack.files
    assert picture.startswith(b"\x89PNG")
    asked, finished = slack.requests[1][1], slack.requests[2][1]
    assert "Hoogste: 40" in asked["alt_txt"]
    assert (finished["channel_id"], finished["thread_ts"]) == ("Cmerk", "17.1")
    assert receipt.note is None


def test_a_chart_that_slack_refuses_is_a_note_and_no_failure(slack):
    slack.refuse_files = "missing_scope"
    receipt = bot(slack).send(delivery(spike_with_chart(), to=("#merk",)))

    assert receipt.thread == {"#merk": {"channel": "Cmerk", "ts": "17.1"}}
    assert receipt.note == "without its chart in Cmerk (missing_scope; give the bot files:write)"


@pytest.mark.parametrize(
    "answer",
    [Answer(drop=True), Answer(500, "oops"), Answer(body={"ok": True}), Answer(body="[]")],
)
def test_an_upload_that_breaks_off_does_not_post_the_message_again(slack, answer):
    posted = Answer(body={"ok": True, "channel": "Cmerk", "ts": "17.1"})
    slack.answers = [posted, answer]
    receipt = bot(slack).send(delivery(spike_with_chart(), to=("#merk",)))

    assert receipt.note is not None
    assert receipt.note.startswith("without its chart in Cmerk")


def test_a_webhook_shows_the_chart_as_a_line_of_bars(slack):
    webhook(slack).send(delivery(spike_with_chart(), to=()))

    ((_, body),) = slack.requests
    assert problems(body["blocks"]) == []
    assert "Laatste 48 uur: ▂▂▂" in str(body["blocks"])


def test_a_bot_serves_the_channels_it_can_and_notes_the_others(slack):
    slack.refuse = {"#weg": "channel_not_found"}

    receipt = bot(slack).send(delivery(to=("#weg", "#merk")))

    assert set(receipt.thread) == {"#merk"}
    assert receipt.note is not None
    assert "#weg" in receipt.note
    assert "channel_not_found" in receipt.note


def test_if_no_channel_takes_it_what_may_pass_decides(slack):
    slack.refuse = {"#weg": "channel_not_found", "#stuk": "internal_error"}

    error = failure(bot(slack), to=("#weg", "#stuk"))

    assert (error.fault, error.permanent) == (DeliveryFault.SERVER_ERROR, False)


@pytest.mark.parametrize(
    ("code", "fault", "permanent"),
    [
        ("invalid_auth", "unauthorized", True),
        ("token_revoked", "unauthorized", True),
        ("missing_scope", "unauthorized", True),
        ("channel_not_found", "refused", True),
        ("not_in_channel", "refused", True),
        ("is_archived", "refused", True),
        ("invalid_blocks", "refused", True),
        ("internal_error", "server_error", False),
        ("ratelimited", "rate_limited", False),
    ],
)
def test_slacks_own_errors_say_whether_trying_again_helps(slack, code, fault, permanent):
    slack.answers = [Answer(body={"ok": False, "error": code})]

    error = failure(bot(slack), to=("#merk",))

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert code in str(error) or fault == "rate_limited"
    assert len(slack.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "fault", "permanent"),
    [
        (400, "invalid_payload", "refused", True),
        (403, "action_prohibited", "unauthorized", True),
        (404, "no_service", "refused", True),
        (410, "channel_is_archived", "refused", True),
        (500, "rollup_error", "server_error", False),
        (503, "<html>busy</html>", "server_error", False),
        (307, "elsewhere", "refused", True),
        (200, "<html>log in to the guest network</html>", "server_error", False),
    ],
)
def test_a_webhooks_refusal_says_whether_trying_again_helps(slack, status, body, fault, permanent):
    slack.answers = [Answer(status, body)]

    error = failure(webhook(slack), to=())

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert len(slack.requests) == 1


@pytest.mark.parametrize("way", ["webhook", "bot"])
def test_asked_to_slow_down_passes_the_wish_on(slack, way):
    slack.answers = [Answer(429, "rate_limited", {"Retry-After": "47"})]
    channel, to = (webhook(slack), ()) if way == "webhook" else (bot(slack), ("#merk",))

    error = failure(channel, to=to)

    assert (error.fault, error.permanent) == (DeliveryFault.RATE_LIMITED, False)
    assert error.retry_after == timedelta(seconds=47)
    assert len(slack.requests) == 1


def test_an_unreadable_wish_is_no_wish(slack):
    slack.answers = [Answer(429, "rate_limited", {"Retry-After": "soon"})]

    assert failure(webhook(slack), to=()).retry_after is None


@pytest.mark.parametrize("way", ["webhook", "bot"])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(500, "oops"), "server_error"),
        (Answer(drop=True), "unreachable"),
        (Answer(hang=True), "timeout"),
        (Answer(200, "not json"), "server_error"),
        (Answer(302, "", {"Location": "/login"}), "server_error"),
    ],
)
def test_what_may_pass_is_left_to_the_outbox(slack, way, answer, fault):
    slack.answers = [answer]
    if way == "webhook":
        channel, to = webhook(slack, timeout_seconds=0.3), ()
    else:
        channel, to = bot(slack, timeout_seconds=0.3), ("#merk",)

    error = failure(channel, to=to)

    assert (error.fault.value, error.permanent) == (fault, False)


@pytest.mark.parametrize("way", ["webhook", "bot"])
def test_nobody_listening_is_unreachable(way):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = Workspace(url=f"http://127.0.0.1:{port}")
    channel, to = (webhook(nowhere), ()) if way == "webhook" else (bot(nowhere), ("#merk",))

    assert failure(channel, to=to).fault is DeliveryFault.UNREACHABLE


def test_a_server_without_tls_where_tls_is_asked_is_no_trusted_connection(slack):
    secure = Workspace(url=slack.url.replace("http://", "https://"))

    assert failure(webhook(secure), to=()).fault is DeliveryFault.TLS


def test_a_check_posts_nothing(slack):
    webhook(slack).check()
    bot(slack).check()

    assert [body.get("text", "") for _, body in slack.requests] == ["", ""]
    assert slack.requests[1][0] == "/api/auth.test"


def test_a_check_asks_for_a_socket_and_does_not_call_it(slack):
    bot(slack, app_token=APP_TOKEN).check()

    assert slack.requests[-1][0] == "/api/apps.connections.open"
    assert slack.sessions == []


def test_a_check_finds_socket_mode_switched_off_and_a_wrong_app_token(slack):
    slack.socket_mode = False
    with pytest.raises(DeliveryError, match="forbidden_socket_mode"):
        bot(slack, app_token=APP_TOKEN).check()
    with pytest.raises(DeliveryError, match="invalid_auth"):
        bot(slack, app_token="xapp-geheim").check()


def test_a_check_finds_a_removed_webhook_and_a_wrong_token(slack):
    with pytest.raises(DeliveryError, match="no_service"):
        webhook(slack, "/services/T/B/geheim").check()
    with pytest.raises(DeliveryError, match="invalid_auth"):
        bot(slack, "xoxb-geheim").check()


def test_neither_secrets_nor_texts_reach_the_log_even_at_debug(slack, caplog):
    caplog.set_level(logging.DEBUG)
    webhook(slack).send(delivery(to=()))
    bot(slack).send(delivery(to=("#merk",)))
    slack.answers = [Answer(500), Answer(drop=True)]
    failure(webhook(slack), to=())
    failure(bot(slack), to=("#merk",))

    assert "geheim" not in caplog.text
    assert "Zonnehoek" not in caplog.text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "give either webhook_url or bot_token"),
        ({"webhook_url": "https://a.example", "bot_token": "x"}, "give either"),
        ({"webhook_url": "http://hooks.example/geheim"}, "https://"),
        ({"webhook_url": "file:///etc/passwd"}, "https://"),
        ({"bot_token": "x", "base_url": "http://slack.example/api/"}, "https://"),
        ({"bot_token": "x", "timeout_seconds": 0}, "timeout_seconds"),
        ({"webhook_url": "https://a.example", "app_token": "x"}, "app_token needs bot_token"),
        ({"bot_token": "x", "channel": "#a"}, "channel"),
    ],
)
def test_wrong_options_are_refused_in_plain_words(table, told):
    with pytest.raises(ValidationError) as refused:
        SlackOptions.model_validate(table)

    assert told in str(refused.value)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("way", "to", "problem"),
    [
        ("webhook", ["#a"], "leave `to` away"),
        ("webhook", [], None),
        ("bot", [], "needs to know where to post"),
        ("bot", ["#merk wacht"], "is not a Slack channel"),
        ("bot", ["<!channel>"], "is not a Slack channel"),
        ("bot", ["#merk", "C012AB3CD", "@piet"], None),
    ],
)
def test_channels_are_checked_before_anything_is_sent(way, to, problem):
    table = {"webhook_url": "https://a.example"} if way == "webhook" else {"bot_token": "x"}
    found = SlackChannel(SlackOptions.model_validate(table)).problem_with(to)

    assert found is None if problem is None else problem in found
