"""For all tests."""

from __future__ import annotations

import signal

# A shell starts what runs in its background with Ctrl-C ignored, and ignoring is inherited; the tests of Ctrl-C are
# about programs that somebody runs in front of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
