"""The threat model names tests that exist, and what it promises is not switched off anywhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alerts.base import DeliveryError
from alerts.slack import SlackChannel, SlackOptions
from tests.alerts.make import delivery, message
from tests.alerts.webserver import Reply, web_server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
PACKAGES = ("connectors", "classifiers", "alerts", "monitor")


def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_what_the_threat_model_calls_tested_is(file: str, name: str) -> None:
    assert name in names_in(file)


def test_every_boundary_of_the_drawing_has_its_threats() -> None:
    drawn = set(re.findall(r"\((\d)\)", PAGE.split("```")[1]))
    told = set(re.findall(r"^### (\d)\. ", PAGE, flags=re.MULTILINE))
    assert drawn == told
    assert len(NAMED) > 40


def test_files_that_the_pages_name_exist() -> None:
    for page in ("docs/security.md", "docs/releasing.md", "SECURITY.md"):
        file = ROOT / page
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{page}: {target}"
        for target in re.findall(r"`(tests/[\w/]+\.py)`", file.read_text(encoding="utf-8")):
            assert (ROOT / target).is_file(), f"{page}: {target}"


OFF_SWITCHES = {
    "verify": lambda value: value is False,
    "check_hostname": lambda value: value is False,
    "trust_env": lambda value: value is True,
    "shell": lambda value: value is True,
    "follow_redirects": lambda value: value is True,
    "trust_remote_code": lambda value: value is True,
}


def switched_off(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            pairs = [(each.arg, each.value) for each in node.keywords]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            pairs = [(node.targets[0].attr, node.value)]
        elif isinstance(node, ast.Attribute):
            if node.attr in {"CERT_NONE", "_create_unverified_context"}:
                found.append(f"{node.lineno}: {node.attr}")
            continue
        else:
            continue
        for name, value in pairs:
            judge = OFF_SWITCHES.get(name or "")
            if judge and isinstance(value, ast.Constant) and judge(value.value):
                found.append(f"{node.lineno}: {name}={value.value}")
    return found


def test_nothing_of_ours_switches_verification_off() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{each}"
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for each in switched_off(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "httpx.Client(verify=False)",
        "context.check_hostname = False",
        "context.verify_mode = ssl.CERT_NONE",
        "ssl._create_unverified_context()",
        "httpx.get(url, follow_redirects=True)",
        "subprocess.run(words, shell=True)",
    ],
)
def test_such_a_switch_would_be_found(code: str) -> None:
    assert switched_off(ast.parse(code))


SLACK = {
    "bot": ({"bot_token": "xoxb-secret", "base_url": "URL/api/"}, ("#press",)),
    "webhook": ({"webhook_url": "URL/services/secret"}, ()),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("how", SLACK)
def test_a_token_of_slack_follows_no_redirect(how: str, status: int) -> None:
    options, to = SLACK[how]
    with web_server() as elsewhere, web_server() as gateway:
        gateway.usual = Reply(status, headers={"Location": f"{elsewhere.url}/take"})
        given = {name: value.replace("URL", gateway.url) for name, value in options.items()}
        channel = SlackChannel(SlackOptions(**given))
        with pytest.raises(DeliveryError):
            channel.send(delivery(message(), to=to))
        channel.close()
        assert len(gateway.requests) == 1
        assert elsewhere.requests == []


OWN_WAY_OUT = {
    # What brings a way out of its own, and what each is: all are in docs/security.md.
    "alerts/email.py": "SMTP",
    "connectors/imap.py": "IMAP",
    "alerts/slack.py": "slack-sdk",
    "alerts/straight.py": "slack-sdk",
    "monitor/socketmode.py": "slack-sdk",
    "alerts/apprise.py": "apprise",
    "classifiers/hub.py": "model hub",
    # Asks the daemon's own port on this machine.
    "monitor/health.py": "",
}
_WAYS = re.compile(
    r"^\s*(?:import|from) (smtplib|imaplib|poplib|ftplib|http\.client|urllib\.request|requests"
    r"|slack_sdk|apprise|huggingface_hub|aiohttp|websockets\.sync|websockets\.asyncio|urllib3|praw|mastodon|atproto)\b"
    r"|httpx\.(?:Client|get|post|stream|request|AsyncClient|HTTPTransport)\("
    r"|socket\.create_connection\(",
    re.MULTILINE,
)


def test_whatever_goes_out_by_a_way_of_its_own_is_known() -> None:
    guarded = {"connectors/http.py", "alerts/posting.py"}
    found = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if _WAYS.search(file.read_text(encoding="utf-8"))
    }
    elsewhere = {
        each for each in found if each.startswith(("monitor/demo/", "classifiers/training/"))
    }
    assert found - guarded - elsewhere - set(OWN_WAY_OUT) == set()
    assert all(name in PAGE for name in OWN_WAY_OUT.values())


def test_no_library_tells_its_makers_that_it_is_used(tmp_path: Path) -> None:
    program = "import classifiers, onnxruntime, os, sys; sys.exit(not os.environ['HOME'])"
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    # Where it may tell, it begins by making a number of this machine's in the home folder.
    assert list(tmp_path.rglob("*")) == []


def test_models_are_loaded_by_the_package_that_says_so_only() -> None:
    loads = re.compile(
        r"^\s*(?:import|from) (?:onnxruntime|rapidocr|huggingface_hub)\b", re.MULTILINE
    )
    found = {
        file.relative_to(ROOT).parts[0]
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if loads.search(file.read_text(encoding="utf-8"))
    }
    assert found == {"classifiers"}
