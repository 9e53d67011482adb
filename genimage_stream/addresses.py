"""Addresses with credentials in them: these are used, and never shown."""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

_USER = re.compile(r"(?<=://)[^/\s@]*@")
_VALUE = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s'\"]*?(?=[:;,.)]*(?:[&\s'\"]|$))")
_TOKENS = re.compile(r"(?i)\b(Basic|Bearer) [A-Za-z0-9+/_.=~-]{4,}|\b(Signature|Credential)=[^\s,&]+")


class Address(NamedTuple):
    """`plain`: without user and password; `authorization`: the header that they become, None without them."""

    plain: str
    authorization: str | None


def split_credentials(address: str) -> Address:
    """Take user:password out of an http(s):// address."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return Address(address, None)
    user, _, host = parts.netloc.rpartition("@")
    token = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
    return Address(urlunsplit(parts._replace(netloc=host)), f"Basic {token}")


def shown(text: str) -> str:
    """An address, or a message with addresses in it, without passwords, and without the values behind a question mark:
    tokens and signatures are there."""
    text = _VALUE.sub(r"\1=***", _USER.sub("", text))
    return _TOKENS.sub(lambda found: f"{found[1] or found[2]}{' ' if found[1] else '='}***", text)


def is_link_local(host: str) -> bool:
    """Whether an IP address is one that only this machine's link knows: where clouds keep machines' credentials."""
    try:
        ip = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_link_local) or ip == ipaddress.ip_address("fd00:ec2::254")
