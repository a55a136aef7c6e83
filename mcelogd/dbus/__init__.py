# SPDX-License-Identifier: GPL-2.0-only
"""D-Bus: dbus-next with what it does wrong put right, a connection that lasts, objects behind a gate.

Nothing else imports dbus-next. Start at connection.py and declare.py.
"""
